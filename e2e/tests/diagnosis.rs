//! What is wrong is said in the status, with a reason of its own and words that help.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use crds::TranscriptionService;
use e2e::in_namespace;
use e2e::manifest::{has, ready, service};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, ResourceQuota};
use serde_json::{Value, json};

/// Applies a service that cannot work, waits for the reason, checks the words and that a Warning Event says it too, then
/// heals it.
async fn tells(additions: Value, reason: &'static str, words: &'static str, cure: Value) {
    in_namespace(|namespace| async move {
        namespace.apply(&service("sick", additions)).await;
        let sick = namespace
            .until::<TranscriptionService>("sick", "to say what is wrong", |s| {
                let status = s.status.clone().unwrap_or_default();
                has(&status.conditions, "Ready", "False", Some(reason))?;
                has(&status.conditions, "Degraded", "True", Some(reason))
            })
            .await;
        let message = sick.status.clone().unwrap().message.unwrap_or_default();
        assert!(message.contains(words), "the message says {words:?}: {message}");
        for condition in sick.status.unwrap().conditions {
            assert_eq!(
                condition.observed_generation, sick.metadata.generation,
                "{}",
                condition.type_
            );
        }
        e2e::wait_for("a Warning Event with the reason", || async {
            let events = namespace.api::<Event>().list(&Default::default()).await.unwrap();
            let ours = events
                .iter()
                .filter(|e| e.involved_object.kind.as_deref() == Some("TranscriptionService"));
            let seen: Vec<_> = ours.map(|e| (e.type_.clone(), e.reason.clone())).collect();
            match seen.contains(&(Some("Warning".into()), Some(reason.into()))) {
                true => e2e::Found::Yes(()),
                false => e2e::Found::NotYet(format!("{seen:?}")),
            }
        })
        .await;
        namespace.apply(&service("sick", cure)).await;
        namespace
            .until::<TranscriptionService>("sick", "to heal", ready)
            .await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn an_image_that_cannot_be_pulled() {
    let broken = json!({ "image": "localhost/no-such-image:v1", "imagePullPolicy": "Never" });
    tells(broken, "ImagePullFailed", "localhost/no-such-image:v1", json!({})).await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_storage_class_that_does_not_exist() {
    // A claim keeps its class for life, so the cure is a model without a cache of that class.
    in_namespace(|namespace| async move {
        namespace
            .apply(&service(
                "sick",
                json!({ "model": { "cache": { "storageClassName": "no-such-class" } } }),
            ))
            .await;
        let sick = namespace
            .until::<TranscriptionService>("sick", "to miss the class", |s| {
                has(
                    &s.status.clone().unwrap_or_default().conditions,
                    "Ready",
                    "False",
                    Some("StorageClassNotFound"),
                )
            })
            .await;
        let message = sick.status.unwrap().message.unwrap_or_default();
        assert!(message.contains("no-such-class"), "{message}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_server_that_ends_again_and_again() {
    let broken = json!({ "transcription": { "language": "xx" } });
    tells(broken, "CrashLoop", "xx", json!({})).await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_model_that_the_image_does_not_carry() {
    let broken = json!({ "model": { "source": { "bundled": { "name": "whisper-enormous" } } } });
    tells(broken, "SourceNotFound", "whisper-enormous", json!({})).await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_claim_that_does_not_exist() {
    let broken = json!({ "model": { "source": { "bundled": null, "persistentVolumeClaim": { "claimName": "nothing" } } } });
    tells(broken, "ClaimNotFound", "nothing", json!({})).await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_quota_that_leaves_no_room() {
    in_namespace(|namespace| async move {
        let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "tight" }, "spec": { "hard": { "pods": "0" } } });
        namespace.apply::<ResourceQuota>(&serde_json::from_value(quota).unwrap()).await;
        namespace.until::<ResourceQuota>("tight", "to count", |q| match q.status.as_ref().and_then(|s| s.hard.as_ref()) {
            Some(_) => Ok(()),
            None => Err("no status".into()),
        }).await;
        namespace.apply(&service("refused", json!({}))).await;
        let refused = namespace
            .until::<TranscriptionService>("refused", "to say that its pods are refused", |s| {
                has(&s.status.clone().unwrap_or_default().conditions, "Ready", "False", Some("PodsRefused"))
            })
            .await;
        let message = refused.status.unwrap().message.unwrap_or_default();
        assert!(message.contains("quota"), "{message}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_name_that_something_else_has() {
    in_namespace(|namespace| async move {
        let other = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "taken" },
            "spec": {
                "replicas": 0, "selector": { "matchLabels": { "a": "b" } },
                "template": { "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "c" }] } }
            }
        });
        let before = namespace.apply::<Deployment>(&serde_json::from_value(other).unwrap()).await;
        namespace.apply(&service("taken", json!({}))).await;
        namespace
            .until::<TranscriptionService>("taken", "to say that the name is taken", |s| {
                has(&s.status.clone().unwrap_or_default().conditions, "Ready", "False", Some("NameConflict"))
            })
            .await;
        let after = namespace.api::<Deployment>().get("taken").await.unwrap();
        assert_eq!(before.spec, after.spec, "what is not ours is left alone");
    })
    .await;
}
