//! What a model of a certain size needs.
//!
//! In: the profile of a spec. Out: requests, limits and the size of the cache.

use crds::serving::Profile;

/// Requests, limits and cache size of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts {
    /// CPU and memory that the scheduler sets aside.
    pub requests: [(&'static str, &'static str); 2],
    /// CPU and memory that a pod may not exceed.
    pub limits: [(&'static str, &'static str); 2],
    /// Size of the claim that caches the model.
    pub cache: &'static str,
}

/// The amounts of a profile. CPU counts most: a transcription keeps every core busy that it gets. Memory is what a server of
/// the largest model of the profile was measured to hold while it transcribes (request) and, with a margin, while it loads
/// (limit): docs/scaling.md has the figures.
pub fn amounts(profile: Profile) -> Amounts {
    let (requests, limits, cache) = match profile {
        Profile::Nano => (("100m", "128Mi"), ("1", "512Mi"), "128Mi"),
        Profile::Small => (("500m", "640Mi"), ("2", "2Gi"), "1Gi"),
        Profile::Medium => (("2", "4Gi"), ("4", "9Gi"), "8Gi"),
        Profile::Large => (("4", "8Gi"), ("8", "16Gi"), "12Gi"),
        Profile::Turbo => (("2", "5Gi"), ("6", "10Gi"), "6Gi"),
    };
    Amounts {
        requests: [("cpu", requests.0), ("memory", requests.1)],
        limits: [("cpu", limits.0), ("memory", limits.1)],
        cache,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::parse;

    #[test]
    fn no_request_is_above_its_limit() {
        for profile in [
            Profile::Nano,
            Profile::Small,
            Profile::Medium,
            Profile::Large,
            Profile::Turbo,
        ] {
            let Amounts {
                requests,
                limits,
                cache,
            } = amounts(profile);
            for (request, limit) in requests.iter().zip(limits) {
                assert!(
                    parse(request.1).unwrap() <= parse(limit.1).unwrap(),
                    "{profile:?} {request:?}"
                );
            }
            assert!(parse(cache).is_some());
        }
    }
}
