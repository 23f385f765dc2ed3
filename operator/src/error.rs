//! Why a reconcile failed, and when it is tried again: the same for both kinds.
//!
//! In: what went wrong while reading or writing. Out: a category for metrics, and the next try. It decides nothing else.

use std::time::Duration;

use kube::runtime::controller::Action;

use crate::apply;
use crate::context::Context;
use crate::names::Owner;

/// Longest wait while another object has the name of a child.
const CONFLICT_WAIT: Duration = Duration::from_secs(30);

/// Why a reconcile failed. It is tried again, later each time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster could not be read.
    #[error("failed to read what is in the cluster: {}", apply::explain(.0))]
    Fetch(#[source] kube::Error),
    /// A child could not be written.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// The status could not be written.
    #[error("failed to write the status: {}", apply::explain(.0))]
    Status(#[source] kube::Error),
}

impl Error {
    /// The error in one of few words.
    pub fn category(&self) -> &'static str {
        match self {
            Error::Fetch(_) => "fetch",
            Error::Apply(apply::Error::Conflict { .. }) => "conflict",
            Error::Apply(apply::Error::Api { .. }) => "apply",
            Error::Status(_) => "status",
        }
    }

    /// Counts the failure, and says when to try again: later each time, and soon where only a name must become free.
    pub fn try_again(&self, owner: &Owner, context: &Context) -> Action {
        context.metrics.failed(owner.kind, self.category());
        let wait = context.back_off(owner);
        match self {
            Error::Apply(apply::Error::Conflict { .. }) => Action::requeue(wait.min(CONFLICT_WAIT)),
            _ => Action::requeue(wait),
        }
    }
}
