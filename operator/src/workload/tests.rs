//! The children of a plan, written out in full by hand.

use crds::placement::{Gpu, Spot};
use serde::Serialize;
use serde_json::{Value, json};

use super::claim::ClaimPlan;
use super::settings::ServerImages;
use super::*;
use crate::names::Kind;
use crds::model::ModelFormat;

pub(crate) fn owner() -> Owner {
    Owner {
        kind: Kind::TranscriptionService,
        namespace: "speech".into(),
        name: "calls".into(),
        uid: "u-1".into(),
    }
}

/// The plan of a serving block, with a bundled model.
pub(crate) fn plan(serving: Value) -> WorkloadPlan {
    let mount = ModelMount {
        claim: Some("calls-cache".into()),
        contents: Contents::Bundled("whisper-nano-digits".into()),
        folder: "model".into(),
        keep: None,
        digest: None,
        format: ModelFormat::Whisper,
        one_node: true,
    };
    let serving = serde_json::from_value(serving).unwrap();
    WorkloadPlan::new(
        &owner(),
        "calls".into(),
        "whisper-nano-digits".into(),
        mount,
        &serving,
        "server:1",
    )
    .unwrap()
}

pub(crate) fn json<T: Serialize>(object: T) -> Value {
    serde_json::to_value(object).unwrap()
}

fn labels(component: &str) -> Value {
    json!({
        "app.kubernetes.io/name": "parlance",
        "app.kubernetes.io/instance": "calls",
        "app.kubernetes.io/part-of": "parlance",
        "app.kubernetes.io/managed-by": "parlance-operator",
        "app.kubernetes.io/component": component,
        "parlance.dev/kind": "TranscriptionService",
        "parlance.dev/name": "calls",
    })
}

fn selector() -> Value {
    json!({
        "app.kubernetes.io/component": "server",
        "parlance.dev/kind": "TranscriptionService",
        "parlance.dev/name": "calls",
    })
}

fn metadata(name: &str, component: &str) -> Value {
    json!({
        "name": name,
        "namespace": "speech",
        "labels": labels(component),
        "ownerReferences": [{
            "apiVersion": "parlance.dev/v1alpha1", "kind": "TranscriptionService", "name": "calls", "uid": "u-1",
            "controller": true,
        }],
    })
}

#[test]
fn the_deployment_in_full() {
    let plan =
        plan(json!({"profile": "nano", "replicas": 2, "transcription": {"timeout": "2m", "language": "en"}}));
    let mut pod_labels = labels("server");
    pod_labels["parlance.dev/claim"] = json!("calls-cache");
    let amounts =
        json!({"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}});
    let security = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
    });
    let expected = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata("calls", "server"),
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": selector()},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "progressDeadlineSeconds": 900,
            "revisionHistoryLimit": 3,
            "template": {
                "metadata": {"labels": pod_labels},
                "spec": {
                    "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
                        "labelSelector": {"matchLabels": {"parlance.dev/claim": "calls-cache"}},
                        "topologyKey": "kubernetes.io/hostname",
                    }]}},
                    "serviceAccountName": "calls",
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 135,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                        "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "initContainers": [{
                        "name": "model",
                        "image": "server:1",
                        "args": ["fetch", "--bundled=whisper-nano-digits", "--to=/cache/model", "--report=/dev/termination-log"],
                        "env": [{"name": "PARLANCE_PREPACK", "value": "auto"}],
                        "resources": amounts,
                        "securityContext": security,
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "volumeMounts": [{"name": "model", "mountPath": "/cache"}, {"name": "tmp", "mountPath": "/tmp"}],
                    }],
                    "containers": [{
                        "name": "server",
                        "image": "server:1",
                        "args": [
                            "serve", "--model=/cache/model", "--model-name=whisper-nano-digits",
                            "--grpc-addr=0.0.0.0:50051", "--http-addr=0.0.0.0:8080",
                            "--threads=0", "--language=en", "--task=transcribe",
                            "--chunk-duration=30s", "--chunk-overlap=1s", "--timeout=120s", "--max-audio-duration=1800s",
                            "--max-concurrent=1", "--queue-limit=16", "--drain-timeout=125s", "--log-format=json",
                        ],
                        "ports": [
                            {"name": "grpc", "containerPort": 50051, "protocol": "TCP"},
                            {"name": "http", "containerPort": 8080, "protocol": "TCP"},
                        ],
                        "resources": amounts,
                        "startupProbe": {"grpc": {"port": 50051}, "periodSeconds": 2, "failureThreshold": 300, "timeoutSeconds": 5},
                        "readinessProbe": {"grpc": {"port": 50051}, "periodSeconds": 5, "failureThreshold": 3, "timeoutSeconds": 5},
                        "livenessProbe": {
                            "httpGet": {"path": "/health/live", "port": 8080},
                            "periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5,
                        },
                        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                        "securityContext": security,
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "volumeMounts": [
                            {"name": "model", "mountPath": "/cache", "readOnly": true}, {"name": "tmp", "mountPath": "/tmp"},
                        ],
                    }],
                    "volumes": [
                        {"name": "model", "persistentVolumeClaim": {"claimName": "calls-cache"}},
                        {"name": "tmp", "emptyDir": {"sizeLimit": "1152Mi"}},
                    ],
                },
            },
        },
    });
    assert_eq!(json(deployment::deployment(&plan)), expected);
}

