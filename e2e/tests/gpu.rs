//! GPU placement, as the scheduler sees it: fake nodes with GPUs beside the real node.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::collections::BTreeSet;

use crds::TranscriptionService;
use e2e::in_namespace;
use e2e::manifest::{has, service};
use e2e::nodes::{FakeNode, TAINT, claim, on_gpu, until_placed};
use kube::api::DeleteParams;
use serde_json::{Value, json};

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn pods_go_to_nodes_with_the_wanted_gpu_and_spot_rule() {
    in_namespace(|namespace| async move {
        let volumes = claim(&namespace).await;
        let name = |kind: &str| format!("{}-{kind}", namespace.name);
        let t4 = FakeNode::create(&namespace.client, &name("t4"), "Tesla-T4", false).await;
        let t4_spot = FakeNode::create(&namespace.client, &name("t4-spot"), "Tesla-T4", true).await;
        let h100 = FakeNode::create(&namespace.client, &name("h100"), "NVIDIA-H100-80GB-HBM3", false).await;

        let expected = [
            ("product", json!({ "products": ["NVIDIA-H100-80GB-HBM3"] }), &h100.name),
            ("never", json!({ "products": ["Tesla-T4"], "spot": "Never", "count": 8 }), &t4.name),
            ("require", json!({ "products": ["Tesla-T4", "NVIDIA-H100-80GB-HBM3"], "spot": "Require", "count": 4 }), &t4_spot.name),
            ("prefer", json!({ "spot": "Prefer", "count": 4 }), &t4_spot.name),
        ];
        for (service, gpu, node) in expected {
            namespace.apply(&on_gpu(service, gpu)).await;
            let nodes = until_placed(&namespace, service, 1, None).await;
            assert_eq!(nodes, BTreeSet::from([node.clone()]), "{service}");
        }
        let example: Vec<Value> = e2e::manifest::example("gpu.yaml");
        let mut example = example[0].clone();
        e2e::manifest::merge(
            &mut example,
            json!({ "spec": {
                "model": { "source": { "bundled": null, "persistentVolumeClaim": { "claimName": "weights" } } },
                "placement": { "tolerations": [{ "key": TAINT, "operator": "Exists" }] }
            } }),
        );
        namespace.apply::<TranscriptionService>(&serde_json::from_value(example).unwrap()).await;
        // Both T4 nodes are full (8 of 8, and 4 + 4 of 8): the example waits, and says for what.
        namespace
            .until::<TranscriptionService>("on-gpu", "to wait for a GPU", |s| {
                let conditions = &s.status.clone().unwrap_or_default().conditions;
                has(conditions, "Ready", "False", Some("NoMatchingGpuNode"))
                    .or_else(|_| has(conditions, "Ready", "False", Some("Unschedulable")))
            })
            .await;
        namespace.api::<TranscriptionService>().delete("never", &DeleteParams::default()).await.unwrap();
        let nodes = until_placed(&namespace, "on-gpu", 1, None).await;
        assert_eq!(nodes, BTreeSet::from([t4.name.clone()]));

        for node in [t4, t4_spot, h100] {
            node.delete().await;
        }
        volumes.delete(&namespace.name, &DeleteParams::default()).await.unwrap();
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_gpu_that_no_node_has_is_told_at_once() {
    in_namespace(|namespace| async move {
        namespace
            .apply(&service(
                "dreaming",
                json!({ "gpu": { "products": ["No-Such-GPU"] } }),
            ))
            .await;
        let told = namespace
            .until::<TranscriptionService>("dreaming", "to say that no node has the GPU", |s| {
                has(
                    &s.status.clone().unwrap_or_default().conditions,
                    "Ready",
                    "False",
                    Some("NoMatchingGpuNode"),
                )
            })
            .await;
        let message = told.status.unwrap().message.unwrap_or_default();
        assert!(
            message.contains("No-Such-GPU"),
            "the message names what was looked for: {message}"
        );
    })
    .await;
}
