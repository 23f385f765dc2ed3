//! Fake nodes with GPUs, which KWOK keeps alive beside the real one, and the pods that are placed on them.

use std::collections::BTreeSet;

use crds::TranscriptionService;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::manifest::{merge, service};
use crate::namespace::TestNamespace;
use crate::wait::{Found, wait_for};

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
        let mut labels = json!({});
        if spot {
            labels["karpenter.sh/capacity-type"] = "spot".into();
        }
        FakeNode::with(client, name, product, 8, labels).await
    }

    /// Creates the node, with so many GPUs and other labels.
    ///
    /// # Panics
    /// When the apiserver refuses it.
    pub async fn with(client: &Client, name: &str, product: &str, gpus: u32, more: Value) -> FakeNode {
        let resources = json!({
            "cpu": "64", "memory": "512Gi", "ephemeral-storage": "1Ti", "pods": "110", "nvidia.com/gpu": gpus.to_string()
        });
        let mut labels = json!({
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "type": "kwok", "nvidia.com/gpu.product": product, "nvidia.com/gpu.count": gpus.to_string()
        });
        merge(&mut labels, more);
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

/// A bound claim that any node can mount: fake nodes cannot provision one.
///
/// # Panics
/// When the apiserver refuses it.
pub async fn claim(namespace: &TestNamespace) -> Api<PersistentVolume> {
    let volumes: Api<PersistentVolume> = Api::all(namespace.client.clone());
    let volume = json!({
        "metadata": { "name": namespace.name },
        "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteMany"], "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": "/nonexistent" },
            "claimRef": { "namespace": namespace.name, "name": "weights" }
        }
    });
    volumes
        .create(
            &PostParams::default(),
            &serde_json::from_value(volume).expect("a volume"),
        )
        .await
        .expect("failed to create a volume");
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "weights" },
        "spec": {
            "accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": namespace.name,
            "resources": { "requests": { "storage": "1Gi" } }
        }
    });
    namespace
        .apply::<PersistentVolumeClaim>(&serde_json::from_value(claim).expect("a claim"))
        .await;
    volumes
}

/// A service with GPUs whose model is on that claim, and whose pods put up with fake nodes.
///
/// # Panics
/// When the block does not fit the type.
pub fn on_gpu(name: &str, gpu: Value) -> TranscriptionService {
    service(
        name,
        json!({
            "model": { "source": { "bundled": null, "persistentVolumeClaim": { "claimName": "weights" } } },
            "gpu": gpu,
            "placement": { "tolerations": [{ "key": TAINT, "operator": "Exists" }] }
        }),
    )
}

/// The pods that serve for a service, those on their way out too.
///
/// # Panics
/// When they cannot be listed.
pub async fn pods(namespace: &TestNamespace, service: &str) -> Vec<Pod> {
    let selector = format!("parlance.dev/name={service},app.kubernetes.io/component=server");
    let pods = namespace.api::<Pod>();
    let listed = pods.list(&ListParams::default().labels(&selector)).await;
    listed.expect("failed to list a service's pods").items
}

/// The node of a pod, once it has one.
pub fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// Waits until so many pods of a service have a node each, of this image where one is named, and there are no others.
pub async fn until_placed(
    namespace: &TestNamespace,
    service: &str,
    count: usize,
    image: Option<&str>,
) -> BTreeSet<String> {
    let what = format!("{count} pods of {service} with a node each, and the image {image:?}");
    wait_for(&what, || async {
        let pods = pods(namespace, service).await;
        let stays = pods.iter().filter(|pod| {
            let runs = |image| {
                pod.spec
                    .iter()
                    .any(|spec| spec.containers[0].image.as_deref() == Some(image))
            };
            pod.metadata.deletion_timestamp.is_none() && image.is_none_or(runs)
        });
        let nodes: Vec<&str> = stays.filter_map(node_of).collect();
        match nodes.len() == count && pods.len() == count {
            true => Found::Yes(nodes.into_iter().map(str::to_owned).collect()),
            false => Found::NotYet(format!("{nodes:?} of {} pods", pods.len())),
        }
    })
    .await
}