/// Arguments of the server.
fn arguments(plan: &WorkloadPlan) -> Vec<String> {
    let deployment = json(deployment::deployment(plan));
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    serde_json::from_value(arguments.clone()).unwrap()
}

#[test]
fn each_field_of_transcription_becomes_its_flag() {
    let all = plan(json!({"transcription": {
        "longForm": "Sequential",
        "vad": {"threshold": 0.5, "minSpeech": "250ms", "minSilence": "0.1s", "speechPad": "1m"},
        "wordTimestamps": true,
        "temperatures": [0, 0.2, 1],
        "beamSize": 5,
        "bestOf": 3,
        "compressionRatioThreshold": 2.5,
        "logprobThreshold": -1.5,
        "noSpeechThreshold": 0.75,
        "initialPrompt": "Names: Åsa,\n\"Bo\".",
        "carryInitialPrompt": true,
        "hotwords": "--one two",
        "conditionOnPreviousText": false,
    }}));
    let asked = [
        "--long-form=sequential",
        "--vad=true",
        "--vad-threshold=0.5",
        "--vad-min-speech=250ms",
        "--vad-min-silence=100ms",
        "--vad-speech-pad=60s",
        "--word-timestamps=true",
        "--temperatures=0,0.2,1",
        "--beam-size=5",
        "--best-of=3",
        "--compression-ratio-threshold=2.5",
        "--logprob-threshold=-1.5",
        "--no-speech-threshold=0.75",
        "--initial-prompt=Names: Åsa,\n\"Bo\".",
        "--carry-initial-prompt=true",
        "--hotwords=--one two",
        "--condition-on-previous-text=false",
    ];
    let usual = arguments(&plan(json!({})));
    assert_eq!(
        arguments(&all),
        [usual, asked.map(String::from).to_vec()].concat()
    );
}

/// `the_deployment_in_full` has the template of a spec without any; here each is alone.
#[test]
fn a_flag_comes_only_with_its_field() {
    let usual = arguments(&plan(json!({})));
    for (field, value, flag) in [
        ("longForm", json!("Chunked"), "--long-form=chunked"),
        ("chunkSilence", json!("700ms"), "--chunk-silence=700ms"),
        ("encoderTail", json!("1s500ms"), "--encoder-tail=1500ms"),
        ("channels", json!("Separate"), "--channels=separate"),
        ("prependedPunctuation", json!("(["), "--prepended-punctuation=(["),
        ("appendedPunctuation", json!("$)"), "--appended-punctuation=$$)"),
        (
            "hallucinationSilenceThreshold",
            json!("2s"),
            "--hallucination-silence-threshold=2s",
        ),
        ("patience", json!(1.5), "--patience=1.5"),
        ("lengthPenalty", json!(0.5), "--length-penalty=0.5"),
        ("seed", json!(7), "--seed=7"),
        ("suppressTokens", json!([-1, 5]), "--suppress-tokens=-1,5"),
        ("suppressTokens", json!([]), "--suppress-tokens="),
        ("suppressBlank", json!(false), "--suppress-blank=false"),
        (
            "maxInitialTimestamp",
            json!("1.5s"),
            "--max-initial-timestamp=1500ms",
        ),
        ("maxNewTokens", json!(99), "--max-new-tokens=99"),
        ("vad", json!({}), "--vad=true"),
        ("vad", json!({"enabled": false}), "--vad=false"),
        ("wordTimestamps", json!(false), "--word-timestamps=false"),
        ("temperatures", json!([0]), "--temperatures=0"),
        ("bestOf", json!(1), "--best-of=1"),
        ("logprobThreshold", json!(-1), "--logprob-threshold=-1"),
        ("carryInitialPrompt", json!(false), "--carry-initial-prompt=false"),
        (
            "conditionOnPreviousText",
            json!(true),
            "--condition-on-previous-text=true",
        ),
    ] {
        let one = arguments(&plan(json!({"transcription": {field: value}})));
        assert_eq!(one, [usual.clone(), vec![flag.to_string()]].concat(), "{field}");
    }
    let precise = arguments(&plan(json!({"precision": "int8"})));
    assert_eq!(precise, [usual, vec!["--precision=int8".to_string()]].concat());
}

