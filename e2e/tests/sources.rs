//! Models that come from elsewhere: the examples of their sources, with the addresses of servers on this machine.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::collections::BTreeMap;

use crds::model_deployment::{ModelDeploymentStatus, ModelPhase};
use crds::{ModelDeployment, TranscriptionService};
use e2e::client::{clear_recordings, cluster_is_here, port_forward, transcribe};
use e2e::manifest::{example, has, merge, ready};
use e2e::source::{COMMIT, FILES, KEYS, Sources, TOKEN};
use e2e::{TestNamespace, in_namespace};
use k8s_openapi::api::core::v1::{Pod, Secret};
use serde_json::{Value, json};

/// The sources, where pods can reach this machine.
async fn sources() -> Option<Sources> {
    if !cluster_is_here() {
        eprintln!("not run: the pods of this cluster cannot reach servers on this machine");
        return None;
    }
    Some(Sources::start().await)
}

fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn status(model: &ModelDeployment) -> ModelDeploymentStatus {
    model.status.clone().unwrap_or_default()
}

async fn secret(namespace: &TestNamespace, name: &str, values: Value) {
    let secret: Secret = object(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": values
    }));
    namespace.apply(&secret).await;
}

/// Sends the first clear recording to a service and compares the words.
async fn assert_transcribes(namespace: &TestNamespace, service: &str) {
    let forward = port_forward(namespace, service, 50051).await;
    let recording = clear_recordings().remove(0);
    let heard = transcribe(&forward.address, recording.audio()).await.unwrap();
    assert_eq!(heard.text, recording.text);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make e2e"]
async fn a_model_by_url_is_downloaded_once_for_two_services() {
    let Some(sources) = sources().await else { return };
    in_namespace(|namespace| async move {
        let mut objects = example("model-from-http.yaml").into_iter();
        let mut model = objects.next().unwrap();
        for file in model["spec"]["source"]["http"]["files"].as_array_mut().unwrap() {
            let url = file["url"].as_str().unwrap();
            let path = url.replace("https://models.example.com/digits", "/files");
            file["url"] = json!(sources.web(&path));
        }
        namespace.apply(&object::<ModelDeployment>(model)).await;
        for service in objects {
            namespace.apply(&object::<TranscriptionService>(service)).await;
        }
        for service in ["front-desk", "back-office"] {
            let found = namespace
                .until::<TranscriptionService>(service, "to be ready", ready)
                .await;
            let model = found.status.unwrap().model.unwrap();
            assert_eq!(model.source, Some(sources.web("/files/")));
            assert_transcribes(&namespace, service).await;
        }
        // A pod that comes later needs no source either.
        namespace
            .merge::<TranscriptionService>("front-desk", json!({ "spec": { "replicas": 2 } }))
            .await;
        namespace
            .until::<TranscriptionService>("front-desk", "to have two pods", |service| {
                ready(service)?;
                let pods = service.status.as_ref().map(|status| status.ready_replicas);
                (pods == Some(2)).then_some(()).ok_or(format!("{pods:?} pods"))
            })
            .await;
        let once = FILES.map(|name| (format!("/files/{name}"), 1));
        assert_eq!(sources.counts(), BTreeMap::from(once));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make e2e"]
async fn a_gated_model_of_the_hub_says_what_it_lacks_and_is_served_once_it_has_it() {
    let Some(sources) = sources().await else { return };
    in_namespace(|namespace| async move {
        let mut model = example("model-from-hugging-face.yaml").remove(0);
        let hub = json!({ "endpoint": sources.web(""), "tokenSecretRef": { "name": "hugging-face" } });
        merge(&mut model["spec"]["source"]["huggingFace"], hub);
        model["spec"]["serving"]["profile"] = json!("nano");
        namespace.apply(&object::<ModelDeployment>(model)).await;
        let lacking = namespace
            .until::<ModelDeployment>("whisper-base", "to miss its Secret", |model| {
                let reason = Some("ContainerCreationFailed");
                has(&status(model).conditions, "Degraded", "True", reason)
            })
            .await;
        let message = status(&lacking).message.unwrap();
        assert!(message.contains("\"hugging-face\" not found"), "{message}");

        secret(&namespace, "hugging-face", json!({ "token": TOKEN })).await;
        let served = namespace
            .until::<ModelDeployment>("whisper-base", "to be deployed", |model| {
                let status = status(model);
                let deployed = status.phase == Some(ModelPhase::Deployed);
                deployed
                    .then_some(())
                    .ok_or(format!("{:?}: {:?}", status.phase, status.message))
            })
            .await;
        let status = status(&served);
        assert_eq!(status.revision.as_deref(), Some(COMMIT));
        let source = format!("/onnx-community/whisper-base/tree/{COMMIT}");
        assert_eq!(status.source, Some(sources.web(&source)));
        assert_transcribes(&namespace, "whisper-base-model").await;
        // Neither the objects nor the pods hold the token.
        let pods = namespace.api::<Pod>().list(&Default::default()).await.unwrap();
        let written = format!("{}{}", json!(pods.items), json!(served));
        assert!(!written.contains(TOKEN), "the token stands in an object");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make e2e"]
async fn a_model_in_a_bucket_is_served_with_keys_of_a_secret() {
    let Some(sources) = sources().await else { return };
    in_namespace(|namespace| async move {
        let mut service = example("model-from-s3.yaml").remove(0);
        service["spec"]["model"]["source"]["s3"]["endpoint"] = json!(sources.s3());
        let keys = json!({ "AWS_ACCESS_KEY_ID": KEYS.0, "AWS_SECRET_ACCESS_KEY": KEYS.1 });
        secret(&namespace, "bucket-keys", keys).await;
        namespace.apply(&object::<TranscriptionService>(service)).await;
        let served = namespace
            .until::<TranscriptionService>("from-bucket", "to be ready", ready)
            .await;
        let model = served.status.unwrap().model.unwrap();
        assert_eq!(model.source.as_deref(), Some("s3://models/whisper/digits"));
        assert_transcribes(&namespace, "from-bucket").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make e2e"]
async fn a_source_that_fails_says_why() {
    let Some(sources) = sources().await else { return };
    in_namespace(|namespace| async move {
        let file = |path: &str, url: String| json!({ "path": path, "url": url });
        let files = |from: &dyn Fn(&str) -> String| -> Vec<Value> {
            FILES.iter().map(|name| file(name, from(name))).collect()
        };
        let missing = files(&|name: &str| sources.web(&format!("/nowhere/{name}?key=url-secret")));
        let mut wrong = files(&|name: &str| sources.web(&format!("/files/{name}")));
        wrong[0]["sha256"] = json!("0".repeat(64));
        let hub = json!({ "repo": "onnx-community/whisper-base", "endpoint": sources.web("") });
        for (name, source, reason, said) in [
            ("missing", json!({ "http": { "files": missing } }), "SourceNotFound", "/nowhere/"),
            ("wrong", json!({ "http": { "files": wrong } }), "ChecksumMismatch", "config.json has sha256 "),
            ("denied", json!({ "huggingFace": hub }), "AccessDenied", "HTTP 401"),
        ] {
            let model: ModelDeployment = object(json!({
                "apiVersion": "parlance.dev/v1alpha1", "kind": "ModelDeployment", "metadata": { "name": name },
                "spec": { "source": source }
            }));
            namespace.apply(&model).await;
            let failed = namespace
                .until::<ModelDeployment>(name, "to say why it fails", |model| {
                    has(&status(model).conditions, "Ready", "False", Some(reason))
                })
                .await;
            let message = status(&failed).message.unwrap();
            assert!(message.contains(said) && !message.contains("url-secret"), "{message}");
            assert_eq!(status(&failed).phase, Some(ModelPhase::Failed));
        }
    })
    .await;
}
