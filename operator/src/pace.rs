//! When an object is looked at again though nothing is told of it.
//!
//! In: what was observed, and what is awaited. Out: the time. Pure. Watches tell of most changes; nodes, StorageClasses, warnings,
//! missing kinds and the passing of time are looked up.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::Action;

use crate::downloads;
use crate::health::autoscaler;
use crate::observe::Observed;

/// While all is as it should be.
const AT_REST: Duration = Duration::from_secs(300);
/// While something is awaited.
const AWAITED: Duration = Duration::from_secs(30);
/// Times in a status are whole seconds.
pub const SECOND: Duration = Duration::from_secs(1);

/// When to look again: as usual, or as soon as one of `others` is due.
pub fn again(
    at_rest: bool,
    observed: &Observed,
    now: &Time,
    others: impl IntoIterator<Item = Duration>,
) -> Action {
    let usual = match (at_rest, &observed.download) {
        (true, _) => AT_REST,
        (false, Some(_)) => downloads::PERIOD,
        (false, None) => AWAITED,
    };
    let blind = autoscaler::look_again(observed, now).map(|left| left + SECOND);
    Action::requeue(others.into_iter().chain(blind).fold(usual, Duration::min))
}

#[cfg(test)]
mod tests {
    use crds::model::DownloadStatus;

    use super::*;

    fn after(at_rest: bool, observed: &Observed, others: &[u64]) -> Action {
        let now = Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
        again(
            at_rest,
            observed,
            &now,
            others.iter().map(|left| Duration::from_secs(*left)),
        )
    }

    #[test]
    fn what_is_awaited_is_looked_at_sooner_and_a_download_soonest() {
        let idle = Observed::default();
        let downloading = Observed {
            download: Some(DownloadStatus::default()),
            ..Observed::default()
        };
        assert_eq!(after(true, &idle, &[]), Action::requeue(AT_REST));
        assert_eq!(after(false, &idle, &[]), Action::requeue(AWAITED));
        assert_eq!(
            after(false, &downloading, &[]),
            Action::requeue(downloads::PERIOD)
        );
    }

    #[test]
    fn the_first_thing_that_is_due_decides() {
        let idle = Observed::default();
        assert_eq!(
            after(true, &idle, &[90, 40]),
            Action::requeue(Duration::from_secs(40))
        );
        assert_eq!(after(false, &idle, &[90]), Action::requeue(AWAITED));
    }
}