#[test]
fn the_kubelet_finds_no_variables_in_texts() {
    let plan = plan(json!({"transcription": {"initialPrompt": "$(HOME) and $$5", "hotwords": "US$"}}));
    let arguments = arguments(&plan);
    assert!(
        arguments.contains(&"--initial-prompt=$$(HOME) and $$$$5".to_string()),
        "{arguments:?}"
    );
    assert!(
        arguments.contains(&"--hotwords=US$$".to_string()),
        "{arguments:?}"
    );
}

#[test]
fn a_model_from_elsewhere_is_downloaded_to_the_cache_with_what_secrets_hold() {
    let mut plan = plan(json!({"profile": "nano"}));
    let source =
        json!({"huggingFace": {"repo": "me/tiny", "tokenSecretRef": {"name": "hub", "key": "read"}}});
    plan.model.contents = Contents::cached(&serde_json::from_value(source).unwrap()).unwrap();
    plan.model.digest = Some("sha256:1".into());
    let pod = json(deployment::deployment(&plan))["spec"]["template"]["spec"].clone();
    let fetch = &pod["initContainers"][0];
    assert_eq!(
        fetch["args"],
        json!([
            "fetch",
            "--hugging-face=me/tiny",
            "--revision=main",
            "--to=/cache/model",
            "--progress-addr=0.0.0.0:8081",
            "--digest=sha256:1",
            "--report=/dev/termination-log"
        ])
    );
    assert_eq!(
        fetch["env"],
        json!([
            {"name": "PARLANCE_PREPACK", "value": "auto"},
            {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "read"}}},
        ])
    );
    assert_eq!(
        fetch["volumeMounts"][0],
        json!({"name": "model", "mountPath": "/cache"})
    );
    assert_eq!(pod["containers"][0]["args"][1], "--model=/cache/model");
    assert_eq!(pod["containers"][0].get("env"), None, "the server needs no token");
}

#[test]
fn weights_are_put_in_order_for_the_precision_that_is_served_and_for_nobody_else() {
    let prepacked = |plan: &WorkloadPlan| {
        let pod = json(deployment::deployment(plan))["spec"]["template"]["spec"].clone();
        let env = pod["initContainers"][0].get("env").cloned();
        env.map(|env| env[0]["value"].clone())
    };
    let mut on_processors = plan(json!({"precision": "int8"}));
    assert_eq!(prepacked(&on_processors), Some(json!("int8")));
    let measured = plan(json!({}));
    assert_eq!(prepacked(&measured), Some(json!("auto")));
    on_processors.model.format = ModelFormat::Onnx;
    assert_eq!(prepacked(&on_processors), None, "other graphs run as they are");
    let on_a_gpu = plan(json!({"gpu": {}}));
    assert_eq!(prepacked(&on_a_gpu), None, "a GPU has its own order");
    let mut elsewhere = plan(json!({}));
    elsewhere.model.contents = Contents::Folder("whisper".into());
    assert_eq!(
        prepacked(&elsewhere),
        None,
        "a volume of someone else's is only read"
    );
}

#[test]
fn the_kubelet_finds_no_variables_in_a_url() {
    let mut plan = plan(json!({}));
    let source = json!({"http": {"files": [{"path": "config.json", "url": "https://h/$(HOME)"}]}});
    plan.model.contents = Contents::cached(&serde_json::from_value(source).unwrap()).unwrap();
    let pod = json(deployment::deployment(&plan))["spec"]["template"]["spec"].clone();
    assert_eq!(
        pod["initContainers"][0]["args"][1],
        "--http-file=path=config.json,url=https://h/$$(HOME)"
    );
}

#[test]
fn a_claims_model_is_read_in_place_and_pinned() {
    let mut plan = plan(
        json!({"image": "mine:2", "imagePullPolicy": "Always", "imagePullSecrets": [{"name": "registry"}]}),
    );
    plan.model = ModelMount {
        claim: Some("models".into()),
        contents: Contents::Folder("whisper/base".into()),
        folder: "model".into(),
        keep: None,
        digest: Some("sha256:1".into()),
        format: ModelFormat::Whisper,
        one_node: false,
    };
    let pod = &json(deployment::deployment(&plan))["spec"]["template"]["spec"];
    let fetch = &pod["initContainers"][0];
    assert_eq!(
        fetch["args"],
        json!([
            "fetch",
            "--from=/source/whisper/base",
            "--digest=sha256:1",
            "--report=/dev/termination-log"
        ])
    );
    assert_eq!(
        fetch["volumeMounts"][0],
        json!({"name": "model", "mountPath": "/source", "readOnly": true})
    );
    assert_eq!(
        (&fetch["image"], &fetch["imagePullPolicy"]),
        (&json!("mine:2"), &json!("Always"))
    );
    let arguments = pod["containers"][0]["args"].as_array().unwrap();
    assert_eq!(arguments[1], "--model=/source/whisper/base");
    assert_eq!(arguments.last().unwrap(), "--digest=sha256:1");
    assert_eq!(pod["affinity"], Value::Null);
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
}

