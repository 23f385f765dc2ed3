//! A service of a ModelDeployment's model: broken reference, healing, sharing, and a model that is not the pinned one.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use crds::{ModelDeployment, TranscriptionService};
use e2e::client::{clear_recordings, port_forward, transcribe};
use e2e::in_namespace;
use e2e::manifest::{has, model, ready, service};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::json;

fn referring(name: &str, model: &str) -> TranscriptionService {
    service(name, json!({ "model": null, "modelRef": { "name": model } }))
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_broken_reference_says_so_and_heals_when_the_model_appears() {
    in_namespace(|namespace| async move {
        namespace.apply(&referring("early", "digits")).await;
        let broken = namespace
            .until::<TranscriptionService>("early", "to miss its model", |s| {
                has(
                    &s.status.clone().unwrap_or_default().conditions,
                    "Ready",
                    "False",
                    Some("ModelNotFound"),
                )
            })
            .await;
        let message = broken.status.unwrap().message.unwrap_or_default();
        assert!(
            message.contains("digits"),
            "the message names the model: {message}"
        );

        namespace.apply(&model("digits", json!({}))).await;
        let healed = namespace
            .until::<TranscriptionService>("early", "to heal", ready)
            .await;
        let model = namespace
            .api::<ModelDeployment>()
            .get("digits")
            .await
            .unwrap()
            .status
            .unwrap();
        assert_eq!(healed.status.unwrap().model.unwrap().digest, model.digest);
        assert_eq!(format!("{:?}", model.phase), "Some(Available)");
        assert!(model.size_bytes > Some(1_000_000), "{:?}", model.size_bytes);

        let forward = port_forward(&namespace, "early", 50051).await;
        let recording = clear_recordings().remove(0);
        assert_eq!(
            transcribe(&forward.address, recording.audio())
                .await
                .unwrap()
                .text,
            recording.text
        );
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn two_services_share_one_volume() {
    in_namespace(|namespace| async move {
        namespace.apply(&model("digits", json!({}))).await;
        namespace.apply(&referring("one", "digits")).await;
        namespace.apply(&referring("two", "digits")).await;
        namespace
            .until::<TranscriptionService>("one", "to be ready", ready)
            .await;
        namespace
            .until::<TranscriptionService>("two", "to be ready", ready)
            .await;
        let claims = namespace
            .api::<PersistentVolumeClaim>()
            .list(&Default::default())
            .await
            .unwrap();
        assert_eq!(claims.items.len(), 1, "the model is kept once");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn bytes_that_are_not_the_pinned_ones_are_never_served() {
    in_namespace(|namespace| async move {
        let wrong = format!("sha256:{}", "0".repeat(64));
        namespace
            .apply(&model("pinned", json!({ "digest": wrong })))
            .await;
        namespace
            .apply(&service("pinned-inline", json!({ "model": { "digest": wrong } })))
            .await;
        let failed = namespace
            .until::<ModelDeployment>("pinned", "to refuse the bytes", |m| {
                has(
                    &m.status.clone().unwrap_or_default().conditions,
                    "Ready",
                    "False",
                    Some("DigestMismatch"),
                )
            })
            .await;
        assert_eq!(failed.status.unwrap().digest, None);
        let service = namespace
            .until::<TranscriptionService>("pinned-inline", "to refuse the bytes", |s| {
                has(
                    &s.status.clone().unwrap_or_default().conditions,
                    "Ready",
                    "False",
                    Some("DigestMismatch"),
                )
            })
            .await;
        assert_eq!(service.status.unwrap().ready_replicas, 0);
    })
    .await;
}
