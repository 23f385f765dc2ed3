//! A busy service grows on real CPU metrics.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crds::TranscriptionService;
use e2e::client::{clear_recordings, port_forward, transcribe};
use e2e::in_namespace;
use e2e::manifest::{ready, service};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_busy_service_gets_more_pods() {
    in_namespace(|namespace| async move {
        let busy = json!({
            "resources": { "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "cpu": "500m", "memory": "512Mi" } },
            "autoscaling": {
                "minReplicas": 1, "maxReplicas": 2, "targetCPUUtilization": 50,
                "behavior": { "scaleUp": { "stabilizationWindowSeconds": 0 } }
            }
        });
        namespace.apply(&service("busy", busy)).await;
        namespace.until::<TranscriptionService>("busy", "to be ready", ready).await;

        let forward = port_forward(&namespace, "busy", 50051).await;
        let stop = Arc::new(AtomicBool::new(false));
        let load = tokio::spawn({
            let (stop, address, audio) = (stop.clone(), forward.address.clone(), clear_recordings()[0].audio());
            async move {
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) {
                    answered += usize::from(transcribe(&address, audio.clone()).await.is_ok());
                }
                answered
            }
        });
        let grown = namespace
            .until::<Deployment>("busy", "to be scaled to two pods", |d| {
                let replicas = d.spec.as_ref().and_then(|s| s.replicas);
                if replicas >= Some(2) { Ok(()) } else { Err(format!("{replicas:?} replicas")) }
            })
            .await;
        stop.store(true, Ordering::Relaxed);
        assert!(load.await.unwrap() > 0, "the service answered nothing under load");
        let owners: Vec<_> = grown.metadata.managed_fields.unwrap_or_default();
        let ours = owners.iter().filter(|f| f.manager.as_deref() == Some("parlance-operator"));
        for fields in ours {
            let fields = serde_json::to_value(&fields.fields_v1).unwrap();
            assert!(fields["f:spec"]["f:replicas"].is_null(), "the operator still owns replicas");
        }
    })
    .await;
}
