//! Two samples of a pod and the time between them in; what it did in that time out. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::scrape::Sample;

/// The share of requests that the latency is of.
const QUANTILE: f64 = 0.95;

/// What a pod did in a time, and how full it is at its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// Requests that hold a permit, at the end.
    pub running: f64,
    /// Requests that wait, at the end.
    pub queued: f64,
    /// Seconds of audio that wait, at the end.
    pub queued_audio: f64,
    /// The mean real-time factor of the requests that ended; nothing when none did.
    pub real_time_factor: Option<f64>,
    /// Seconds of audio transcribed in a second.
    pub audio: f64,
    /// Requests that ended in a second.
    pub requests: f64,
    /// The time within which 95 % of them ended.
    pub latency: Option<Latency>,
    /// Requests that were refused in a second.
    pub refused: f64,
}

/// A latency, as far as the buckets tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// About so many seconds.
    About(f64),
    /// More than the largest bound, in seconds.
    Above(f64),
}

/// What happened between two samples.
pub fn rates(before: &Sample, after: &Sample, time: Duration) -> Rates {
    // A pod that started again counts from nothing.
    let nothing = Sample::default();
    let before = match before.started == after.started && before.requests <= after.requests {
        true => before,
        false => &nothing,
    };
    let per_second = |before: f64, after: f64| (after - before).max(0.0) / time.as_secs_f64().max(1e-9);
    let ended = after.factors.1 - before.factors.1;
    let grown = |(bound, count): (&u64, &f64)| (*bound, count - before.latencies.get(bound).unwrap_or(&0.0));
    Rates {
        running: after.running,
        queued: after.queued,
        queued_audio: after.queued_audio,
        real_time_factor: (ended > 0.0).then(|| (after.factors.0 - before.factors.0) / ended),
        audio: per_second(before.audio, after.audio),
        requests: per_second(before.requests, after.requests),
        latency: quantile(&after.latencies.iter().map(grown).collect(), QUANTILE),
        refused: per_second(before.refused, after.refused),
    }
}

/// As Prometheus's `histogram_quantile`: within a bucket all latencies are taken to be equally likely.
fn quantile(buckets: &BTreeMap<u64, f64>, quantile: f64) -> Option<Latency> {
    let all = *buckets.get(&u64::MAX)?;
    if all <= 0.0 {
        return None;
    }
    let rank = quantile * all;
    let (mut below, mut floor) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *bound == u64::MAX {
            break;
        }
        let bound = *bound as f64 / 1000.0;
        if *count >= rank {
            let within = (count - below).max(f64::MIN_POSITIVE);
            return Some(Latency::About(floor + (bound - floor) * (rank - below) / within));
        }
        (below, floor) = (*count, bound);
    }
    Some(Latency::Above(floor))
}

#[cfg(test)]
mod tests {
    use super::super::scrape::{sample, tests::TEXT};
    use super::*;

    fn two() -> (Sample, Sample) {
        let before = sample(TEXT).unwrap();
        let mut after = before.clone();
        after.requests += 10.0;
        after.refused += 4.0;
        after.audio += 30.0;
        after.factors = (before.factors.0 + 1.2, before.factors.1 + 6.0);
        after.latencies = BTreeMap::from([(100, 4.0 + 5.0), (500, 8.0 + 10.0), (u64::MAX, 9.0 + 10.0)]);
        after.running = 2.0;
        (before, after)
    }

    #[test]
    fn rates_are_what_was_added_by_the_time_it_took() {
        let (before, after) = two();
        let rates = rates(&before, &after, Duration::from_secs(2));
        assert_eq!(
            (rates.running, rates.queued, rates.queued_audio),
            (2.0, 3.0, 12.5)
        );
        assert_eq!((rates.requests, rates.refused, rates.audio), (5.0, 2.0, 15.0));
        assert!((rates.real_time_factor.unwrap() - 0.2).abs() < 1e-9);
        // 9.5 of 10: 5 are below 0.1 s, and of the 5 below 0.5 s nine tenths.
        match rates.latency {
            Some(Latency::About(seconds)) => assert!((seconds - 0.46).abs() < 1e-9, "{seconds}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn where_nothing_ended_there_is_no_factor_and_no_latency() {
        let (before, _) = two();
        let rates = rates(&before, &before, Duration::from_secs(2));
        assert_eq!(
            (rates.real_time_factor, rates.latency, rates.requests),
            (None, None, 0.0)
        );
    }

    #[test]
    fn a_pod_that_started_again_counts_from_nothing() {
        let (after, before) = two();
        let mut after = after;
        after.started += 60.0;
        let rates = rates(&before, &after, Duration::from_secs(1));
        assert_eq!((rates.requests, rates.audio), (9.0, 21.5));
    }

    #[test]
    fn what_is_slower_than_every_bucket_is_only_known_to_be_slower() {
        let buckets = BTreeMap::from([(100, 1.0), (300_000, 1.0), (u64::MAX, 10.0)]);
        assert_eq!(quantile(&buckets, 0.95), Some(Latency::Above(300.0)));
        assert_eq!(quantile(&BTreeMap::new(), 0.95), None);
    }
}
