//! From `kubectl apply -f examples/quickstart.yaml` to the words of a recording.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use crds::TranscriptionService;
use e2e::client::{clear_recordings, cluster_ip, cluster_is_here, port_forward, transcribe};
use e2e::in_namespace;
use e2e::manifest::{example, ready, service};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn the_quickstart_example_transcribes_recordings() {
    in_namespace(|namespace| async move {
        let service: TranscriptionService =
            serde_json::from_value(example("quickstart.yaml").remove(0)).unwrap();
        namespace.apply(&service).await;
        let service: TranscriptionService = namespace.until("quickstart", "to be ready", ready).await;

        let status = service.status.clone().unwrap();
        let digest = status
            .model
            .as_ref()
            .and_then(|m| m.digest.clone())
            .unwrap_or_default();
        assert!(
            digest.starts_with("sha256:"),
            "the status has no digest of the model: {status:?}"
        );
        assert_eq!(status.ready_replicas, 1);
        let endpoint = status.endpoint.unwrap();
        assert_eq!(endpoint.grpc, format!("quickstart.{}.svc:50051", namespace.name));
        assert_eq!(
            endpoint.http,
            format!("http://quickstart.{}.svc:8080", namespace.name)
        );

        let claims = namespace
            .api::<PersistentVolumeClaim>()
            .list(&ListParams::default())
            .await
            .unwrap();
        let phases: Vec<_> = claims
            .iter()
            .map(|c| c.status.as_ref().and_then(|s| s.phase.clone()))
            .collect();
        assert_eq!(
            phases,
            [Some("Bound".to_owned())],
            "the model is on one bound volume"
        );

        let forward = port_forward(&namespace, &service.name_any(), 50051).await;
        let mut addresses = vec![forward.address.clone()];
        if cluster_is_here() {
            addresses.push(cluster_ip(&namespace, "quickstart", 50051).await);
        }
        for address in addresses {
            for recording in clear_recordings().iter().take(3) {
                let answer = transcribe(&address, recording.audio()).await.unwrap();
                assert_eq!(answer.text, recording.text, "{} at {address}", recording.file);
                let model = answer.model.unwrap_or_default();
                assert_eq!(
                    model.digest, digest,
                    "the transcript names the bytes that the status names"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn serving_pods_hold_no_token_and_may_write_nothing() {
    in_namespace(|namespace| async move {
        namespace.apply(&service("locked", json!({}))).await;
        namespace
            .until::<TranscriptionService>("locked", "to be ready", ready)
            .await;
        let pods = namespace.api::<Pod>().list(&ListParams::default()).await.unwrap();
        for pod in pods {
            let spec = pod.spec.unwrap();
            assert_eq!(spec.automount_service_account_token, Some(false));
            for container in spec
                .containers
                .iter()
                .chain(spec.init_containers.iter().flatten())
            {
                let security = container.security_context.clone().unwrap();
                assert_eq!(
                    security.read_only_root_filesystem,
                    Some(true),
                    "{}",
                    container.name
                );
            }
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn the_pods_transcribe_as_the_spec_says() {
    in_namespace(|namespace| async move {
        let additions = json!({ "transcription": {
            "wordTimestamps": true, "vad": { "threshold": 0.5, "minSilence": "300ms" }, "beamSize": 2
        } });
        namespace.apply(&service("tuned", additions)).await;
        namespace
            .until::<TranscriptionService>("tuned", "to be ready", ready)
            .await;
        let pods = namespace.api::<Pod>().list(&ListParams::default()).await.unwrap();
        for pod in &pods {
            let container = pod.spec.as_ref().unwrap().containers.first().unwrap();
            let arguments = container.args.clone().unwrap_or_default();
            let asked = [
                "--vad=true",
                "--vad-threshold=0.5",
                "--vad-min-silence=300ms",
                "--word-timestamps=true",
                "--beam-size=2",
            ];
            assert!(arguments.ends_with(&asked.map(String::from)), "{arguments:?}");
        }
        assert_eq!(pods.items.len(), 1);

        let forward = port_forward(&namespace, "tuned", 50051).await;
        let recording = clear_recordings().remove(0);
        let answer = transcribe(&forward.address, recording.audio()).await.unwrap();
        assert_eq!(answer.text, recording.text, "{}", recording.file);
    })
    .await;
}
