//! What the operator adds to the time that Kubernetes itself takes.
//!
//! In: a scene at rest. Out: times of services and of the same objects created directly, one after the other in turn.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crds::TranscriptionService;
use futures::{StreamExt, pin_mut, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use kube::api::{Api, DeleteParams, ObjectMeta, WatchEvent, WatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::scene::{ABREAST, Scene, create, spec};

/// Times of both ways, pair by pair.
pub struct Times(Vec<(Duration, Duration)>);

impl Times {
    /// The median of the services.
    pub fn services(&self) -> String {
        milliseconds(self.0.iter().map(|pair| pair.0.as_secs_f64()))
    }

    /// The median of what was created directly.
    pub fn direct(&self) -> String {
        milliseconds(self.0.iter().map(|pair| pair.1.as_secs_f64()))
    }

    /// The median of the differences.
    pub fn added(&self) -> String {
        milliseconds(
            self.0
                .iter()
                .map(|pair| pair.0.as_secs_f64() - pair.1.as_secs_f64()),
        )
    }
}

fn milliseconds(times: impl Iterator<Item = f64>) -> String {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    format!("{:.0} ms", 1000.0 * times[times.len() / 2])
}

/// Takes the time of `pairs` services and of as many sets of the same objects.
pub async fn measure(client: &Client, scene: &Scene, pairs: usize) -> Times {
    let namespace = scene.namespace(0);
    let services: Api<TranscriptionService> = Api::namespaced(client.clone(), namespace);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let mut times = Vec::new();
    for number in 0..pairs {
        let name = format!("pair-{number}");
        let began = Instant::now();
        create(&services, &spec(&name)).await;
        until_available(&deployments, &name).await;
        let by_operator = began.elapsed();

        let copy = format!("pair-copy-{number}");
        let account = copy_of::<ServiceAccount>(client, namespace, &name, &copy).await;
        let service = copy_of::<Service>(client, namespace, &name, &copy).await;
        let mut deployment = copy_of::<Deployment>(client, namespace, &name, &copy).await;
        relabel(&mut deployment, &copy);
        let began = Instant::now();
        create(&Api::namespaced(client.clone(), namespace), &account).await;
        create(&Api::namespaced(client.clone(), namespace), &service).await;
        create(&deployments, &deployment).await;
        until_available(&deployments, &copy).await;
        times.push((by_operator, began.elapsed()));

        services.delete(&name, &DeleteParams::default()).await.unwrap();
        deployments
            .delete(&copy, &DeleteParams::background())
            .await
            .unwrap();
    }
    Times(times)
}

/// How long it takes until so many Deployments serve that are created directly with what belongs to each. They are taken away again.
pub async fn many_directly(client: &Client, scene: &Scene, count: usize) -> Duration {
    let services: Api<TranscriptionService> = Api::namespaced(client.clone(), scene.namespace(0));
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), scene.namespace(0));
    create(&services, &spec("model")).await;
    until_available(&deployments, "model").await;
    let account = copy_of::<ServiceAccount>(client, scene.namespace(0), "model", "copy").await;
    let service = copy_of::<Service>(client, scene.namespace(0), "model", "copy").await;
    let deployment = copy_of::<Deployment>(client, scene.namespace(0), "model", "copy").await;
    services.delete("model", &DeleteParams::default()).await.unwrap();

    let began = Instant::now();
    let creations = stream::iter(0..count).map(|number| {
        let (mut account, mut service, mut deployment) =
            (account.clone(), service.clone(), deployment.clone());
        let (client, namespace) = (client.clone(), scene.namespace(number));
        async move {
            let name = format!("copy-{number}");
            account.metadata.name = Some(name.clone());
            service.metadata.name = Some(name.clone());
            deployment.metadata.name = Some(name.clone());
            relabel(&mut deployment, &name);
            let pod = deployment.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
            pod.service_account_name = Some(name.clone());
            service.spec.as_mut().unwrap().selector =
                Some([("bench".to_string(), name)].into_iter().collect());
            create(&Api::namespaced(client.clone(), namespace), &account).await;
            create(&Api::namespaced(client.clone(), namespace), &service).await;
            create(&Api::namespaced(client.clone(), namespace), &deployment).await;
        }
    });
    creations.buffer_unordered(ABREAST).collect::<Vec<_>>().await;
    until_all_available(client, scene, count).await;
    let took = began.elapsed();
    scene.delete_children(client).await;
    took
}

/// Waits until so many of the Deployments that were created directly have a pod that serves, as a watch tells it.
async fn until_all_available(client: &Client, scene: &Scene, count: usize) {
    let all: Api<Deployment> = Api::all(client.clone());
    let mut available = HashSet::new();
    loop {
        let events = all.watch(&WatchParams::default(), "0").await.unwrap();
        pin_mut!(events);
        while let Some(Ok(event)) = events.next().await {
            let (WatchEvent::Added(deployment) | WatchEvent::Modified(deployment)) = event else {
                continue;
            };
            let here = deployment
                .namespace()
                .is_some_and(|name| name.starts_with(&scene.prefix));
            let status = deployment.status.clone().unwrap_or_default();
            if here
                && status.available_replicas.unwrap_or(0) > 0
                && deployment.name_any().starts_with("copy-")
            {
                available.insert((deployment.namespace(), deployment.name_any()));
            }
            if available.len() >= count {
                return;
            }
        }
    }
}

/// An object as the operator made it, under another name and without what ties it to its owner.
async fn copy_of<K>(client: &Client, namespace: &str, name: &str, copy: &str) -> K
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let mut object = api.get(name).await.unwrap();
    *object.meta_mut() = ObjectMeta {
        name: Some(copy.into()),
        ..Default::default()
    };
    let mut value = serde_json::to_value(&object).unwrap();
    if let Some(spec) = value.get_mut("spec").and_then(|spec| spec.as_object_mut()) {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    serde_json::from_value(value).unwrap()
}

/// Labels of its own, so that the operator does not take the pods for those of its service.
fn relabel(deployment: &mut Deployment, name: &str) {
    let labels = [("bench".to_string(), name.to_string())].into_iter().collect();
    let spec = deployment.spec.as_mut().unwrap();
    spec.selector.match_labels = Some(labels);
    let pods = spec.template.metadata.get_or_insert_default();
    pods.labels = spec.selector.match_labels.clone();
}

/// Waits until a Deployment has a pod that serves, as a watch tells it.
async fn until_available(deployments: &Api<Deployment>, name: &str) {
    let about = WatchParams::default().fields(&format!("metadata.name={name}"));
    loop {
        let events = deployments.watch(&about, "0").await.unwrap();
        pin_mut!(events);
        while let Some(Ok(event)) = events.next().await {
            let (WatchEvent::Added(deployment) | WatchEvent::Modified(deployment)) = event else {
                continue;
            };
            let status = deployment.status.unwrap_or_default();
            if status.available_replicas.unwrap_or(0) > 0 {
                return;
            }
        }
    }
}
