//! The vertical autoscaler of the pods.
//!
//! In: the plan. Out: a VerticalPodAutoscaler when the plan has one. It decides over the container that serves; the one that
//! brings the model keeps its own requests.

use std::collections::BTreeMap;

use crds::autoscaling::{Amounts, ControlledResource};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::WorkloadPlan;
use crate::names::{Component, SERVER_CONTAINER};
use crate::scalers::{
    ContainerPolicy, ResourcePolicy, TargetRef, UpdatePolicy, VerticalPodAutoscaler,
    VerticalPodAutoscalerSpec,
};

/// The VerticalPodAutoscaler.
pub fn vertical_pod_autoscaler(plan: &WorkloadPlan) -> Option<VerticalPodAutoscaler> {
    let wanted = plan.vertical_pod_autoscaler.as_ref()?;
    let controlled = match wanted.controlled_resources.as_slice() {
        [] => &[ControlledResource::Cpu, ControlledResource::Memory],
        some => some,
    };
    let word = |resource: &ControlledResource| match resource {
        ControlledResource::Cpu => "cpu".to_string(),
        ControlledResource::Memory => "memory".to_string(),
    };
    let policy = |container: &str, mode: &str| ContainerPolicy {
        container_name: container.into(),
        mode: mode.into(),
        ..Default::default()
    };
    Some(VerticalPodAutoscaler {
        metadata: plan.owner.child(&plan.name, Component::Server),
        spec: VerticalPodAutoscalerSpec {
            target_ref: TargetRef::deployment(&plan.name),
            update_policy: UpdatePolicy {
                update_mode: format!("{:?}", wanted.update_mode),
            },
            resource_policy: ResourcePolicy {
                container_policies: vec![
                    ContainerPolicy {
                        controlled_resources: controlled.iter().map(word).collect(),
                        min_allowed: wanted.min_allowed.as_ref().map(amounts).unwrap_or_default(),
                        max_allowed: wanted.max_allowed.as_ref().map(amounts).unwrap_or_default(),
                        ..policy(SERVER_CONTAINER, "Auto")
                    },
                    policy("*", "Off"),
                ],
            },
        },
    })
}

fn amounts(amounts: &Amounts) -> BTreeMap<String, Quantity> {
    let Amounts { cpu, memory } = amounts;
    let pairs = [("cpu", cpu), ("memory", memory)];
    pairs
        .into_iter()
        .filter_map(|(name, amount)| Some((name.to_string(), amount.clone()?)))
        .collect()
}
