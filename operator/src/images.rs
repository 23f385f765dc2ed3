//! Which image pods that already serve keep, when the operator comes with another one.
//!
//! In: the children as `build` wants them and as they are. Out: them with the image that serves now, where nothing but the
//! operator's own default has changed: a new operator restarts no pod for that. Pure. A Deployment takes the new image with the
//! next change of its spec, or when it does not serve.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Container;
use kube::ResourceExt;

use crate::drift::was_applied_as;
use crate::names::{ACTIVATOR_CONTAINER, MODEL_CONTAINER, SERVER_CONTAINER};
use crate::resources::{Live, Prepared, Resources};

/// The children with the images that their pods have, where only those differ from what was applied before.
pub fn keep_serving_images(mut prepared: Resources<Prepared>, live: &Resources<Live>) -> Resources<Prepared> {
    for wanted in &mut prepared.deployments {
        let name = wanted.name_any();
        let serving = live
            .deployments
            .iter()
            .find(|live| live.name_any() == name && serves(live));
        let kept = serving.and_then(|live| Some((live, with_image(wanted, &image(live)?))));
        if let Some((live, kept)) = kept
            && was_applied_as(live, &kept)
        {
            *wanted = kept;
        }
    }
    prepared
}

/// Whether all pods serve that there should be.
fn serves(deployment: &Deployment) -> bool {
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let current = status.observed_generation == deployment.metadata.generation;
    current
        && status.updated_replicas.unwrap_or(0) >= wanted
        && status.available_replicas.unwrap_or(0) >= wanted
}

/// The server's image.
fn image(deployment: &Deployment) -> Option<String> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers
        .iter()
        .find(|container| [SERVER_CONTAINER, ACTIVATOR_CONTAINER].contains(&container.name.as_str()))?
        .image
        .clone()
}

/// The same with another image of the server, which is also what brings the model.
fn with_image(deployment: &Deployment, image: &str) -> Deployment {
    let mut deployment = deployment.clone();
    if let Some(pod) = deployment
        .spec
        .as_mut()
        .and_then(|spec| spec.template.spec.as_mut())
    {
        let ours = |container: &&mut Container| {
            [SERVER_CONTAINER, MODEL_CONTAINER, ACTIVATOR_CONTAINER].contains(&container.name.as_str())
        };
        let containers = pod
            .containers
            .iter_mut()
            .chain(pod.init_containers.iter_mut().flatten());
        for container in containers.filter(ours) {
            container.image = Some(image.into());
        }
    }
    deployment
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::drift::{applied_hash, as_json};
    use crate::names::APPLIED;

    fn deployment(image: &str, threads: &str) -> Deployment {
        let container = |name: &str| json!({ "name": name, "image": image, "args": [threads] });
        let pod = json!({ "containers": [container("server")], "initContainers": [container("model")] });
        let spec = json!({ "replicas": 2, "selector": {}, "template": { "spec": pod } });
        serde_json::from_value(json!({ "metadata": { "name": "calls" }, "spec": spec })).unwrap()
    }

    /// What becomes of `wanted` beside a Deployment that was applied as `applied` and has this status.
    fn kept(wanted: &Deployment, applied: &Deployment, status: Value) -> Deployment {
        let mut live = applied.clone();
        live.metadata.annotations = Some([(APPLIED.to_string(), applied_hash(&as_json(applied)))].into());
        live.metadata.generation = Some(3);
        live.status = serde_json::from_value(status).unwrap();
        let prepared = Resources {
            deployments: vec![wanted.clone()],
            ..Resources::default()
        };
        let live = Resources {
            deployments: vec![live],
            ..Resources::default()
        };
        keep_serving_images(prepared, &live).deployments.remove(0)
    }

    fn serving() -> Value {
        json!({ "observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 })
    }

    #[test]
    fn pods_that_serve_keep_their_image_when_nothing_else_changes() {
        let before = deployment("server:1", "--threads=1");
        assert_eq!(
            kept(&deployment("server:2", "--threads=1"), &before, serving()),
            before
        );
    }

    #[test]
    fn another_change_brings_the_new_image() {
        let wanted = deployment("server:2", "--threads=2");
        assert_eq!(
            kept(&wanted, &deployment("server:1", "--threads=1"), serving()),
            wanted
        );
    }

    #[test]
    fn pods_that_do_not_serve_get_the_new_image_which_may_mend_them() {
        let (before, wanted) = (
            deployment("server:1", "--threads=1"),
            deployment("server:2", "--threads=1"),
        );
        let broken =
            json!({ "observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1 });
        assert_eq!(kept(&wanted, &before, broken), wanted);
        let halfway =
            json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 });
        assert_eq!(kept(&wanted, &before, halfway), wanted);
    }
}
