//! Canaries: a share of the requests reaches pods that serve otherwise, and whatever becomes of those, the service serves.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crds::TranscriptionService;
use crds::canary::{CanaryPhase, CanaryStatus};
use e2e::api::GetModelRequest;
use e2e::api::transcription_client::TranscriptionClient;
use e2e::client::{clear_recordings, cluster_ip, cluster_is_here, transcribe};
use e2e::manifest::{has, ready, service};
use e2e::{Found, TestNamespace, in_namespace, wait_for};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Waits until the canary is as `holds` wants it, of the spec as it now is.
async fn until_canary(
    namespace: &TestNamespace,
    name: &str,
    what: &str,
    holds: impl Fn(&CanaryStatus) -> bool,
) -> TranscriptionService {
    namespace
        .until::<TranscriptionService>(name, what, |service| {
            let status = service.status.clone().unwrap_or_default();
            let seen = format!("{:?}", status.canary);
            let current = status.observed_generation == service.metadata.generation;
            match status.canary {
                Some(canary) if current && holds(&canary) => Ok(()),
                _ => Err(seen),
            }
        })
        .await
}

async fn with_canary(namespace: &TestNamespace, name: &str, canary: Value) {
    namespace
        .merge::<TranscriptionService>(name, json!({ "spec": { "canary": null } }))
        .await;
    namespace
        .merge::<TranscriptionService>(name, json!({ "spec": { "canary": canary } }))
        .await;
}

/// Someone who has recordings transcribed all the time, and what went wrong for them.
struct Client {
    enough: Arc<AtomicBool>,
    asks: JoinHandle<(usize, Vec<String>)>,
}

impl Client {
    async fn of(namespace: &TestNamespace, service: &str) -> Option<Client> {
        if !cluster_is_here() {
            eprintln!("ClusterIPs cannot be reached from here: nobody asks the service meanwhile");
            return None;
        }
        let address = cluster_ip(namespace, service, 50051).await;
        let recording = clear_recordings().remove(0);
        let enough = Arc::new(AtomicBool::new(false));
        let stop = enough.clone();
        let asks = tokio::spawn(async move {
            let (mut count, mut errors) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                count += 1;
                match transcribe(&address, recording.audio()).await {
                    Ok(answer) if answer.text == recording.text => {}
                    Ok(answer) => errors.push(format!("{count}: heard {}", answer.text)),
                    Err(error) => errors.push(format!("{count}: {error}")),
                }
            }
            (count, errors)
        });
        Some(Client { enough, asks })
    }

    async fn had_no_trouble(client: Option<Client>) {
        let Some(Client { enough, asks }) = client else {
            return;
        };
        enough.store(true, Ordering::Relaxed);
        let (count, errors) = asks.await.unwrap();
        assert!(count > 5, "only {count} requests");
        assert!(errors.is_empty(), "of {count} requests: {errors:?}");
    }
}

/// The longest audio, in seconds, that whoever answers takes.
async fn longest(address: &str) -> i64 {
    let mut client = TranscriptionClient::connect(format!("http://{address}"))
        .await
        .unwrap();
    let model = client.get_model(GetModelRequest {}).await.unwrap().into_inner();
    model.max_audio_duration.unwrap().seconds
}

