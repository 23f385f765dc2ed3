//! The children of a ModelDeployment.
//!
//! In: the plan. Out: the children as they should be. It cannot fail.

pub mod evaluation;

use std::collections::BTreeMap;

use crds::placement::Placement;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ObjectMeta;

use super::plan::{JobPlan, Plan};
use crate::names::{self, Component, FOLDER, Owner, VERIFIES, fetch_job};
use crate::resources::{Prepared, Resources};
use crate::workload;
use crate::workload::persistent_volume_claim::persistent_volume_claim;
use crate::workload::pod::pod_security;
use crate::workload::scheduling;
use crate::workload::{Contents, Image, ModelMount};

/// The children.
pub fn build(plan: &Plan) -> Resources<Prepared> {
    let evaluation = plan.evaluation.as_ref().and_then(|plan| plan.job.as_ref());
    let jobs = job(&plan.job).into_iter().chain(evaluation.map(evaluation::job));
    Resources {
        persistent_volume_claims: plan.cache.iter().map(persistent_volume_claim).collect(),
        jobs: jobs.collect(),
        keep_serving: plan.keep_serving,
        ..plan.workload.as_ref().map(workload::build).unwrap_or_default()
    }
}

/// The Job that verifies. It tries until it succeeds, ever more seldom: a source may be filled after it was named.
fn job(plan: &JobPlan) -> Option<Job> {
    if plan.again {
        return None;
    }
    let pod = pod_of(Parts {
        mount: &plan.mount,
        image: &plan.image,
        placement: &plan.placement,
        container: plan.mount.fetch_container(&plan.image, fetch_resources(), None),
    });
    let name = |hash: &str| {
        let done = plan.done_as.clone();
        done.unwrap_or_else(|| fetch_job(&plan.owner.name, hash))
    };
    let mut annotations = BTreeMap::from([(VERIFIES.to_string(), plan.verifies.clone())]);
    if let Contents::Bundled(_) | Contents::Remote(_) = plan.mount.contents {
        annotations.insert(FOLDER.into(), plan.mount.folder.clone());
    }
    Some(job_of(&plan.owner, &plan.mount, pod, name, annotations))
}

/// A Job of this pod. `name` makes its name of the hash of its template.
fn job_of(
    owner: &Owner,
    mount: &ModelMount,
    pod: PodSpec,
    name: impl FnOnce(&str) -> String,
    annotations: BTreeMap<String, String>,
) -> Job {
    let mut labels = owner.labels(Component::Model);
    labels.extend(mount.label());
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            ..Default::default()
        }),
        spec: Some(pod),
    };
    let hash = names::hash(serde_json::to_string(&template).unwrap_or_default().as_bytes());
    let mut metadata = owner.child(&name(&hash), Component::Model);
    metadata.annotations = Some(annotations);
    Job {
        metadata,
        spec: Some(JobSpec {
            backoff_limit: Some(1_000_000),
            template,
            ..Default::default()
        }),
        status: None,
    }
}

/// What the pods of Jobs differ in.
struct Parts<'a> {
    mount: &'a ModelMount,
    image: &'a Image,
    placement: &'a Placement,
    container: Container,
}

fn pod_of(parts: Parts) -> PodSpec {
    let Parts {
        mount,
        image,
        placement,
        container,
    } = parts;
    PodSpec {
        restart_policy: Some("OnFailure".into()),
        affinity: scheduling::both(placement.affinity.clone(), mount.affinity()),
        tolerations: (!placement.tolerations.is_empty()).then(|| placement.tolerations.clone()),
        node_selector: (!placement.node_selector.is_empty()).then(|| placement.node_selector.clone()),
        priority_class_name: placement.priority_class_name.clone(),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: image.secrets(),
        security_context: Some(pod_security()),
        containers: vec![container],
        volumes: Some(mount.volumes(TEMPORARY)),
        ..Default::default()
    }
}

/// Requests and limits of a fetch.
fn fetch_resources() -> ResourceRequirements {
    let amounts = |pairs: [(&str, &str); 2]| -> Option<BTreeMap<String, Quantity>> {
        Some(
            pairs
                .map(|(resource, amount)| (resource.to_string(), Quantity(amount.into())))
                .into(),
        )
    };
    ResourceRequirements {
        requests: amounts([("cpu", "100m"), ("memory", "128Mi")]),
        limits: amounts([("cpu", "1"), ("memory", "512Mi")]),
        ..Default::default()
    }
}

/// Room for what a Job writes beside the model, in MiB.
const TEMPORARY: u64 = 256;

#[cfg(test)]
mod tests;
