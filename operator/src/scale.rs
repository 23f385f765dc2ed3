//! Starts and ends the pods of what may have none.
//!
//! In: the plan, what was observed, and what was just applied. Out: the Deployment with its new number of pods among what was applied,
//! and when to look again. Which number it is, `workload::zero` decides.

use std::time::Duration;

use crate::apply::{Applier, Change};
use crate::observe::Observed;
use crate::resources::{Applied, Resources};
use crate::workload::{WorkloadPlan, zero};

/// Time until what failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Sets the number of pods where requests decide on it.
pub async fn scale(
    applier: &Applier<'_>,
    workload: &WorkloadPlan,
    observed: &Observed,
    applied: &mut Resources<Applied>,
    changes: &mut Vec<Change>,
) -> Option<Duration> {
    if let Some((name, replicas)) = zero::wanted(workload, observed) {
        match applier.scale(name, replicas).await {
            Ok((scaled, change)) => {
                zero::replace(applied, scaled);
                changes.push(change);
            }
            Err(error) => {
                tracing::warn!("{error}");
                return Some(TRY_AGAIN);
            }
        }
    }
    workload.zero.as_ref()?.look_again
}
