//! The children of a ModelDeployment.
//!
//! In: the plan. Out: the children as they should be. It cannot fail.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ObjectMeta;

use super::plan::{JobPlan, Plan};
use crate::names::{self, Component, VERIFIES, fetch_job};
use crate::resources::{Prepared, Resources};
use crate::workload;
use crate::workload::persistent_volume_claim::persistent_volume_claim;
use crate::workload::pod::pod_security;
use crate::workload::scheduling;

/// The children.
pub fn build(plan: &Plan) -> Resources<Prepared> {
    Resources {
        persistent_volume_claims: plan.cache.iter().map(persistent_volume_claim).collect(),
        jobs: job(&plan.job).into_iter().collect(),
        keep_serving: plan.keep_serving,
        ..plan.workload.as_ref().map(workload::build).unwrap_or_default()
    }
}

/// The Job. It tries until it succeeds, ever more seldom: a source may be filled after it was named.
fn job(plan: &JobPlan) -> Option<Job> {
    if plan.again {
        return None;
    }
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels(plan)),
            ..Default::default()
        }),
        spec: Some(pod(plan)),
    };
    let hash = names::hash(serde_json::to_string(&template).unwrap_or_default().as_bytes());
    let name = plan
        .done_as
        .clone()
        .unwrap_or_else(|| fetch_job(&plan.owner.name, &hash));
    let mut metadata = plan.owner.child(&name, Component::Model);
    metadata.annotations = Some([(VERIFIES.to_string(), plan.verifies.clone())].into());
    Some(Job {
        metadata,
        spec: Some(JobSpec {
            backoff_limit: Some(1_000_000),
            template,
            ..Default::default()
        }),
        status: None,
    })
}

fn labels(plan: &JobPlan) -> BTreeMap<String, String> {
    let mut labels = plan.owner.labels(Component::Model);
    labels.extend([plan.mount.label()]);
    labels
}

fn pod(plan: &JobPlan) -> PodSpec {
    let amounts = |pairs: [(&str, &str); 2]| -> Option<BTreeMap<String, Quantity>> {
        Some(
            pairs
                .map(|(resource, amount)| (resource.to_string(), Quantity(amount.into())))
                .into(),
        )
    };
    let resources = ResourceRequirements {
        requests: amounts([("cpu", "100m"), ("memory", "128Mi")]),
        limits: amounts([("cpu", "1"), ("memory", "512Mi")]),
        ..Default::default()
    };
    let placement = &plan.placement;
    PodSpec {
        restart_policy: Some("OnFailure".into()),
        affinity: scheduling::both(placement.affinity.clone(), plan.mount.affinity()),
        tolerations: (!placement.tolerations.is_empty()).then(|| placement.tolerations.clone()),
        node_selector: (!placement.node_selector.is_empty()).then(|| placement.node_selector.clone()),
        priority_class_name: placement.priority_class_name.clone(),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: (!plan.image.pull_secrets.is_empty()).then(|| plan.image.pull_secrets.clone()),
        security_context: Some(pod_security()),
        containers: vec![plan.mount.fetch_container(&plan.image, resources)],
        volumes: Some(plan.mount.volumes(TEMPORARY)),
        ..Default::default()
    }
}

/// Room for what a fetch writes beside the model, in MiB.
const TEMPORARY: u64 = 256;

#[cfg(test)]
mod tests;
