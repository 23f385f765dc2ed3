//! The cluster that services are put on: fake nodes, namespaces, and a model in each that any node can mount.
//!
//! In: how many. Out: the objects. Fake nodes cannot provision a volume, so the model is on a claim that is bound beforehand.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::TranscriptionService;
use e2e::manifest::service;
use e2e::nodes::{FakeNode, TAINT};
use e2e::{Found, wait_for};
use futures::{StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service, ServiceAccount,
};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// Objects that are created at once.
pub const ABREAST: usize = 16;

/// Fake nodes and namespaces.
pub struct Scene {
    /// What the names of the namespaces begin with.
    pub prefix: String,
    namespaces: Vec<String>,
    nodes: Vec<FakeNode>,
}

impl Scene {
    /// Makes nodes and namespaces, and waits until the nodes are ready.
    pub async fn create(client: &Client, nodes: usize, namespaces: usize) -> Scene {
        let prefix = format!("bench-{}-", std::process::id());
        let names: Vec<String> = (0..namespaces)
            .map(|number| format!("{prefix}{number}"))
            .collect();
        let nodes: Vec<FakeNode> = stream::iter(0..nodes)
            .map(|number| {
                let name = format!("{prefix}{number}");
                async move { FakeNode::create(client, &name, "Tesla-T4", false).await }
            })
            .buffer_unordered(ABREAST)
            .collect()
            .await;
        for name in &names {
            furnish(client, name).await;
        }
        let scene = Scene {
            prefix,
            namespaces: names,
            nodes,
        };
        scene.until_nodes_are_ready(client).await;
        scene
    }

    async fn until_nodes_are_ready(&self, client: &Client) {
        let all: Api<Node> = Api::all(client.clone());
        wait_for("the fake nodes to be ready", || async {
            let list = all
                .list(&ListParams::default().labels("type=kwok"))
                .await
                .unwrap();
            let ready = |node: &&Node| {
                let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
                conditions
                    .is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
            };
            let count = list.items.iter().filter(ready).count();
            match count >= self.nodes.len() {
                true => Found::Yes(()),
                false => Found::NotYet(format!("{count} of {}", self.nodes.len())),
            }
        })
        .await;
    }

    /// A namespace, in turn.
    pub fn namespace(&self, number: usize) -> &str {
        &self.namespaces[number % self.namespaces.len()]
    }

    /// Creates services, spread over the namespaces.
    pub async fn create_services(&self, client: &Client, count: usize) {
        let creations = stream::iter(0..count).map(|number| {
            let api: Api<TranscriptionService> = Api::namespaced(client.clone(), self.namespace(number));
            async move { create(&api, &spec(&format!("calls-{number}"))).await }
        });
        creations.buffer_unordered(ABREAST).collect::<Vec<_>>().await;
    }

    /// Deletes the Deployments, Services and ServiceAccounts that were created directly, and waits until their pods are gone.
    pub async fn delete_children(&self, client: &Client) {
        for name in &self.namespaces {
            let everything = (
                DeleteParams::background(),
                ListParams::default().fields("metadata.name!=default"),
            );
            let deployments: Api<Deployment> = Api::namespaced(client.clone(), name);
            deployments
                .delete_collection(&everything.0, &everything.1)
                .await
                .unwrap();
            let services: Api<Service> = Api::namespaced(client.clone(), name);
            services
                .delete_collection(&everything.0, &everything.1)
                .await
                .unwrap();
            let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
            accounts
                .delete_collection(&everything.0, &everything.1)
                .await
                .unwrap();
        }
        for name in &self.namespaces {
            let pods: Api<Pod> = Api::namespaced(client.clone(), name);
            while !pods
                .list(&ListParams::default().limit(1))
                .await
                .unwrap()
                .items
                .is_empty()
            {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// Deletes all of it, and waits until it is gone.
    pub async fn delete(self, client: &Client) {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let volumes: Api<PersistentVolume> = Api::all(client.clone());
        for name in &self.namespaces {
            namespaces.delete(name, &DeleteParams::default()).await.unwrap();
        }
        for name in &self.namespaces {
            // As long as it takes: there may be a thousand objects in it.
            while namespaces.get_opt(name).await.unwrap().is_some() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            volumes.delete(name, &DeleteParams::default()).await.unwrap();
        }
        for node in self.nodes {
            node.delete().await;
        }
    }
}

/// A service whose pods run on fake nodes.
pub fn spec(name: &str) -> TranscriptionService {
    service(
        name,
        json!({
            "model": { "source": { "bundled": null, "persistentVolumeClaim": { "claimName": "weights" } } },
            "placement": { "nodeSelector": { "type": "kwok" }, "tolerations": [{ "key": TAINT, "operator": "Exists" }] }
        }),
    )
}

/// Creates an object.
pub async fn create<K>(api: &Api<K>, object: &K) -> K
where
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    api.create(&PostParams::default(), object).await.unwrap()
}

/// A namespace with a bound claim.
async fn furnish(client: &Client, name: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let labels = BTreeMap::from([("pod-security.kubernetes.io/enforce", "restricted")]);
    let namespace = json!({ "metadata": { "name": name, "labels": labels } });
    create(&namespaces, &serde_json::from_value(namespace).unwrap()).await;
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let volume = json!({
        "metadata": { "name": name },
        "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteMany"], "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": "/nonexistent" },
            "claimRef": { "namespace": name, "name": "weights" }
        }
    });
    create(&volumes, &serde_json::from_value(volume).unwrap()).await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), name);
    let claim = json!({
        "metadata": { "name": "weights" },
        "spec": {
            "accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": name,
            "resources": { "requests": { "storage": "1Gi" } }
        }
    });
    create(&claims, &serde_json::from_value(claim).unwrap()).await;
}
