//! What is found in statuses as real clusters write them.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A pod with a node, whose containers have these statuses.
fn pod(statuses: Value) -> Pod {
    let mut status = statuses;
    status["phase"] = json!("Pending");
    object(json!({
        "metadata": {"name": "calls-1", "uid": "pod-1"},
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": "server", "resources": {"limits": {"memory": "512Mi"}}}],
        },
        "status": status,
    }))
}

fn container(name: &str, state: Value, last_state: Value) -> Value {
    json!({"name": name, "image": "server:1", "imageID": "", "ready": false, "restartCount": 3, "state": state, "lastState": last_state})
}

/// What is wrong with a pod whose server is in this state.
fn with_server(state: Value, last_state: Value) -> Vec<Finding> {
    let pod = pod(json!({"containerStatuses": [container("server", state, last_state)]}));
    findings(&Symptoms {
        pods: vec![&pod],
        ..Symptoms::default()
    })
}

/// What is wrong with a pod whose model container ended like this.
fn with_model(exit_code: i32, message: &str) -> Vec<Finding> {
    let ended = json!({"terminated": {"exitCode": exit_code, "reason": "Error", "message": message}});
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}});
    let pod = pod(json!({"initContainerStatuses": [container("model", waiting, ended)]}));
    findings(&Symptoms {
        pods: vec![&pod],
        ..Symptoms::default()
    })
}

fn only(findings: Vec<Finding>) -> (Reason, String) {
    assert_eq!(findings.len(), 1, "{findings:?}");
    (findings[0].reason, findings[0].message.clone())
}

#[test]
fn an_image_that_cannot_be_pulled_in_each_of_its_words() {
    let cause = "failed to resolve image: not found";
    for (reason, message) in [
        ("ErrImagePull", cause.to_string()),
        (
            "ImagePullBackOff",
            format!("Back-off pulling image \"server:1\": ErrImagePull: {cause}"),
        ),
        ("InvalidImageName", cause.to_string()),
    ] {
        let found = only(with_server(
            json!({"waiting": {"reason": reason, "message": message}}),
            json!({}),
        ));
        let expected = format!("image server:1 cannot be pulled: {cause}; check image and imagePullSecrets");
        assert_eq!(found, (Reason::ImagePullFailed, expected), "{reason}");
    }
}

#[test]
fn a_models_image_that_cannot_be_mounted_is_told_and_not_the_servers() {
    let text = "Container image \"models/nano:1\" is not present with pull policy of Never";
    let mut pod = pod(json!({"containerStatuses": [container(
        "server",
        json!({"waiting": {"reason": "ErrImageNeverPull", "message": text}}),
        json!({}),
    )]}));
    let volume = json!({"name": "model", "image": {"reference": "models/nano:1"}});
    pod.spec.get_or_insert_default().volumes = Some(vec![serde_json::from_value(volume).unwrap()]);
    let found = only(findings(&Symptoms {
        pods: vec![&pod],
        ..Symptoms::default()
    }));
    let expected = format!(
        "the model's image models/nano:1 cannot be mounted: {text}; check source.image and imagePullSecrets"
    );
    assert_eq!(found, (Reason::ImagePullFailed, expected));
}

#[test]
fn a_container_that_cannot_be_created() {
    let waiting =
        json!({"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"keys\" not found"}});
    let found = only(with_server(waiting, json!({})));
    assert_eq!(
        found,
        (
            Reason::ContainerCreationFailed,
            "container server cannot be started: secret \"keys\" not found".into()
        )
    );
}

#[test]
fn a_secret_of_the_source_that_is_missing() {
    let waiting =
        json!({"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"hub\" not found"}});
    let pod = pod(json!({"initContainerStatuses": [container("model", waiting, json!({}))]}));
    let found = only(findings(&Symptoms {
        pods: vec![&pod],
        ..Symptoms::default()
    }));
    assert_eq!(found.0, Reason::ContainerCreationFailed);
    assert_eq!(
        found.1,
        "the model cannot be downloaded: secret \"hub\" not found; create what is missing, or name another Secret in the source"
    );
}

#[test]
fn a_crash_loop_with_the_end_of_its_log() {
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
    let ended = json!({"terminated": {"exitCode": 101, "reason": "Error", "message": "starting\n\nloading\nmapping\nthread panicked\n"}});
    let found = only(with_server(waiting, ended));
    let expected =
        "container server ended with exit code 101 (3 restarts): loading | mapping | thread panicked";
    assert_eq!(found, (Reason::CrashLoop, expected.into()));
}

