//! A service that has no pods while nobody asks: the first request wakes it, and is answered.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use crds::TranscriptionService;
use e2e::client::{clear_recordings, port_forward, transcribe};
use e2e::manifest::{example, has, ready, service};
use e2e::wait::{Found, wait_for};
use e2e::{TestNamespace, in_namespace};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;
use tokio::process::Command;

async fn sleeps(namespace: &TestNamespace, name: &str) {
    namespace
        .until::<TranscriptionService>(name, "to sleep", |service| {
            let status = service.status.clone().unwrap_or_default();
            has(&status.conditions, "Ready", "True", Some("ScaledToZero"))?;
            match status.replicas {
                0 => Ok(()),
                more => Err(format!("{more} pods")),
            }
        })
        .await;
}

async fn reasons(namespace: &TestNamespace) -> Vec<String> {
    let events = namespace
        .api::<Event>()
        .list(&ListParams::default())
        .await
        .unwrap();
    events
        .items
        .into_iter()
        .filter_map(|event| event.reason)
        .collect()
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_service_that_sleeps_answers_its_first_request_and_sleeps_again() {
    in_namespace(|namespace| async move {
        let service: TranscriptionService =
            serde_json::from_value(example("scale-to-zero.yaml").remove(0)).unwrap();
        let name = namespace.apply(&service).await.name_any();
        namespace
            .until::<TranscriptionService>(&name, "to be ready", ready)
            .await;
        // Shorter than anybody would have it.
        let change = json!({ "spec": { "autoscaling": { "idleAfter": "5s" } } });
        namespace.merge::<TranscriptionService>(&name, change).await;
        sleeps(&namespace, &name).await;

        let recording = &clear_recordings()[0];
        let forward = port_forward(&namespace, &name, 50051).await;
        let answer = transcribe(&forward.address, recording.audio()).await.unwrap();
        assert_eq!(answer.text, recording.text, "the first request by gRPC");
        drop(forward);
        // A pod that has not ended yet may answer before the operator has woken another.
        for reason in ["ScaledToZero", "Woken"] {
            wait_for(&format!("the Event {reason}"), || async {
                let told = reasons(&namespace).await;
                match told.iter().any(|one| one == reason) {
                    true => Found::Yes(()),
                    false => Found::NotYet(format!("{told:?}")),
                }
            })
            .await;
        }

        sleeps(&namespace, &name).await;
        let forward = port_forward(&namespace, &name, 8080).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(&recording.file);
        std::fs::write(&file, recording.audio()).unwrap();
        let upload = Command::new("curl")
            .args(["--fail", "--silent", "--show-error", "--max-time", "240"])
            .args([
                "-F",
                &format!("file=@{}", file.display()),
                "-F",
                "response_format=text",
            ])
            .arg(format!("http://{}/v1/audio/transcriptions", forward.address))
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&upload.stdout);
        assert_eq!(
            text.trim(),
            recording.text,
            "the first request by HTTP: {upload:?}"
        );
        sleeps(&namespace, &name).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_pod_that_waits_for_its_node_stays_while_a_request_waits_for_it() {
    in_namespace(|namespace| async move {
        let zero = json!({
            "autoscaling": {
                "minReplicas": 0, "maxReplicas": 1, "targetCPUUtilization": 70, "idleAfter": "2s"
            }
        });
        namespace.apply(&service("slow", zero)).await;
        namespace
            .until::<TranscriptionService>("slow", "to be ready", ready)
            .await;
        sleeps(&namespace, "slow").await;
        // One that is about to end still answers.
        let (pods, server) = (
            namespace.api::<Pod>(),
            ListParams::default().labels("app.kubernetes.io/component=server"),
        );
        wait_for("the pods to be gone", || async {
            match pods.list(&server).await.unwrap().items.len() {
                0 => Found::Yes(()),
                some => Found::NotYet(format!("{some} pods")),
            }
        })
        .await;
        let nowhere = json!({ "spec": { "placement": { "nodeSelector": { "parlance.dev/e2e": "later" } } } });
        namespace.merge::<TranscriptionService>("slow", nowhere).await;
        let forward = port_forward(&namespace, "slow", 50051).await;
        let recording = clear_recordings()[0].clone();
        let call = {
            let (address, audio) = (forward.address.clone(), recording.audio());
            tokio::spawn(async move { transcribe(&address, audio).await })
        };
        let pending = wait_for("a pod that has no node", || async {
            let found = pods.list(&server).await.unwrap().items;
            let pending = found.into_iter().find(|pod| {
                let conditions = pod
                    .status
                    .clone()
                    .unwrap_or_default()
                    .conditions
                    .unwrap_or_default();
                conditions
                    .iter()
                    .any(|one| one.type_ == "PodScheduled" && one.reason.as_deref() == Some("Unschedulable"))
            });
            pending.map_or_else(|| Found::NotYet("no such pod".into()), Found::Yes)
        })
        .await;
        // Many times as long as pods may idle, as the cluster tells the time.
        namespace
            .until::<TranscriptionService>("slow", "to say what its pod waits for", |service| {
                let status = service.status.clone().unwrap_or_default();
                has(&status.conditions, "Ready", "False", Some("Unschedulable"))
            })
            .await;
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        let still = pods.get(&pending.name_any()).await.unwrap();
        assert_eq!(still.metadata.uid, pending.metadata.uid, "the pod was taken away");
        assert!(still.metadata.deletion_timestamp.is_none());
        assert!(!call.is_finished(), "the request was given up");

        let anywhere = json!({ "spec": { "placement": null } });
        namespace.merge::<TranscriptionService>("slow", anywhere).await;
        assert_eq!(call.await.unwrap().unwrap().text, recording.text);
        namespace
            .until::<Deployment>("slow", "to sleep again", |deployment| {
                match deployment.spec.as_ref().and_then(|spec| spec.replicas) {
                    Some(0) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
    })
    .await;
}
