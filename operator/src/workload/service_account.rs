//! The identity of the pods.
//!
//! In: the plan. Out: a ServiceAccount without any right: the server never talks to the apiserver.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::WorkloadPlan;
use crate::names::Component;

/// The ServiceAccount.
pub fn service_account(plan: &WorkloadPlan) -> ServiceAccount {
    ServiceAccount {
        metadata: plan.owner.child(&plan.name, Component::Server),
        automount_service_account_token: Some(false),
        ..Default::default()
    }
}
