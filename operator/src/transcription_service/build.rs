//! The children of a TranscriptionService.
//!
//! In: the plan. Out: the children as they should be. It cannot fail.

use super::plan::Plan;
use super::plan::canary::CanaryPlan;
use crate::resources::{Prepared, Resources};
use crate::workload;
use crate::workload::persistent_volume_claim::persistent_volume_claim;

/// The children.
pub fn build(plan: &Plan) -> Resources<Prepared> {
    Resources {
        persistent_volume_claims: plan.cache.iter().map(persistent_volume_claim).collect(),
        ..workload::build(&plan.workload)
    }
}

/// Those of its canary.
pub fn canary(plan: &CanaryPlan) -> Resources<Prepared> {
    Resources {
        persistent_volume_claims: plan.cache.iter().map(persistent_volume_claim).collect(),
        ..workload::build_canary(&plan.workload)
    }
}