async fn pods(namespace: &TestNamespace, component: &str) -> Vec<Pod> {
    let of = ListParams::default().labels(&format!("app.kubernetes.io/component={component}"));
    namespace.api::<Pod>().list(&of).await.unwrap().items
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_canary_gets_its_share_passes_and_is_promoted_without_a_dip() {
    in_namespace(|namespace| async move {
        let before = json!({ "replicas": 2, "transcription": { "maxAudioDuration": "600s" } });
        namespace.apply(&service("calls", before)).await;
        namespace.until::<TranscriptionService>("calls", "to be ready", ready).await;
        let stable: Vec<_> = pods(&namespace, "server").await.iter().map(ResourceExt::name_any).collect();
        let client = Client::of(&namespace, "calls").await;

        let canary = json!({ "weight": 50, "transcription": { "maxAudioDuration": "700s" }, "analysis": { "duration": "5s" } });
        with_canary(&namespace, "calls", canary).await;
        let passed = until_canary(&namespace, "calls", "its canary to pass", |canary| {
            canary.phase == CanaryPhase::Passed
        })
        .await;
        let status = passed.status.clone().unwrap();
        let of_canary = status.canary.unwrap();
        assert_eq!((of_canary.replicas, of_canary.ready_replicas, status.ready_replicas), (1, 1, 2));
        assert_eq!(of_canary.digest, status.model.unwrap().digest, "it serves the same model");
        has(&status.conditions, "CanaryHealthy", "True", Some("CanaryPassed")).unwrap();
        let after: Vec<_> = pods(&namespace, "server").await.iter().map(ResourceExt::name_any).collect();
        assert_eq!(stable, after, "the others were left alone");
        if cluster_is_here() {
            let address = cluster_ip(&namespace, "calls", 50051).await;
            let mut answers: BTreeMap<i64, usize> = BTreeMap::new();
            for _ in 0..60 {
                *answers.entry(longest(&address).await).or_default() += 1;
            }
            assert_eq!(answers.keys().copied().collect::<Vec<_>>(), [600, 700], "{answers:?}");
            eprintln!("60 connections: {answers:?}");
        }

        let promoted = json!({ "spec": { "canary": null, "transcription": { "maxAudioDuration": "700s" } } });
        namespace.merge::<TranscriptionService>("calls", promoted).await;
        namespace.until_gone::<Deployment>("calls-canary").await;
        namespace.until::<TranscriptionService>("calls", "to be ready with it", ready).await;
        wait_for("the pods of the canary to be gone", || async {
            match pods(&namespace, "canary").await.len() {
                0 => Found::Yes(()),
                left => Found::NotYet(format!("{left} pods")),
            }
        })
        .await;
        Client::had_no_trouble(client).await;
        if cluster_is_here() {
            let address = cluster_ip(&namespace, "calls", 50051).await;
            assert_eq!(longest(&address).await, 700);
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_canary_that_cannot_serve_is_taken_away_and_the_service_serves_on() {
    in_namespace(|namespace| async move {
        namespace.apply(&service("calls", json!({ "replicas": 2 }))).await;
        namespace
            .until::<TranscriptionService>("calls", "to be ready", ready)
            .await;
        let stable: Vec<_> = pods(&namespace, "server")
            .await
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        let client = Client::of(&namespace, "calls").await;

        let broken = [
            // More than half of a chunk, which the server refuses when it starts.
            (json!({ "transcription": { "chunkOverlap": "20s" } }), "CrashLoop"),
            (
                json!({ "image": "localhost/no-such-image:v1" }),
                "ImagePullFailed",
            ),
        ];
        for (canary, reason) in broken {
            with_canary(&namespace, "calls", canary).await;
            let failed = until_canary(&namespace, "calls", "its canary to fail", |canary| {
                canary.phase == CanaryPhase::Failed && canary.replicas == 0
            })
            .await;
            ready(&failed).unwrap();
            let conditions = failed.status.unwrap().conditions;
            has(&conditions, "CanaryHealthy", "False", Some(reason)).unwrap();
            has(&conditions, "Degraded", "True", Some("CanaryFailed")).unwrap();
            let deployment = namespace.api::<Deployment>().get("calls-canary").await.unwrap();
            assert_eq!(deployment.spec.unwrap().replicas, Some(0), "{reason}");
        }

        with_canary(
            &namespace,
            "calls",
            json!({ "modelRef": { "name": "no-such-model" } }),
        )
        .await;
        let failed = until_canary(&namespace, "calls", "its canary to miss its model", |canary| {
            canary.reason == "ModelNotFound"
        })
        .await;
        ready(&failed).unwrap();

        namespace
            .merge::<TranscriptionService>("calls", json!({ "spec": { "canary": null } }))
            .await;
        namespace.until_gone::<Deployment>("calls-canary").await;
        namespace
            .until_gone::<PersistentVolumeClaim>("calls-canary-cache")
            .await;
        let healed = namespace
            .until::<TranscriptionService>("calls", "to have nothing to tell", |service| {
                ready(service)?;
                has(
                    &service.status.as_ref().unwrap().conditions,
                    "Degraded",
                    "False",
                    None,
                )
            })
            .await;
        assert!(healed.status.unwrap().canary.is_none());
        let after: Vec<_> = pods(&namespace, "server")
            .await
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        assert_eq!(stable, after, "no pod of the service was touched");
        Client::had_no_trouble(client).await;
    })
    .await;
}
