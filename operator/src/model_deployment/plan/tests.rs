//! What a ModelDeployment needs, and one test for each reason why there can be no plan.

use serde_json::{Value, json};

use super::*;
use crate::names::{EVALUATES, Kind};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

fn model(spec: Value, status: Value) -> ModelDeployment {
    serde_json::from_value(json!({
        "apiVersion": "parlance.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "digits", "namespace": "speech", "uid": "u-1", "generation": 1},
        "spec": spec, "status": status,
    }))
    .unwrap()
}

fn decide(model: &ModelDeployment, fetched: &Fetched) -> Result<Plan, Error> {
    plan(
        model,
        &Owner::of(Kind::ModelDeployment, &model.metadata),
        fetched,
        "server:1",
        10,
    )
}

fn bundled() -> Value {
    json!({"source": {"bundled": {"name": "nano"}}, "digest": "sha256:1"})
}

/// As `plan` first was, with its Job done and reporting.
fn done(plan: &Plan, digest: Option<&str>) -> Fetched {
    let job = json!({
        "metadata": {"name": "digits-fetch-1", "annotations": {VERIFIES: plan.job.verifies, FOLDER: plan.job.mount.folder},
                     "ownerReferences": [plan.job.owner.reference()]},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]},
    });
    let report = |digest: &str| {
        let report = json!({"digest": digest, "sizeBytes": 5, "files": 2}).to_string();
        let ended = json!({"terminated": {"exitCode": 0, "message": report}});
        json!({
            "metadata": {"name": "p", "labels": {"batch.kubernetes.io/job-name": "digits-fetch-1"}},
            "status": {"containerStatuses": [{
                "name": "model", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": ended}]},
        })
    };
    let mut fetched = Fetched::default();
    fetched
        .observed
        .children
        .jobs
        .push(serde_json::from_value(job).unwrap());
    fetched
        .observed
        .pods
        .extend(digest.map(|digest| serde_json::from_value(report(digest)).unwrap()));
    fetched
}

#[test]
fn a_bundled_model_gets_a_claim_and_a_job() {
    let plan = decide(&model(bundled(), json!(null)), &Fetched::default()).unwrap();
    assert_eq!(plan.cache.unwrap().name, "digits-model");
    assert_eq!(plan.job.mount.contents, Contents::Bundled("nano".into()));
    assert_eq!(plan.job.mount.digest.as_deref(), Some("sha256:1"));
    assert_eq!(
        (plan.verified, plan.workload, plan.keep_serving),
        (None, None, true)
    );
    assert_eq!((plan.job.done_as, plan.job.again), (None, false));
}

#[test]
fn a_verified_model_is_served_from_its_claim() {
    let mut spec = bundled();
    spec["serving"] = json!({"profile": "nano"});
    let model = model(spec, json!(null));
    let first = decide(&model, &Fetched::default()).unwrap();
    assert_eq!(first.workload, None, "not before it is verified");
    let plan = decide(&model, &done(&first, Some("sha256:1"))).unwrap();
    let expected = ModelMount::in_folder("digits-model", "model", Some("sha256:1".into()), true);
    let workload = plan.workload.unwrap();
    assert_eq!(
        (workload.name.as_str(), workload.model),
        ("digits-model", expected)
    );
    assert_eq!(
        (plan.keep_serving, plan.job.done_as.as_deref()),
        (false, Some("digits-fetch-1"))
    );
}

#[test]
fn a_job_without_its_pod_counts_when_the_status_knows_what_it_found() {
    let first = decide(&model(bundled(), json!(null)), &Fetched::default()).unwrap();
    let cached = |status: &str| {
        json!({"digest": "sha256:1", "sizeBytes": 5, "files": 2, "conditions": [{"type": "ModelCached", "status": status,
               "reason": "AsExpected", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
    };
    let known = decide(&model(bundled(), cached("True")), &done(&first, None)).unwrap();
    assert_eq!(known.verified.unwrap().digest, "sha256:1");
    let unknown = decide(&model(bundled(), cached("False")), &done(&first, None)).unwrap();
    assert_eq!((unknown.verified, unknown.job.again), (None, true));
}

#[test]
fn another_pin_is_verified_anew() {
    let first = decide(&model(bundled(), json!(null)), &Fetched::default()).unwrap();
    let mut spec = bundled();
    spec["digest"] = json!("sha256:2");
    let plan = decide(&model(spec, json!(null)), &done(&first, Some("sha256:1"))).unwrap();
    assert_eq!((plan.verified, plan.job.done_as), (None, None));
}

#[test]
fn the_claim_does_not_exist() {
    let spec = json!({"source": {"persistentVolumeClaim": {"claimName": "models", "path": "w"}}});
    let model = model(spec, json!(null));
    let error = decide(&model, &Fetched::default()).unwrap_err();
    assert_eq!(error, Error::ClaimNotFound("models".into()));
    assert_eq!(Finding::from(&error).reason, Reason::ClaimNotFound);
    let claim: PersistentVolumeClaim = serde_json::from_value(
        json!({"metadata": {"name": "models"}, "spec": {"accessModes": ["ReadWriteMany"]}}),
    )
    .unwrap();
    let plan = decide(
        &model,
        &Fetched {
            claim: Some(claim),
            ..Fetched::default()
        },
    )
    .unwrap();
    assert_eq!((plan.cache, plan.job.mount.one_node), (None, false));
}

#[test]
fn the_spec_cannot_be_followed_which_is_told_before_the_model_is_fetched() {
    let mut spec = bundled();
    spec["serving"] = json!({"transcription": {"timeout": "soon"}});
    let error = decide(&model(spec, json!(null)), &Fetched::default()).unwrap_err();
    assert_eq!(Finding::from(&error).reason, Reason::InvalidSpec);
    let no_source = decide(&model(json!({"source": {}}), json!(null)), &Fetched::default()).unwrap_err();
    assert_eq!(no_source, Error::Spec(SpecError::NoSource));
}

const OLD: &str = "sha256:1";

/// The status of a model that is accepted, in this folder.
fn accepted_in(folder: &str) -> Value {
    json!({"digest": OLD, "sizeBytes": 5, "files": 2,
           "location": {"persistentVolumeClaim": {"claimName": "digits-model", "path": folder}}})
}

/// A Deployment that runs the model of a digest.
fn runs(digest: &str) -> Value {
    json!({"metadata": {"name": "digits-model"}, "spec": {"selector": {}, "template": {"spec": {
        "containers": [{"name": "server", "args": [format!("--digest={digest}")]}]}}}})
}

fn gated() -> Value {
    json!({"source": {"bundled": {"name": "other"}}, "serving": {"profile": "nano"},
           "evaluation": {"samples": {"bundled": {}}, "threshold": 0.15}})
}

/// The same with the Job of the evaluation done, and its pod reporting.
fn tried(mut fetched: Fetched, plan: &Plan, value: f64) -> Fetched {
    let job = plan.evaluation.as_ref().unwrap().job.as_ref().unwrap();
    let done = json!({
        "metadata": {"name": "digits-eval-1", "annotations": {EVALUATES: job.evaluates},
                     "ownerReferences": [job.owner.reference()]},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]},
    });
    let report = json!({"metric": "wer", "value": value, "threshold": job.asked.threshold, "samples": 2, "failing": [],
                        "passed": value <= job.asked.threshold.unwrap()});
    let ended = json!({"terminated": {"exitCode": 0, "message": report.to_string()}});
    let pod = json!({
        "metadata": {"name": "e", "labels": {"batch.kubernetes.io/job-name": "digits-eval-1"}},
        "status": {"containerStatuses": [{
            "name": "evaluation", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": ended}]},
    });
    let observed = &mut fetched.observed;
    observed.children.jobs.push(serde_json::from_value(done).unwrap());
    observed.pods.push(serde_json::from_value(pod).unwrap());
    fetched
}

#[test]
fn a_model_is_put_beside_the_one_that_is_served() {
    let spec = |name: &str, pin: Option<&str>| json!({"source": {"bundled": {"name": name}}, "digest": pin});
    let placed = |spec: Value, status: Value| {
        let mount = decide(&model(spec, status), &Fetched::default())
            .unwrap()
            .job
            .mount;
        (mount.folder, mount.keep)
    };
    let first = model(spec("nano", None), json!(null));
    let empty = decide(&first, &Fetched::default()).unwrap();
    assert_eq!(
        (empty.job.mount.folder.as_str(), &empty.job.mount.keep),
        ("model", &None),
        "nothing is known to be served, so nothing is removed"
    );
    let known = decide(&first, &done(&empty, Some(OLD)))
        .unwrap()
        .accepted
        .unwrap()
        .location;
    let served = || json!({"digest": OLD, "sizeBytes": 5, "files": 2, "location": known});
    let keeps = Some("model".to_string());
    assert_eq!(
        placed(spec("nano", None), served()),
        ("model".into(), keeps.clone()),
        "it is looked at again"
    );
    assert_eq!(
        placed(spec("nano", Some(OLD)), served()),
        ("model".into(), keeps.clone()),
        "a pin on what is served"
    );
    // An earlier operator put all models into one folder and said nothing of it.
    let unsaid = json!({"digest": OLD, "sizeBytes": 5, "files": 2});
    assert_eq!(
        placed(spec("nano", Some(OLD)), unsaid.clone()),
        ("model".into(), keeps.clone())
    );
    for status in [served(), unsaid] {
        let others = [
            spec("other", None),
            spec("nano", Some("sha256:2")),
            spec("other", Some("sha256:2")),
        ];
        for other in others {
            let (folder, kept) = placed(other, status.clone());
            assert!(folder.starts_with("model-") && kept == keeps, "{folder} {kept:?}");
        }
    }
    // And from there on to a third.
    let mut beside = served();
    let (folder, _) = placed(spec("other", None), served());
    beside["location"]["persistentVolumeClaim"]["path"] = json!(folder);
    let (third, kept) = placed(spec("third", None), beside);
    assert!(third != folder && kept == Some(folder));
}

#[test]
fn the_same_bytes_from_elsewhere_stay_where_they_are_served() {
    let spec = json!({"source": {"bundled": {"name": "other"}}, "serving": {"profile": "nano"}});
    let model = model(spec, accepted_in("model-0"));
    let first = decide(&model, &Fetched::default()).unwrap();
    let same = decide(&model, &done(&first, Some(OLD))).unwrap();
    assert_eq!(same.accepted.unwrap().folder(), Some("model-0"));
    assert_eq!(
        same.workload.unwrap().model.contents,
        Contents::Folder("model-0".into())
    );
    let other = decide(&model, &done(&first, Some("sha256:2"))).unwrap();
    assert_eq!(
        other.accepted.unwrap().folder(),
        Some(first.job.mount.folder.as_str())
    );
}

#[test]
fn a_model_is_not_served_before_it_is_evaluated_and_never_when_it_fails() {
    let model = model(gated(), json!(null));
    let first = decide(&model, &Fetched::default()).unwrap();
    assert_eq!(
        (&first.evaluation, first.good),
        (&None, false),
        "there is nothing to evaluate yet"
    );
    let fetched = done(&first, Some("sha256:2"));
    let verified = decide(&model, &fetched).unwrap();
    let job = verified.evaluation.clone().unwrap().job.unwrap();
    assert_eq!(
        job.mount,
        ModelMount::in_folder(
            "digits-model",
            &first.job.mount.folder,
            Some("sha256:2".into()),
            true
        )
    );
    assert_eq!(
        (verified.good, &verified.accepted, &verified.workload),
        (false, &None, &None)
    );

    let good = decide(&model, &tried(fetched.clone(), &verified, 0.15)).unwrap();
    assert!(good.good && good.workload.is_some());
    assert_eq!(good.accepted.unwrap().report.digest, "sha256:2");
    let bad = decide(&model, &tried(fetched, &verified, 0.16)).unwrap();
    assert_eq!((bad.good, bad.accepted, bad.workload), (false, None, None));
    let kept = bad.evaluation.unwrap();
    assert_eq!(kept.passed(), Some(false));
    assert_eq!(
        kept.job.unwrap().done_as.as_deref(),
        Some("digits-eval-1"),
        "its log stays"
    );
}

#[test]
fn a_changed_model_that_waits_or_fails_leaves_the_old_one_as_the_spec_asks_for_it() {
    let mut spec = gated();
    spec["serving"]["replicas"] = json!(3);
    let model = model(spec, accepted_in("model-0"));
    let with = |mut fetched: Fetched, digest: &str| {
        fetched.observed.children.deployments = vec![serde_json::from_value(runs(digest)).unwrap()];
        fetched
    };
    let first = decide(&model, &with(Fetched::default(), OLD)).unwrap();
    assert_eq!(
        (first.keep_serving, first.workload.clone()),
        (true, None),
        "while a model is fetched nothing changes"
    );
    let fetched = with(done(&first, Some("sha256:2")), OLD);
    let waiting = decide(&model, &fetched).unwrap();
    let failed = decide(&model, &tried(fetched.clone(), &waiting, 1.0)).unwrap();
    for plan in [&waiting, &failed] {
        let workload = plan.workload.as_ref().unwrap();
        assert_eq!(
            workload.model,
            ModelMount::in_folder("digits-model", "model-0", Some(OLD.into()), true)
        );
        assert_eq!(workload.replicas, crate::workload::Replicas::Fixed(3));
        assert_eq!((plan.good, plan.keep_serving), (false, false));
        assert_eq!(plan.accepted.as_ref().unwrap().report.digest, OLD);
    }
    // Pods of whatever else are left alone.
    let strange = decide(&model, &with(fetched, "sha256:0")).unwrap();
    assert_eq!((strange.workload, strange.keep_serving), (None, true));
}

#[test]
fn another_threshold_is_evaluated_anew_and_what_is_known_is_not() {
    let one = model(gated(), json!(null));
    let first = decide(&one, &Fetched::default()).unwrap();
    let fetched = done(&first, Some("sha256:2"));
    let verified = decide(&one, &fetched).unwrap();
    let tried = tried(fetched.clone(), &verified, 0.1);
    let good = decide(&one, &tried).unwrap();
    let known = good.evaluation.unwrap().outcome.unwrap();

    let remembered = model(gated(), json!({"evaluation": known}));
    let again = decide(&remembered, &fetched).unwrap().evaluation.unwrap();
    assert_eq!(
        (again.passed(), again.job),
        (Some(true), None),
        "the Job may be gone"
    );
    let mut stricter = gated();
    stricter["evaluation"]["threshold"] = json!(0.05);
    let anew = decide(&model(stricter, json!({"evaluation": known})), &tried)
        .unwrap()
        .evaluation
        .unwrap();
    assert_eq!(anew.outcome, None);
    assert_eq!(anew.job.unwrap().done_as, None);
    let mut lost = tried;
    lost.observed.pods.retain(|pod| pod.name_any() != "e");
    let lost = decide(&one, &lost).unwrap().evaluation.unwrap();
    assert_eq!(
        (lost.outcome, lost.job),
        (None, None),
        "a Job whose outcome no one knows goes, and runs again"
    );
}

#[test]
fn a_model_over_the_limit_is_verified_and_waits() {
    let mut spec = bundled();
    spec["serving"] = json!({"profile": "nano"});
    let model = model(spec, json!(null));
    let limited = |fetched: &Fetched| {
        let owner = Owner::of(Kind::ModelDeployment, &model.metadata);
        plan(&model, &owner, fetched, "server:1", 0).unwrap()
    };
    let first = limited(&Fetched::default());
    assert_eq!(first.waits, None);
    let mut fetched = done(&first, Some("sha256:1"));
    let waiting = limited(&fetched);
    assert_eq!((waiting.workload, waiting.keep_serving), (None, false));
    assert_eq!(waiting.waits.unwrap().reason, Reason::MaxDeployedReached);
    fetched.observed.children.deployments = vec![serde_json::from_value(runs(OLD)).unwrap()];
    assert!(limited(&fetched).workload.is_some(), "what is deployed stays so");
}

#[test]
fn a_model_in_an_image_needs_no_claim() {
    let spec = json!({"source": {"image": {"reference": "models/nano:1", "path": "nano"}}, "serving": {"profile": "nano"}});
    let model = model(spec, json!(null));
    let first = decide(&model, &Fetched::default()).unwrap();
    assert_eq!((&first.cache, &first.job.mount.claim), (&None, &None));
    let plan = decide(&model, &done(&first, Some("sha256:1"))).unwrap();
    let image = model.spec.model.source.image.clone();
    assert_eq!(plan.accepted.unwrap().location.image, image);
    assert_eq!(
        plan.workload.unwrap().model,
        ModelMount::of_image(&image.unwrap(), Some("sha256:1".into()))
    );
}

#[test]
fn jobs_on_a_volume_of_one_node_run_where_the_pods_with_gpus_will() {
    let spec = |access: &str| {
        json!({
            "source": {"bundled": {"name": "nano"}}, "cache": {"accessMode": access},
            "evaluation": {"samples": {"bundled": {}}, "threshold": 0.1},
            "serving": {"gpu": {"products": ["Tesla-T4"], "memoryAtLeast": "14Gi"}, "placement": {"nodeSelector": {"pool": "speech"}}},
        })
    };
    let model_on = |access: &str| model(spec(access), Value::Null);
    let one = model_on("ReadWriteOnce");
    let first = decide(&one, &Fetched::default()).unwrap();
    let plan = decide(&one, &done(&first, Some("sha256:1"))).unwrap();
    let placement = &plan.job.placement;
    assert_eq!(placement.node_selector["pool"], "speech");
    let affinity = serde_json::to_value(&placement.affinity).unwrap().to_string();
    assert!(
        affinity.contains("Tesla-T4") && affinity.contains("nvidia.com/gpu.memory"),
        "{affinity}"
    );
    assert_eq!(placement.tolerations[0].key.as_deref(), Some("nvidia.com/gpu"));
    assert_eq!(&plan.evaluation.unwrap().job.unwrap().placement, placement);
    let jobs = super::super::build::build(&first).jobs;
    let job = serde_json::to_value(&jobs[0]).unwrap();
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["resources"]["limits"].as_object().unwrap().len(),
        2,
        "it asks for no GPU: {container}"
    );

    let many = decide(&model_on("ReadWriteMany"), &Fetched::default()).unwrap();
    assert_eq!(
        many.job.placement.affinity, None,
        "the pods can mount it from any node"
    );
    assert_eq!(many.job.placement.node_selector["pool"], "speech");
}
