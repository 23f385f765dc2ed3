//! The gate before a model is served: a good model passes, a bad one is never served, and a changed one that fails leaves the old.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::collections::BTreeMap;

use crds::model_deployment::{ModelDeploymentStatus, ModelPhase};
use crds::{ModelDeployment, TranscriptionService};
use e2e::client::{clear_recordings, cluster_is_here, port_forward, transcribe};
use e2e::manifest::{has, model, ready, service};
use e2e::source::{FILES, Sources};
use e2e::{Found, TestNamespace, in_namespace, wait_for};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, ObjectMeta};
use serde_json::{Value, json};

/// A ConfigMap with two recordings, and what `text` says is spoken in them.
async fn samples(namespace: &TestNamespace, name: &str, text: impl Fn(&str) -> String) {
    let mut map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            ..Default::default()
        },
        data: Some(BTreeMap::new()),
        binary_data: Some(BTreeMap::new()),
        ..Default::default()
    };
    for recording in clear_recordings().into_iter().take(2) {
        let stem = recording.file.rsplit_once('.').unwrap().0.to_owned();
        map.data
            .get_or_insert_default()
            .insert(format!("{stem}.txt"), text(&recording.text));
        let audio = ByteString(recording.audio());
        map.binary_data
            .get_or_insert_default()
            .insert(recording.file, audio);
    }
    namespace.apply(&map).await;
}

fn gate(map: &str, threshold: f64) -> Value {
    json!({ "samples": { "configMap": { "name": map } }, "threshold": threshold })
}

fn serving() -> Value {
    json!({ "profile": "nano", "transcription": { "language": "en" } })
}

fn status(model: &ModelDeployment) -> ModelDeploymentStatus {
    model.status.clone().unwrap_or_default()
}

/// Whether the status is of the present spec, and this phase.
fn phase(wanted: ModelPhase) -> impl Fn(&ModelDeployment) -> Result<(), String> {
    move |model| {
        let status = status(model);
        let now = status.observed_generation == model.metadata.generation;
        let seen = format!("{:?} (of now: {now}): {:?}", status.phase, status.message);
        (now && status.phase == Some(wanted)).then_some(()).ok_or(seen)
    }
}

/// How many Deployments there are.
async fn deployments(namespace: &TestNamespace) -> usize {
    let api = namespace.api::<Deployment>();
    api.list(&ListParams::default()).await.unwrap().items.len()
}

async fn assert_transcribes(namespace: &TestNamespace, service: &str) {
    let forward = port_forward(namespace, service, 50051).await;
    let recording = clear_recordings().remove(0);
    let heard = transcribe(&forward.address, recording.audio()).await.unwrap();
    assert_eq!(heard.text, recording.text);
}