#[test]
fn a_claims_root_is_a_folder_too() {
    let mount = ModelMount {
        claim: Some("models".into()),
        contents: Contents::Folder(String::new()),
        folder: "model".into(),
        keep: None,
        digest: None,
        format: ModelFormat::Whisper,
        one_node: false,
    };
    assert_eq!(mount.folder(), "/source");
}

#[test]
fn the_service_in_full() {
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata("calls", "server"),
        "spec": {
            "type": "LoadBalancer",
            "selector": selector(),
            "ports": [
                {"name": "grpc", "port": 50051, "targetPort": "grpc", "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"},
                {"name": "http", "port": 8080, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"},
            ],
        },
    });
    assert_eq!(
        json(service::service(&plan(
            json!({"endpoint": {"type": "LoadBalancer"}})
        ))),
        expected
    );
}

#[test]
fn a_canary_shares_the_service_and_nothing_else_selects_its_pods() {
    let asked = json!({"security": {"networkPolicy": {}}, "disruption": {"maxUnavailable": 1}, "monitoring": {"podMonitor": {}},
        "placement": {"topologySpread": [{"topologyKey": "zone"}]}});
    let others = WorkloadPlan {
        role: Role::BesideCanary,
        ..plan(asked)
    };
    let canary = WorkloadPlan {
        role: Role::Canary("v1".into()),
        ..others.clone()
    };
    let all = json!({"parlance.dev/kind": "TranscriptionService", "parlance.dev/name": "calls"});
    let of_canary = json!({"app.kubernetes.io/component": "canary", "parlance.dev/kind": "TranscriptionService",
        "parlance.dev/name": "calls"});
    let (with, without) = (build(&others), build(&plan(json!({"replicas": 1}))));
    assert_eq!(json(&with.services)[0]["spec"]["selector"], all);
    assert_eq!(json(&without.services)[0]["spec"]["selector"], selector());
    assert_eq!(
        json(&with.pod_monitors)[0]["spec"]["selector"]["matchLabels"],
        all
    );
    assert_eq!(
        json(&with.deployments)[0]["spec"]["selector"]["matchLabels"],
        selector()
    );
    assert_eq!(
        json(&with.pod_disruption_budgets)[0]["spec"]["selector"]["matchLabels"],
        selector()
    );
    assert_eq!(
        json(&with.network_policies)[0]["spec"]["podSelector"]["matchLabels"],
        selector()
    );

    let own = build_canary(&canary);
    let deployment = json(&own.deployments)[0].clone();
    assert_eq!(deployment["metadata"], metadata("calls-canary", "canary"));
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], of_canary);
    let template = &deployment["spec"]["template"];
    for (label, value) in of_canary.as_object().unwrap() {
        assert_eq!(template["metadata"]["labels"][label], *value);
    }
    assert_eq!(
        template["metadata"]["annotations"],
        json!({"parlance.dev/variant": "v1"})
    );
    assert_eq!(template["spec"]["serviceAccountName"], "calls");
    assert_eq!(
        template["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
        of_canary
    );
    let fence = json(&own.network_policies)[0].clone();
    assert_eq!(fence["metadata"]["name"], "calls-canary");
    assert_eq!(fence["spec"]["podSelector"]["matchLabels"], of_canary);
}

#[test]
fn the_service_account_in_full() {
    let expected = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata("calls", "server"),
        "automountServiceAccountToken": false,
    });
    assert_eq!(json(service_account::service_account(&plan(json!({})))), expected);
}

#[test]
fn the_autoscaler_in_full() {
    let behavior = json!({"scaleDown": {"stabilizationWindowSeconds": 60}});
    let plan = plan(json!({"autoscaling": {
        "minReplicas": 2, "maxReplicas": 5, "targetCPUUtilization": 70, "targetMemoryUtilization": 80, "behavior": behavior,
    }}));
    let metric = |name: &str, percent: i32| json!({"type": "Resource", "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}}});
    let expected = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata("calls", "server"),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "calls"},
            "minReplicas": 2,
            "maxReplicas": 5,
            "metrics": [metric("cpu", 70), metric("memory", 80)],
            "behavior": behavior,
        },
    });
    assert_eq!(
        json(horizontal_pod_autoscaler::horizontal_pod_autoscaler(&plan).unwrap()),
        expected
    );
    assert_eq!(json(deployment::deployment(&plan))["spec"].get("replicas"), None);
}

fn offering(plan: WorkloadPlan, kinds: &[OptionalKind]) -> WorkloadPlan {
    plan.with_kinds(&kinds.iter().copied().collect()).unwrap()
}