#[test]
fn a_container_that_runs_again_after_a_crash_and_is_not_ready() {
    let ended = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
    let found = only(with_server(json!({"running": {}}), ended));
    assert_eq!(found.0, Reason::CrashLoop);
}

#[test]
fn out_of_memory_names_the_limit() {
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let found = only(with_server(
        waiting,
        json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
    ));
    assert_eq!(found.0, Reason::OutOfMemory);
    assert!(found.1.contains("its limit of 512Mi"), "{}", found.1);
}

#[test]
fn what_runs_or_starts_is_well() {
    let ready = json!({"name": "server", "image": "", "imageID": "", "ready": true, "restartCount": 9,
                       "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}});
    let well = pod(json!({"containerStatuses": [ready]}));
    assert_eq!(
        findings(&Symptoms {
            pods: vec![&well],
            ..Symptoms::default()
        }),
        []
    );
    for reason in ["ContainerCreating", "PodInitializing"] {
        assert_eq!(with_server(json!({"waiting": {"reason": reason}}), json!({})), []);
    }
}

#[test]
fn a_pod_that_goes_or_was_evicted_is_no_ones_concern() {
    let crashed = || {
        pod(
            json!({"containerStatuses": [container("server", json!({"terminated": {"exitCode": 1}}), json!({}))]}),
        )
    };
    let mut going = crashed();
    going.metadata.deletion_timestamp = Some(object(json!("2026-01-01T00:00:00Z")));
    let mut evicted = crashed();
    evicted.status.as_mut().unwrap().phase = Some("Failed".into());
    assert_eq!(
        findings(&Symptoms {
            pods: vec![&going, &evicted],
            ..Symptoms::default()
        }),
        []
    );
}

#[test]
fn the_reports_of_the_model_container() {
    for (word, reason) in [
        ("SourceNotFound", Reason::SourceNotFound),
        ("AccessDenied", Reason::AccessDenied),
        ("SourceUnreachable", Reason::SourceUnreachable),
        ("ChecksumMismatch", Reason::ChecksumMismatch),
        ("Stopped", Reason::FetchFailed),
        ("DigestMismatch", Reason::DigestMismatch),
        ("InvalidModel", Reason::InvalidModel),
        ("NoSpace", Reason::NoSpace),
        ("Io", Reason::FetchFailed),
    ] {
        let report = json!({"reason": word, "message": "what was wrong"}).to_string();
        let found = only(with_model(1, &report));
        assert_eq!(found.0, reason);
        assert!(found.1.starts_with("what was wrong; "), "{}", found.1);
    }
}

#[test]
fn a_model_container_without_a_report() {
    let found = only(with_model(2, "error: unexpected argument"));
    assert_eq!(found.0, Reason::FetchFailed);
    assert!(
        found.1.contains("exit code 2: error: unexpected argument"),
        "{}",
        found.1
    );
}

#[test]
fn the_newest_report_of_a_verified_model_counts() {
    let reporting = |at: &str, digest: &str, code: i32| {
        let report = json!({"digest": digest, "sizeBytes": 9, "files": 2}).to_string();
        let ended = json!({"terminated": {"exitCode": code, "message": report, "finishedAt": at}});
        pod(json!({"initContainerStatuses": [container("model", ended, json!({}))]}))
    };
    let pods = [
        reporting("2026-01-02T00:00:00Z", "sha256:new", 0),
        reporting("2026-01-01T00:00:00Z", "sha256:old", 0),
        reporting("2026-01-03T00:00:00Z", "sha256:bad", 1),
    ];
    let expected = ModelReport {
        digest: "sha256:new".into(),
        size_bytes: 9,
        files: 2,
        source: None,
        resolved_revision: None,
    };
    assert_eq!(report::verified(&pods), Some(expected));
    assert_eq!(report::verified(&[]), None);
}

fn unschedulable(message: &str) -> Pod {
    object(json!({
        "metadata": {"name": "calls-1"},
        "spec": {"containers": []},
        "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]},
    }))
}

fn gpu(count: i32, products: &[&str]) -> Gpu {
    object(json!({"count": count, "products": products}))
}

#[test]
fn no_node_takes_a_pod() {
    let pod = unschedulable("0/3 nodes are available: 3 Insufficient cpu.");
    let found = only(findings(&Symptoms {
        pods: vec![&pod],
        ..Symptoms::default()
    }));
    let expected = "no node takes pod calls-1: 0/3 nodes are available: 3 Insufficient cpu.";
    assert_eq!(found, (Reason::Unschedulable, expected.into()));
}

#[test]
fn no_gpu_is_free() {
    let pod = unschedulable("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.");
    let gpu = gpu(1, &[]);
    let found = only(findings(&Symptoms {
        pods: vec![&pod],
        gpu: Some(&gpu),
        ..Symptoms::default()
    }));
    assert_eq!(found.0, Reason::NoMatchingGpuNode);
    assert!(
        found
            .1
            .starts_with("no node has 1 nvidia.com/gpu free for pod calls-1"),
        "{}",
        found.1
    );
}

#[test]
fn no_device_is_free_for_a_claim() {
    let pod = unschedulable("0/1 nodes are available: 1 cannot allocate all claims.");
    let gpu: Gpu = object(json!({"deviceClassName": "gpu.nvidia.com"}));
    let found = only(findings(&Symptoms {
        pods: vec![&pod],
        gpu: Some(&gpu),
        ..Symptoms::default()
    }));
    assert_eq!(found.0, Reason::NoMatchingGpuNode);
    assert!(
        found
            .1
            .starts_with("no node has devices free for the claims of pod calls-1"),
        "{}",
        found.1
    );
}

fn node(product: &str, count: &str) -> Node {
    object(json!({
        "metadata": {"name": product, "labels": {"nvidia.com/gpu.product": product}},
        "status": {"allocatable": {"nvidia.com/gpu": count}},
    }))
}

#[test]
fn no_node_has_such_a_gpu() {
    let pod = unschedulable("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.");
    let nodes = [node("A100", "1"), node("L4", "4")];
    let told = |gpu: &Gpu| {
        let symptoms = Symptoms {
            pods: vec![&pod],
            gpu: Some(gpu),
            nodes: Some(&nodes),
            ..Symptoms::default()
        };
        let first = findings(&symptoms).remove(0);
        (first.reason, first.message)
    };
    let (reason, message) = told(&gpu(1, &["Tesla-T4"]));
    assert_eq!(reason, Reason::NoMatchingGpuNode);
    assert_eq!(
        message,
        "no node has 1 nvidia.com/gpu of product Tesla-T4; nodes offer 1 x A100, 4 x L4: \
         add such a node, or change gpu.products"
    );
    assert_eq!(told(&gpu(8, &[])).0, Reason::NoMatchingGpuNode, "too many");
    assert_eq!(
        told(&gpu(4, &["L4"])).0,
        Reason::Unschedulable,
        "there is one; the scheduler says why it does not do"
    );
}

#[test]
fn the_requirement_that_no_node_meets_is_named() {
    let node = |labels: Value| -> Node {
        object(
            json!({"metadata": {"name": "n", "labels": labels}, "status": {"allocatable": {"nvidia.com/gpu": "4"}}}),
        )
    };
    let label = |name: &str| format!("nvidia.com/gpu.{name}");
    let nodes = [
        node(
            json!({label("product"): "T4-SHARED", label("memory"): "15360", label("sharing-strategy"): "time-slicing"}),
        ),
        node(json!({label("product"): "L4", label("memory"): "23034", label("sharing-strategy"): "none"})),
    ];
    let told = |gpu: Value| nodes::finding(&object(gpu), Some(&nodes)).map(|one| one.message);
    assert_eq!(told(json!({"memoryAtLeast": "15Gi"})), None);
    assert_eq!(
        told(json!({"memoryAtLeast": "20Gi", "sharing": "Exclusive"})),
        None
    );
    assert_eq!(told(json!({"products": ["T4"], "sharing": "Any"})), None);
    assert_eq!(
        told(json!({"memoryAtLeast": "40Gi", "sharing": "Exclusive"})).unwrap(),
        "no node has 1 nvidia.com/gpu with at least 40Gi of memory that is not shared; \
         nodes offer 4 x L4 (23034Mi, not shared), 4 x T4-SHARED (15360Mi, shared by time-slicing): \
         add such a node, or change gpu.memoryAtLeast"
    );
    assert_eq!(
        told(json!({"memoryAtLeast": "20Gi", "sharing": "TimeSliced"})).unwrap(),
        "no node has 1 nvidia.com/gpu with at least 20Gi of memory that is shared by time-slicing; \
         nodes offer 4 x L4 (23034Mi, not shared), 4 x T4-SHARED (15360Mi, shared by time-slicing): \
         add such a node, or change gpu.memoryAtLeast or gpu.sharing",
        "each is met by some node, and both by none"
    );
    assert!(
        told(json!({"count": 8}))
            .unwrap()
            .ends_with("or change gpu.count")
    );
    assert!(
        told(json!({"sharing": "MPS"}))
            .unwrap()
            .ends_with("or change gpu.sharing")
    );
    assert!(
        told(json!({"spot": "Require"}))
            .unwrap()
            .ends_with("or change gpu.spot")
    );
    assert_eq!(
        told(json!({"resourceName": "nvidia.com/mig-1g.5gb"})).unwrap(),
        "no node has 1 nvidia.com/mig-1g.5gb; no node offers nvidia.com/mig-1g.5gb: add GPU nodes and their device plugin"
    );
    let claimed = json!({"deviceClassName": "gpu.nvidia.com", "products": ["A100"]});
    let told_of_claims = told(claimed).unwrap();
    assert_eq!(
        told_of_claims,
        "no node has a GPU of product A100; nodes have L4, T4-SHARED: add such a node, or change gpu.products"
    );
    assert_eq!(
        told(json!({"deviceClassName": "gpu.nvidia.com"})),
        None,
        "the scheduler counts devices"
    );
}

#[test]
fn nodes_that_may_not_be_read_and_pods_that_are_placed_give_no_finding() {
    let gpu = gpu(1, &["Tesla-T4"]);
    let placed = pod(json!({}));
    assert_eq!(
        findings(&Symptoms {
            gpu: Some(&gpu),
            pods: vec![&placed],
            nodes: Some(&[]),
            ..Symptoms::default()
        }),
        []
    );
    assert_eq!(nodes::finding(&gpu, None), None);
}

fn claim(class: Option<&str>, phase: &str) -> PersistentVolumeClaim {
    object(json!({
        "metadata": {"name": "calls-cache", "uid": "claim-1"},
        "spec": {"storageClassName": class},
        "status": {"phase": phase},
    }))
}

fn class(name: &str, default: bool) -> StorageClass {
    let annotations = json!({"storageclass.kubernetes.io/is-default-class": default.to_string()});
    object(json!({"metadata": {"name": name, "annotations": annotations}, "provisioner": "p"}))
}

fn with_claim(
    claim: &PersistentVolumeClaim,
    classes: Option<&[StorageClass]>,
    warnings: &[Event],
) -> Vec<Finding> {
    findings(&Symptoms {
        claims: vec![claim],
        storage_classes: classes,
        warnings,
        ..Symptoms::default()
    })
}

fn warning(about: &str, reason: &str, message: &str, at: &str) -> Event {
    object(json!({
        "metadata": {}, "involvedObject": {"uid": about}, "type": "Warning", "reason": reason, "message": message, "lastTimestamp": at,
    }))
}

#[test]
fn a_storage_class_that_does_not_exist() {
    let classes = [class("standard", true)];
    let found = only(with_claim(&claim(Some("fast"), "Pending"), Some(&classes), &[]));
    assert_eq!(found.0, Reason::StorageClassNotFound);
    assert!(
        found
            .1
            .contains("StorageClass fast, which does not exist (there are: standard)"),
        "{}",
        found.1
    );
}

#[test]
fn no_storage_class_named_and_no_default() {
    let classes = [class("slow", false)];
    let found = only(with_claim(&claim(None, "Pending"), Some(&classes), &[]));
    assert_eq!(found.0, Reason::StorageClassNotFound);
    assert!(
        found.1.contains("the cluster has no default (there are: slow)"),
        "{}",
        found.1
    );
}

#[test]
fn a_claim_whose_volume_cannot_be_made_tells_its_newest_warning() {
    let classes = [class("standard", true)];
    let warnings = [
        warning(
            "claim-1",
            "ProvisioningFailed",
            "quota of disks exceeded",
            "2026-01-02T00:00:00Z",
        ),
        warning(
            "claim-1",
            "ProvisioningFailed",
            "no such zone",
            "2026-01-01T00:00:00Z",
        ),
        warning(
            "another",
            "ProvisioningFailed",
            "not this one",
            "2026-01-03T00:00:00Z",
        ),
    ];
    let found = only(with_claim(
        &claim(Some("standard"), "Pending"),
        Some(&classes),
        &warnings,
    ));
    assert_eq!(
        found,
        (
            Reason::VolumePending,
            "claim calls-cache gets no volume: quota of disks exceeded".into()
        )
    );
}

#[test]
fn a_claim_that_waits_for_its_first_pod_is_well_and_so_is_a_bound_one() {
    let classes = [class("standard", true)];
    assert_eq!(
        with_claim(&claim(Some("standard"), "Pending"), Some(&classes), &[]),
        []
    );
    assert_eq!(with_claim(&claim(Some("gone"), "Bound"), Some(&classes), &[]), []);
    assert_eq!(
        with_claim(&claim(Some("unknown"), "Pending"), None, &[]),
        [],
        "classes may not be read"
    );
}

#[test]
fn a_claim_that_lost_its_volume_or_goes() {
    assert_eq!(
        only(with_claim(&claim(Some("standard"), "Lost"), None, &[])).0,
        Reason::VolumePending
    );
    let mut going = claim(Some("standard"), "Bound");
    going.metadata.deletion_timestamp = Some(object(json!("2026-01-01T00:00:00Z")));
    assert!(only(with_claim(&going, None, &[])).1.contains("is being deleted"));
}

#[test]
fn a_volume_that_cannot_be_mounted() {
    let waiting = container(
        "model",
        json!({"waiting": {"reason": "PodInitializing"}}),
        json!({}),
    );
    let pod = pod(json!({"initContainerStatuses": [waiting]}));
    let warnings = [warning(
        "pod-1",
        "FailedAttachVolume",
        "Multi-Attach error for volume pvc-1",
        "2026-01-01T00:00:00Z",
    )];
    let found = only(findings(&Symptoms {
        pods: vec![&pod],
        warnings: &warnings,
        ..Symptoms::default()
    }));
    assert_eq!(
        found,
        (
            Reason::VolumePending,
            "pod calls-1 cannot mount its volume: Multi-Attach error for volume pvc-1".into()
        )
    );
}

#[test]
fn a_secret_that_is_not_there_is_named_whatever_more_general_words_come_after() {
    let waiting = container(
        "model",
        json!({"waiting": {"reason": "PodInitializing"}}),
        json!({}),
    );
    let pod = pod(json!({"initContainerStatuses": [waiting]}));
    for words in [
        r#"MountVolume.SetUp failed for volume "tls" : secret "calls-tls" not found"#,
        r#"MountVolume.SetUp failed for volume "tls" : references non-existent secret key: tls.key"#,
    ] {
        let warnings = [
            warning("pod-1", "FailedMount", words, "2026-01-01T00:00:00Z"),
            warning(
                "pod-1",
                "FailedMount",
                "Unable to attach or mount volumes: timed out",
                "2026-01-02T00:00:00Z",
            ),
        ];
        let found = only(findings(&Symptoms {
            pods: vec![&pod],
            warnings: &warnings,
            ..Symptoms::default()
        }));
        assert_eq!(found.0, Reason::SecretNotFound);
        assert!(found.1.contains(words), "{}", found.1);
    }
}

fn deployment(status: Value) -> Deployment {
    object(
        json!({"metadata": {"name": "calls", "generation": 2}, "spec": {"selector": {}, "template": {}}, "status": status}),
    )
}

#[test]
fn pods_that_the_apiserver_refuses() {
    let failure = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: team"}]);
    let deployment = deployment(json!({"conditions": failure}));
    let found = only(findings(&Symptoms {
        deployment: Some(&deployment),
        ..Symptoms::default()
    }));
    assert_eq!(
        found,
        (
            Reason::PodsRefused,
            "the apiserver refuses the pods: exceeded quota: team".into()
        )
    );
}

#[test]
fn a_jobs_pods_that_the_apiserver_refuses() {
    let job: Job = object(json!({"metadata": {"name": "fetch", "uid": "job-1"}}));
    let warnings = [warning(
        "job-1",
        "FailedCreate",
        "violates PodSecurity",
        "2026-01-01T00:00:00Z",
    )];
    let found = only(findings(&Symptoms {
        job: Some(&job),
        warnings: &warnings,
        ..Symptoms::default()
    }));
    assert_eq!(
        found,
        (
            Reason::PodsRefused,
            "the apiserver refuses the pods: violates PodSecurity".into()
        )
    );
}

#[test]
fn a_rollout_that_stalls_is_told_only_when_nothing_else_explains_it() {
    let late = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
    let deployment = deployment(json!({"conditions": late}));
    let stalled = Symptoms {
        deployment: Some(&deployment),
        ..Symptoms::default()
    };
    assert_eq!(only(findings(&stalled)).0, Reason::RolloutStalled);
    let crashed = pod(
        json!({"containerStatuses": [container("server", json!({"terminated": {"exitCode": 1}}), json!({}))]}),
    );
    assert_eq!(
        only(findings(&Symptoms {
            pods: vec![&crashed],
            ..stalled
        }))
        .0,
        Reason::CrashLoop
    );
}

#[test]
fn a_rollout_does_not_stall_while_a_model_is_on_its_way() {
    let late = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
    let deployment = deployment(json!({"conditions": late}));
    let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    let fetching = pod(json!({"initContainerStatuses": [container("model", running, json!({}))]}));
    let symptoms = Symptoms {
        deployment: Some(&deployment),
        pods: vec![&fetching],
        ..Symptoms::default()
    };
    assert_eq!(findings(&symptoms), []);
}

#[test]
fn causes_come_before_effects_and_each_once() {
    let classes = [class("standard", true)];
    let claim = claim(Some("fast"), "Pending");
    let pods = [
        unschedulable("pod has unbound immediate PersistentVolumeClaims"),
        unschedulable("the same"),
    ];
    let symptoms = Symptoms {
        pods: pods.iter().collect(),
        claims: vec![&claim],
        storage_classes: Some(&classes),
        ..Symptoms::default()
    };
    let reasons: Vec<Reason> = findings(&symptoms)
        .into_iter()
        .map(|finding| finding.reason)
        .collect();
    assert_eq!(reasons, [Reason::StorageClassNotFound, Reason::Unschedulable]);
}

#[test]
fn a_rollout_is_complete_when_enough_new_pods_serve() {
    let rollout = |generation: i64, replicas: i32, updated: i32, available: i32, wanted: i32| {
        let status = json!({"observedGeneration": generation, "replicas": replicas, "updatedReplicas": updated,
                            "readyReplicas": available, "availableReplicas": available,
                            "conditions": [{"type": "Available", "status": "True"}]});
        Rollout::of(&deployment(status), wanted)
    };
    assert!(rollout(2, 2, 2, 2, 2).complete);
    assert!(
        !rollout(1, 2, 2, 2, 2).complete,
        "the controller has not seen the change"
    );
    assert!(!rollout(2, 3, 2, 2, 2).complete, "an old pod is still there");
    assert!(!rollout(2, 2, 2, 1, 2).complete, "a pod does not serve");
    assert!(rollout(2, 4, 4, 2, 2).complete, "an autoscaler adds pods");
    assert!(rollout(2, 0, 0, 0, 0).complete, "none are wanted");
    assert!(!rollout(2, 0, 0, 0, 1).complete);
    assert!(rollout(2, 2, 2, 1, 2).available && rollout(2, 0, 0, 0, 0).available);
    assert!(!rollout(2, 1, 1, 0, 1).available, "the only pod may be replaced");
}

#[test]
fn a_rollout_of_pods_with_gpus_says_how_they_are_replaced() {
    let sentence = |surge: i32, resource: &str, updated: i32| {
        let deployment: Deployment = object(json!({
            "metadata": {"name": "calls", "generation": 1},
            "spec": {
                "selector": {}, "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": 1 - surge}},
                "template": {"spec": {"containers": [{"name": "server", "resources": {"limits": {resource: "1"}}}]}},
            },
            "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": updated, "readyReplicas": 1, "availableReplicas": 1},
        }));
        Rollout::of(&deployment, 2).sentence()
    };
    let usual = "1 of 2 pods serve; pods are being started or replaced";
    assert_eq!(
        sentence(0, "nvidia.com/gpu", 1),
        format!("{usual}: an old pod ends before its successor starts")
    );
    assert_eq!(
        sentence(1, "nvidia.com/gpu", 1),
        format!("{usual}: a new pod starts before an old one ends")
    );
    assert_eq!(sentence(0, "nvidia.com/gpu", 2), usual, "all are new");
    assert_eq!(sentence(1, "cpu", 1), usual);
}
