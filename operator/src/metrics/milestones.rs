//! What an object has come to since its last status, as metrics.
//!
//! In: its conditions before and after, and its pods. Out: the times that it took, where it has just come so far. It decides nothing.

use crds::condition::MODEL_CACHED;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Metrics;
use crate::conditions;
use crate::health::report;
use crate::names::Kind;

impl Metrics {
    /// Observes the times of the model and of the pods, once each.
    pub fn came(
        &self,
        kind: Kind,
        (before, after): (&[Condition], &[Condition]),
        pods: &[Pod],
        created: Option<&Time>,
    ) {
        if conditions::became(before, after, MODEL_CACHED)
            && let Some(took) = report::fetch_time(pods)
        {
            self.fetched(kind, took);
        }
        if let Some(took) = conditions::time_to_ready(before, after, created) {
            self.became_ready(kind, took);
        }
    }
}