#[test]
fn queued_audio_is_a_metric_of_pods_where_the_cluster_has_such_metrics() {
    let asked = plan(
        json!({"autoscaling": {"maxReplicas": 5, "targetQueuedAudioSeconds": 60, "targetMemoryUtilization": 80}}),
    );
    let metrics = |plan: &WorkloadPlan| {
        json(horizontal_pod_autoscaler::horizontal_pod_autoscaler(plan).unwrap())["spec"]["metrics"].clone()
    };
    let with = metrics(&offering(asked.clone(), &[OptionalKind::PodMetrics]));
    assert_eq!(
        with[1],
        json!({"type": "Pods", "pods": {"metric": {"name": "parlance_queued_audio_seconds"},
               "target": {"type": "AverageValue", "averageValue": "60"}}})
    );
    let without = metrics(&offering(asked, &[]));
    assert_eq!(without.as_array().unwrap().len(), 1, "memory is left: {without}");
    let alone = plan(json!({"autoscaling": {"maxReplicas": 5, "targetQueuedAudioSeconds": 60}}));
    let fallback = metrics(&offering(alone, &[]));
    assert_eq!(
        fallback[0]["resource"],
        json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}})
    );
}

#[test]
fn the_scaled_object_in_full() {
    let behavior = json!({"scaleDown": {"stabilizationWindowSeconds": 60}});
    let asked = plan(json!({"autoscaling": {
        "minReplicas": 2, "maxReplicas": 5, "targetCPUUtilization": 70, "targetQueuedAudioSeconds": 60, "behavior": behavior,
        "keda": {"serverAddress": "http://prometheus.monitoring:9090", "authenticationRef": "prom", "pollingInterval": 15},
    }}));
    let with = offering(
        asked.clone(),
        &[OptionalKind::ScaledObject, OptionalKind::PodMetrics],
    );
    let query = concat!(
        r#"sum(parlance_queued_audio_seconds{namespace="speech",parlance_dev_kind="TranscriptionService","#,
        r#"parlance_dev_name="calls"})"#
    );
    let expected = json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata("calls", "server"),
        "spec": {
            "scaleTargetRef": {"name": "calls"},
            "minReplicaCount": 2,
            "maxReplicaCount": 5,
            "pollingInterval": 15,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
            "triggers": [
                {"type": "prometheus", "metricType": "AverageValue", "authenticationRef": {"name": "prom"},
                 "metadata": {"serverAddress": "http://prometheus.monitoring:9090", "query": query, "threshold": "60"}},
                {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}},
            ],
        },
    });
    assert_eq!(json(scaled_object::scaled_object(&with).unwrap()), expected);
    assert_eq!(horizontal_pod_autoscaler::horizontal_pod_autoscaler(&with), None);
    let without = offering(asked, &[]);
    assert_eq!(scaled_object::scaled_object(&without), None);
    assert!(horizontal_pod_autoscaler::horizontal_pod_autoscaler(&without).is_some());
}

#[test]
fn the_vertical_autoscaler_in_full() {
    let asked = plan(json!({"verticalPodAutoscaler": {
        "updateMode": "InPlaceOrRecreate", "controlledResources": ["memory"], "maxAllowed": {"memory": "4Gi"}}}));
    let expected = json!({
        "apiVersion": "autoscaling.k8s.io/v1",
        "kind": "VerticalPodAutoscaler",
        "metadata": metadata("calls", "server"),
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "calls"},
            "updatePolicy": {"updateMode": "InPlaceOrRecreate"},
            "resourcePolicy": {"containerPolicies": [
                {"containerName": "server", "mode": "Auto", "controlledResources": ["memory"], "maxAllowed": {"memory": "4Gi"}},
                {"containerName": "*", "mode": "Off"},
            ]},
        },
    });
    let with = offering(asked.clone(), &[OptionalKind::VerticalPodAutoscaler]);
    assert_eq!(
        json(vertical_pod_autoscaler::vertical_pod_autoscaler(&with).unwrap()),
        expected
    );
    assert_eq!(
        vertical_pod_autoscaler::vertical_pod_autoscaler(&offering(asked, &[])),
        None
    );
}

#[test]
fn without_autoscaling_there_is_no_autoscaler() {
    assert_eq!(
        horizontal_pod_autoscaler::horizontal_pod_autoscaler(&plan(json!({"replicas": 3}))),
        None
    );
}

#[test]
fn the_disruption_budget_in_full() {
    let expected = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata("calls", "server"),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector()}, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
    });
    assert_eq!(
        json(pod_disruption_budget::pod_disruption_budget(&plan(json!({"replicas": 2}))).unwrap()),
        expected
    );
    assert_eq!(
        pod_disruption_budget::pod_disruption_budget(&plan(json!({}))),
        None
    );
}