/// The pods that serve an object and are not on their way out.
async fn pods(namespace: &TestNamespace, name: &str) -> Vec<Pod> {
    let selector = format!("parlance.dev/name={name},app.kubernetes.io/component=server");
    let listed = namespace
        .api::<Pod>()
        .list(&ListParams::default().labels(&selector))
        .await;
    let stays = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
    listed.unwrap().items.into_iter().filter(stays).collect()
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_good_model_is_evaluated_and_served_and_a_changed_threshold_evaluates_it_anew() {
    in_namespace(|namespace| async move {
        // The samples come later: their absence is told, and heals.
        let gated = model(
            "digits",
            json!({ "evaluation": gate("spoken", 0.15), "serving": serving() }),
        );
        namespace.apply(&gated).await;
        let lacking = namespace
            .until::<ModelDeployment>("digits", "to miss its samples", |model| {
                has(
                    &status(model).conditions,
                    "Degraded",
                    "True",
                    Some("SamplesNotFound"),
                )
            })
            .await;
        assert_eq!(status(&lacking).phase, Some(ModelPhase::Pending));
        assert!(
            status(&lacking).message.unwrap().contains("\"spoken\" not found"),
            "{:?}",
            status(&lacking).message
        );
        assert_eq!(deployments(&namespace).await, 0, "it is not served before");

        samples(&namespace, "spoken", str::to_owned).await;
        let deployed = namespace
            .until::<ModelDeployment>("digits", "to be deployed", phase(ModelPhase::Deployed))
            .await;
        let first = status(&deployed);
        has(&first.conditions, "EvaluationPassed", "True", Some("AsExpected")).unwrap();
        let evaluation = first.evaluation.unwrap();
        assert_eq!(
            (evaluation.value, evaluation.samples, evaluation.passed),
            (0.0, 2, true)
        );
        assert_eq!(Some(&evaluation.digest), first.digest.as_ref());
        assert_transcribes(&namespace, "digits-model").await;
        let before: Vec<_> = pods(&namespace, "digits")
            .await
            .iter()
            .map(ResourceExt::uid)
            .collect();

        let change = json!({ "spec": { "evaluation": { "threshold": 0.25 } } });
        namespace.merge::<ModelDeployment>("digits", change).await;
        let again = namespace
            .until::<ModelDeployment>("digits", "to be evaluated anew", |model| {
                phase(ModelPhase::Deployed)(model)?;
                let threshold = status(model).evaluation.map(|evaluation| evaluation.threshold);
                (threshold == Some(0.25))
                    .then_some(())
                    .ok_or(format!("{threshold:?}"))
            })
            .await;
        assert_ne!(status(&again).evaluation.unwrap().of, evaluation.of);
        let after: Vec<_> = pods(&namespace, "digits")
            .await
            .iter()
            .map(ResourceExt::uid)
            .collect();
        assert_eq!(before, after, "no pod is restarted for it");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_model_that_fails_is_never_served_until_the_spec_lets_it() {
    in_namespace(|namespace| async move {
        samples(&namespace, "others", |_| "Wholly other words.".to_owned()).await;
        let gated = model(
            "digits",
            json!({ "evaluation": gate("others", 0.5), "serving": serving() }),
        );
        namespace.apply(&gated).await;
        let referring = service(
            "calls",
            json!({ "model": null, "modelRef": { "name": "digits" } }),
        );
        namespace.apply(&referring).await;
        let failed = namespace
            .until::<ModelDeployment>("digits", "to fail", phase(ModelPhase::Failed))
            .await;
        let failed = status(&failed);
        has(
            &failed.conditions,
            "EvaluationPassed",
            "False",
            Some("EvaluationFailed"),
        )
        .unwrap();
        assert_eq!((failed.digest, failed.ready_replicas), (None, 0));
        assert!(failed.candidate.is_some());
        let evaluation = failed.evaluation.unwrap();
        assert!(evaluation.value >= 1.0 && !evaluation.passed, "{evaluation:?}");
        assert_eq!(evaluation.failing.len(), 2);
        assert_eq!(
            evaluation.failing[0].expected.as_deref(),
            Some("Wholly other words.")
        );
        let message = failed.message.unwrap();
        assert!(
            message.contains("above the threshold of 0.5") && message.contains("Wholly other words."),
            "{message}"
        );
        let waiting = namespace
            .until::<TranscriptionService>("calls", "to say why it does not start", |service| {
                let status = service.status.clone().unwrap_or_default();
                let message = status.message.unwrap_or_default();
                has(&status.conditions, "Ready", "False", Some("ModelNotReady"))?;
                message.contains("not good enough").then_some(()).ok_or(message)
            })
            .await;
        assert_eq!(waiting.status.unwrap().replicas, 0);
        assert_eq!(deployments(&namespace).await, 0, "nothing serves it");

        samples(&namespace, "spoken", str::to_owned).await;
        let change = json!({ "spec": { "evaluation": gate("spoken", 0.5) } });
        namespace.merge::<ModelDeployment>("digits", change).await;
        namespace
            .until::<ModelDeployment>("digits", "to be deployed", phase(ModelPhase::Deployed))
            .await;
        namespace
            .until::<TranscriptionService>("calls", "to be ready", ready)
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make e2e"]
async fn a_running_service_keeps_its_model_while_a_changed_one_fails() {
    if !cluster_is_here() {
        eprintln!("not run: the pods of this cluster cannot reach servers on this machine");
        return;
    }
    let sources = Sources::start().await;
    in_namespace(|namespace| async move {
        let from = |folder: &str| {
            let file =
                |name: &&str| json!({ "path": name, "url": sources.web(&format!("/{folder}/{name}")) });
            json!({ "http": { "files": FILES.iter().map(file).collect::<Vec<_>>() } })
        };
        samples(&namespace, "spoken", str::to_owned).await;
        let mut gated = json!({ "evaluation": gate("spoken", 0.15), "source": { "bundled": null } });
        gated["source"]["http"] = from("files")["http"].clone();
        namespace.apply(&model("digits", gated)).await;
        namespace
            .apply(&service(
                "calls",
                json!({ "model": null, "modelRef": { "name": "digits" } }),
            ))
            .await;
        namespace
            .until::<TranscriptionService>("calls", "to be ready", ready)
            .await;
        let good = status(&namespace.api::<ModelDeployment>().get("digits").await.unwrap());

        namespace
            .merge::<ModelDeployment>("digits", json!({ "spec": { "source": from("worse") } }))
            .await;
        let failed = namespace
            .until::<ModelDeployment>("digits", "to fail", phase(ModelPhase::Failed))
            .await;
        let failed = status(&failed);
        assert_eq!((&failed.digest, &failed.location), (&good.digest, &good.location));
        assert_ne!(failed.candidate.map(|candidate| candidate.digest), good.digest);
        assert!(!failed.evaluation.unwrap().passed);

        // The old model's files are there too: a pod that comes now runs it.
        let old = pods(&namespace, "calls").await;
        let old_uids: Vec<_> = old.iter().map(ResourceExt::uid).collect();
        namespace
            .api::<Pod>()
            .delete(&old[0].name_any(), &DeleteParams::default())
            .await
            .unwrap();
        wait_for("another pod that serves the old model", || async {
            let fresh: Vec<Pod> = pods(&namespace, "calls").await;
            let conditions = |pod: &Pod| {
                pod.status
                    .clone()
                    .unwrap_or_default()
                    .conditions
                    .unwrap_or_default()
            };
            let serves = |pod: &&Pod| {
                let is_ready = conditions(pod)
                    .iter()
                    .any(|one| one.type_ == "Ready" && one.status == "True");
                is_ready && !old_uids.contains(&pod.uid())
            };
            match fresh.iter().find(serves) {
                Some(_) => Found::Yes(()),
                None => Found::NotYet(format!("{:?}", fresh.iter().map(conditions).collect::<Vec<_>>())),
            }
        })
        .await;
        assert_transcribes(&namespace, "calls").await;
        let kept = namespace
            .until::<TranscriptionService>("calls", "to be ready with the old model", |service| {
                ready(service)?;
                let message = service
                    .status
                    .clone()
                    .unwrap_or_default()
                    .message
                    .unwrap_or_default();
                message.contains("not good enough").then_some(()).ok_or(message)
            })
            .await;
        assert_eq!(kept.status.unwrap().model.unwrap().digest, good.digest);

        // The same bytes from another place are the same model: no pod moves.
        let before: Vec<_> = pods(&namespace, "calls")
            .await
            .iter()
            .map(ResourceExt::uid)
            .collect();
        namespace
            .merge::<ModelDeployment>("digits", json!({ "spec": { "source": from("elsewhere") } }))
            .await;
        let healed = namespace
            .until::<ModelDeployment>("digits", "to be available", phase(ModelPhase::Available))
            .await;
        let healed = status(&healed);
        assert_eq!((&healed.digest, healed.candidate), (&good.digest, None));
        namespace
            .until::<TranscriptionService>("calls", "to say no more of it", |service| {
                ready(service)?;
                let message = service
                    .status
                    .clone()
                    .unwrap_or_default()
                    .message
                    .unwrap_or_default();
                (!message.contains("keep their model"))
                    .then_some(())
                    .ok_or(message)
            })
            .await;
        let after: Vec<_> = pods(&namespace, "calls")
            .await
            .iter()
            .map(ResourceExt::uid)
            .collect();
        assert_eq!(before, after);
    })
    .await;
}
