//! Fake nodes with GPUs, which KWOK keeps alive beside the real one.

use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

/// Name of the taint that keeps other pods off fake nodes.
pub const TAINT: &str = "kwok.x-k8s.io/node";

/// A fake node with eight GPUs of a product, and other labels; deleted by [`FakeNode::delete`].
pub struct FakeNode {
    api: Api<Node>,
    /// Name of the node.
    pub name: String,
}

impl FakeNode {
    /// Creates the node.
    ///
    /// # Panics
    /// When the apiserver refuses it.
    pub async fn create(client: &Client, name: &str, product: &str, spot: bool) -> FakeNode {
        let resources = json!({ "cpu": "64", "memory": "512Gi", "ephemeral-storage": "1Ti", "pods": "110", "nvidia.com/gpu": "8" });
        let mut labels = json!({
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "type": "kwok", "nvidia.com/gpu.product": product, "nvidia.com/gpu.count": "8"
        });
        if spot {
            labels["karpenter.sh/capacity-type"] = "spot".into();
        }
        let node = json!({
            "metadata": { "name": name, "labels": labels, "annotations": { TAINT: "fake" } },
            "spec": { "taints": [{ "key": TAINT, "value": "fake", "effect": "NoSchedule" }] },
            "status": { "allocatable": resources, "capacity": resources }
        });
        let node = serde_json::from_value(node).expect("a node");
        let api: Api<Node> = Api::all(client.clone());
        api.create(&PostParams::default(), &node)
            .await
            .unwrap_or_else(|e| panic!("failed to create node {name}: {e}"));
        FakeNode {
            api,
            name: name.to_owned(),
        }
    }

    /// Deletes the node.
    ///
    /// # Panics
    /// When the apiserver refuses it.
    pub async fn delete(self) {
        self.api
            .delete(&self.name, &DeleteParams::default())
            .await
            .expect("failed to delete a fake node");
    }
}