#[test]
fn the_claim_in_full() {
    let cache = json!({"size": "2Gi", "storageClassName": "fast", "accessMode": "ReadWriteMany"});
    let claim = |cache: Value| {
        let cache = serde_json::from_value(cache).unwrap();
        let plan = ClaimPlan::new(&owner(), "calls-cache".into(), Some(&cache), "1Gi", None).unwrap();
        json(persistent_volume_claim::persistent_volume_claim(&plan))
    };
    let expected = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata("calls-cache", "model"),
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "2Gi"}},
        },
    });
    assert_eq!(claim(cache), expected);
    let retained = claim(json!({"reclaim": "Retain"}));
    assert_eq!(retained["metadata"].get("ownerReferences"), None);
    assert_eq!(retained["metadata"]["labels"], labels("model"));
}

#[test]
fn a_gpu_is_asked_for_and_replaced_rather_than_surged() {
    let plan = plan(json!({
        "profile": "nano",
        "gpu": {"count": 2, "products": ["Tesla-T4"]},
        "placement": {"nodeSelector": {"zone": "a"}, "tolerations": [{"key": "team", "operator": "Exists"}], "priorityClassName": "high"},
    }));
    let deployment = json(deployment::deployment(&plan));
    assert_eq!(
        deployment["spec"]["strategy"]["rollingUpdate"],
        json!({"maxSurge": 0, "maxUnavailable": 1})
    );
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["resources"],
        json!({
            "requests": {"cpu": "100m", "memory": "128Mi", "nvidia.com/gpu": "2"},
            "limits": {"cpu": "1", "memory": "512Mi", "nvidia.com/gpu": "2"},
        })
    );
    assert_eq!(
        pod["initContainers"][0]["resources"]["limits"].get("nvidia.com/gpu"),
        None
    );
    assert_eq!(
        pod["affinity"]["nodeAffinity"],
        json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "nvidia.com/gpu.product", "operator": "In", "values": ["Tesla-T4"]}]},
        ]}})
    );
    assert_eq!(
        pod["tolerations"],
        json!([{"key": "team", "operator": "Exists"}, {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}])
    );
    assert_eq!(
        (&pod["nodeSelector"], &pod["priorityClassName"]),
        (&json!({"zone": "a"}), &json!("high"))
    );
}

#[test]
fn pods_with_gpus_get_their_image_where_there_is_one_and_the_spec_names_none() {
    let reference = |images: &ServerImages, spec: Value| {
        let serving: crds::serving::Serving = serde_json::from_value(spec).unwrap();
        settings::image(&serving, images.of(Some(&serving))).reference
    };
    let gpu = || json!({"gpu": {}});
    let one = ServerImages::from("server:1");
    assert_eq!(reference(&one, gpu()), "server:1");
    let two = ServerImages {
        gpu: Some("server:1-cuda".into()),
        ..one
    };
    assert_eq!(reference(&two, gpu()), "server:1-cuda");
    assert_eq!(reference(&two, json!({})), "server:1");
    assert_eq!(reference(&two, json!({"gpu": {}, "image": "mine:2"})), "mine:2");
    assert_eq!(two.of(None), "server:1");
}

fn spot(spot: Spot, products: &[&str]) -> Gpu {
    gpu_block(json!({"spot": spot, "products": products}))
}

fn gpu_block(block: Value) -> Gpu {
    serde_json::from_value(block).unwrap()
}

/// The requirements of each term, in short.
fn terms(affinity: &Value) -> Vec<String> {
    let terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].as_array();
    let short = |one: &Value| {
        format!(
            "{} {} {}",
            one["key"].as_str().unwrap(),
            one["operator"].as_str().unwrap(),
            one["values"]
        )
    };
    let term = |term: &Value| {
        let all: Vec<String> = term["matchExpressions"]
            .as_array()
            .unwrap()
            .iter()
            .map(short)
            .collect();
        all.join(" and ")
    };
    terms.into_iter().flatten().map(term).collect()
}

