//! How many pods a drain of nodes may take at once.
//!
//! In: the plan. Out: a PodDisruptionBudget when the plan has one.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};

use super::{Budget, WorkloadPlan};
use crate::names::Component;

/// The PodDisruptionBudget. Pods that are not ready never hold up a drain.
pub fn pod_disruption_budget(plan: &WorkloadPlan) -> Option<PodDisruptionBudget> {
    let (min_available, max_unavailable) = match plan.disruption.clone()? {
        Budget::MinAvailable(count) => (Some(count), None),
        Budget::MaxUnavailable(count) => (None, Some(count)),
    };
    Some(PodDisruptionBudget {
        metadata: plan.owner.child(&plan.name, Component::Server),
        spec: Some(PodDisruptionBudgetSpec {
            min_available,
            max_unavailable,
            selector: Some(plan.owner.label_selector(Component::Server)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
        }),
        status: None,
    })
}