#[test]
fn spot_required_offers_each_clouds_nodes_with_the_products() {
    let affinity = json(gpu::node_affinity(&spot(Spot::Require, &["T4"])));
    let product = r#"nvidia.com/gpu.product In ["T4"]"#;
    assert_eq!(
        terms(&affinity),
        [
            format!(r#"{product} and cloud.google.com/gke-spot In ["true"]"#),
            format!(r#"{product} and eks.amazonaws.com/capacityType In ["SPOT"]"#),
            format!(r#"{product} and karpenter.sh/capacity-type In ["spot"]"#),
            format!(r#"{product} and kubernetes.azure.com/scalesetpriority In ["spot"]"#),
        ]
    );
    let keys: Vec<Value> = gpu::tolerations(&spot(Spot::Require, &[]))
        .into_iter()
        .map(|one| json(one.key))
        .collect();
    assert_eq!(
        keys,
        [
            "nvidia.com/gpu",
            "cloud.google.com/gke-spot",
            "kubernetes.azure.com/scalesetpriority"
        ]
    );
}

#[test]
fn spot_never_excludes_every_clouds_nodes_at_once() {
    let affinity = json(gpu::node_affinity(&spot(Spot::Never, &[])));
    assert_eq!(
        terms(&affinity),
        [concat!(
            r#"cloud.google.com/gke-spot NotIn ["true"] and eks.amazonaws.com/capacityType NotIn ["SPOT"] and "#,
            r#"karpenter.sh/capacity-type NotIn ["spot"] and kubernetes.azure.com/scalesetpriority NotIn ["spot"]"#
        )]
    );
    assert_eq!(gpu::tolerations(&spot(Spot::Never, &[])).len(), 1);
}

#[test]
fn spot_preferred_requires_nothing_and_tolerates_their_taints() {
    let affinity = json(gpu::node_affinity(&spot(Spot::Prefer, &[])));
    assert!(terms(&affinity).is_empty());
    assert_eq!(
        affinity["preferredDuringSchedulingIgnoredDuringExecution"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    assert_eq!(gpu::tolerations(&spot(Spot::Prefer, &[])).len(), 3);
}

#[test]
fn memory_and_sharing_are_read_from_the_labels_of_feature_discovery() {
    let required = |block: Value| terms(&json(gpu::node_affinity(&gpu_block(block))));
    let products = json!(["T4"]);
    for (block, expected) in [
        (
            json!({"memoryAtLeast": "16Gi"}),
            r#"nvidia.com/gpu.memory Gt ["16383"]"#,
        ),
        (
            json!({"memoryAtLeast": "16G"}),
            r#"nvidia.com/gpu.memory Gt ["15258"]"#,
        ),
        (
            json!({"sharing": "Exclusive", "products": products}),
            r#"nvidia.com/gpu.product In ["T4"] and nvidia.com/gpu.sharing-strategy NotIn ["time-slicing","mps"]"#,
        ),
        (
            json!({"sharing": "TimeSliced", "products": products}),
            r#"nvidia.com/gpu.product In ["T4","T4-SHARED"] and nvidia.com/gpu.sharing-strategy In ["time-slicing"]"#,
        ),
        (
            json!({"sharing": "MPS"}),
            r#"nvidia.com/gpu.sharing-strategy In ["mps"]"#,
        ),
        (
            json!({"sharing": "Any", "products": products}),
            r#"nvidia.com/gpu.product In ["T4","T4-SHARED"]"#,
        ),
    ] {
        assert_eq!(required(block.clone()), [expected], "{block}");
    }
    let slice = gpu::tolerations(&gpu_block(json!({"resourceName": "nvidia.com/mig-1g.5gb"})));
    let keys: Vec<Option<String>> = slice.into_iter().map(|one| one.key).collect();
    assert_eq!(
        keys,
        [
            Some("nvidia.com/mig-1g.5gb".into()),
            Some("nvidia.com/gpu".into())
        ]
    );
}

#[test]
fn devices_are_claimed_by_our_template_or_by_the_users() {
    let plan = plan(json!({"profile": "nano", "gpu": {"count": 2, "deviceClassName": "gpu.nvidia.com"}}));
    let children = build(&plan);
    let template = json(&children.resource_claim_templates[0]);
    let name = template["metadata"]["name"].as_str().unwrap().to_string();
    assert!(name.starts_with("calls-gpu-"), "{name}");
    assert_eq!(
        template["spec"]["spec"]["devices"]["requests"],
        json!([{"name": "gpu", "exactly": {"deviceClassName": "gpu.nvidia.com", "allocationMode": "ExactCount", "count": 2}}])
    );
    let pod = &json(&children.deployments[0])["spec"]["template"]["spec"];
    assert_eq!(
        pod["resourceClaims"],
        json!([{"name": "gpu", "resourceClaimTemplateName": name}])
    );
    let resources = &pod["containers"][0]["resources"];
    assert_eq!(resources["claims"], json!([{"name": "gpu"}]));
    assert_eq!(resources["limits"].get("nvidia.com/gpu"), None);
    let other = super::tests::plan(json!({"gpu": {"count": 1, "deviceClassName": "gpu.nvidia.com"}}));
    assert_ne!(
        resource_claim_template::name(&other).unwrap(),
        name,
        "a template cannot be changed"
    );

    let named = super::tests::plan(json!({"gpu": {"resourceClaimTemplateName": "half-a-gpu"}}));
    let children = build(&named);
    assert!(children.resource_claim_templates.is_empty());
    let pod = &json(&children.deployments[0])["spec"]["template"]["spec"];
    assert_eq!(
        pod["resourceClaims"][0]["resourceClaimTemplateName"],
        "half-a-gpu"
    );

    let refused = plan.with_kinds(&BTreeSet::new()).unwrap_err();
    assert_eq!(refused.reason().as_str(), "DeviceClaimsUnavailable");
}

#[test]
fn a_specs_own_affinity_holds_beside_the_gpus_and_the_volumes() {
    let zone = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]});
    let apart = json!({"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "rack"}]});
    let plan = plan(json!({
        "gpu": {"products": ["T4"]},
        "placement": {
            "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [zone]}},
                "podAffinity": apart,
            },
            "topologySpread": [{"topologyKey": "topology.kubernetes.io/zone"},
                {"topologyKey": "kubernetes.io/hostname", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}],
        },
    }));
    let pod = &json(deployment::deployment(&plan))["spec"]["template"]["spec"];
    assert_eq!(
        terms(&pod["affinity"]["nodeAffinity"]),
        [r#"zone In ["a"] and nvidia.com/gpu.product In ["T4"]"#]
    );
    let together = &pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let keys: Vec<&Value> = together
        .as_array()
        .unwrap()
        .iter()
        .map(|term| &term["topologyKey"])
        .collect();
    assert_eq!(keys, ["rack", "kubernetes.io/hostname"]);
    let spread = |key: &str, skew: i32, otherwise: &str| {
        json!({
            "topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": otherwise,
            "labelSelector": {"matchLabels": selector()}, "matchLabelKeys": ["pod-template-hash"],
        })
    };
    assert_eq!(
        pod["topologySpreadConstraints"],
        json!([
            spread("topology.kubernetes.io/zone", 1, "ScheduleAnyway"),
            spread("kubernetes.io/hostname", 2, "DoNotSchedule"),
        ])
    );
}

#[test]
fn a_pod_template_is_merged_last_by_the_names_of_things() {
    let plan = plan(json!({
        "profile": "nano",
        "podTemplate": {
            "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
            "spec": {
                "dnsPolicy": "None",
                "terminationGracePeriodSeconds": 600,
                "containers": [
                    {"name": "server", "env": [{"name": "RUST_BACKTRACE", "value": "1"}], "resources": {"limits": {"cpu": "3"}}},
                    {"name": "proxy", "image": "proxy:1"},
                ],
                "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "9Gi"}}],
            },
        },
    }));
    let usual = super::tests::plan(json!({"profile": "nano"}));
    let template = json(deployment::deployment(&plan))["spec"]["template"].clone();
    let mut expected = json(deployment::deployment(&usual))["spec"]["template"].clone();
    expected["metadata"]["labels"]["team"] = json!("a");
    expected["metadata"]["annotations"] = json!({"note": "b"});
    expected["spec"]["dnsPolicy"] = json!("None");
    expected["spec"]["terminationGracePeriodSeconds"] = json!(600);
    expected["spec"]["containers"][0]["env"] = json!([{"name": "RUST_BACKTRACE", "value": "1"}]);
    expected["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("3");
    expected["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "proxy", "image": "proxy:1"}));
    expected["spec"]["volumes"][1]["emptyDir"]["sizeLimit"] = json!("9Gi");
    assert_eq!(template, expected);
}

#[test]
fn a_gpu_of_any_product_has_no_affinity() {
    assert_eq!(gpu::node_affinity(&gpu_block(json!({}))), None);
}

#[test]
fn an_endpoint_is_the_load_balancers_when_there_is_one() {
    let at = |status: Value| {
        let live = json!({"metadata": {"name": "calls", "namespace": "speech"}, "status": status});
        let endpoint = service::endpoint(&serde_json::from_value(live).unwrap(), Vec::new());
        (endpoint.grpc, endpoint.http)
    };
    let pair = |grpc: &str, http: &str| (grpc.to_string(), http.to_string());
    assert_eq!(
        at(json!({})),
        pair("calls.speech.svc:50051", "http://calls.speech.svc:8080")
    );
    let ingress = |address: Value| json!({"loadBalancer": {"ingress": [address]}});
    assert_eq!(
        at(ingress(json!({"ip": "10.1.2.3"}))),
        pair("10.1.2.3:50051", "http://10.1.2.3:8080")
    );
    assert_eq!(at(ingress(json!({"ip": "fd00::1"}))).0, "[fd00::1]:50051");
    assert_eq!(
        at(ingress(json!({"hostname": "lb.example"}))).0,
        "lb.example:50051"
    );
}

#[test]
fn an_endpoint_says_by_its_url_whether_it_speaks_tls_and_names_the_hosts_that_lead_to_it() {
    let plan = plan(json!({"endpoint": {
        "tls": {"secretName": "a"}, "ingress": {"host": "b.example.com"},
        "gateway": {"parentRefs": [{"name": "g"}], "hostnames": ["a.example.com"], "grpcHostnames": ["c.example.com"]},
    }}));
    let endpoint = service::endpoint(&service::service(&plan), service::hosts(&build(&plan)));
    assert_eq!(endpoint.http, "https://calls.speech.svc:8080");
    assert_eq!(
        endpoint.hosts,
        ["a.example.com", "b.example.com", "c.example.com"]
    );
}
