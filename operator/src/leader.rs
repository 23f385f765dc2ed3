//! Election of one working operator among several, by a Lease.
//!
//! In: a client, the Lease, and this process's name. Out: a [`Lead`], for as long as the Lease is held. It knows nothing of
//! what is done meanwhile. As in client-go, a Lease counts as free when it has not been renewed for its duration since this
//! process saw it change, so that clocks need not agree; and only here is a `resourceVersion` sent, so that of two who take
//! it one fails.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{sleep, timeout};

use crate::apply::explain;

/// How long others wait after the last renewal.
const DURATION: Duration = Duration::from_secs(15);
/// How long this process tries to renew before it gives up: well before others may take over.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two tries.
const RETRY: Duration = Duration::from_secs(2);

/// A candidate.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    seen: Option<(LeaseSpec, Instant)>,
}

/// The Lease, held.
pub struct Lead {
    candidate: Candidate,
    lease: Lease,
    renewed: Instant,
}

/// What to do about a Lease.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Take,
    Wait,
}

/// A Lease can be taken when it is ours, is free, or has not been renewed for long enough.
fn decide(spec: &LeaseSpec, identity: &str, unchanged_for: Duration) -> Decision {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let duration = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
    if holder.is_empty() || holder == identity || unchanged_for >= Duration::from_secs(duration) {
        Decision::Take
    } else {
        Decision::Wait
    }
}

impl Candidate {
    /// A candidate for the Lease `name`.
    pub fn new(client: Client, namespace: &str, name: String, identity: String) -> Candidate {
        Candidate {
            api: Api::namespaced(client, namespace),
            name,
            identity,
            seen: None,
        }
    }

    /// Waits until the Lease is held.
    pub async fn lead(mut self) -> Lead {
        loop {
            match self.take().await {
                Ok(Some(lease)) => {
                    tracing::info!(lease = self.name, identity = self.identity, "leads");
                    return Lead {
                        candidate: self,
                        lease,
                        renewed: Instant::now(),
                    };
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(lease = self.name, "failed to take the Lease: {}", explain(&error));
                }
            }
            sleep(RETRY).await;
        }
    }

    async fn take(&mut self) -> Result<Option<Lease>, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..Default::default()
                },
                spec: Some(self.held(0)),
            };
            return self.api.create(&PostParams::default(), &lease).await.map(Some);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == spec => *since,
            _ => Instant::now(),
        };
        self.seen = Some((spec.clone(), since));
        if decide(&spec, &self.identity, since.elapsed()) == Decision::Wait {
            return Ok(None);
        }
        lease.spec = Some(self.held(spec.lease_transitions.unwrap_or(0).saturating_add(1)));
        match self.api.replace(&self.name, &PostParams::default(), &lease).await {
            Ok(lease) => Ok(Some(lease)),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn held(&self, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(DURATION.as_secs() as i32),
            acquire_time: Some(MicroTime(Timestamp::now())),
            renew_time: Some(MicroTime(Timestamp::now())),
            lease_transitions: Some(transitions),
            ..Default::default()
        }
    }
}

impl Lead {
    /// Renews the Lease for as long as that works.
    pub async fn until_lost(&mut self) {
        while self.renewed.elapsed() < RENEW_DEADLINE {
            sleep(RETRY).await;
            let left = RENEW_DEADLINE.saturating_sub(self.renewed.elapsed());
            let spec = self.lease.spec.get_or_insert_default();
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            let (api, name) = (&self.candidate.api, &self.candidate.name);
            match timeout(left, api.replace(name, &PostParams::default(), &self.lease)).await {
                Ok(Ok(lease)) => (self.lease, self.renewed) = (lease, Instant::now()),
                Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
                    match timeout(left, api.get(name)).await {
                        Ok(Ok(lease)) if self.holds(&lease) => self.lease = lease,
                        Ok(Ok(_)) => break,
                        Ok(Err(_)) | Err(_) => {}
                    }
                }
                Ok(Err(error)) => tracing::warn!("failed to renew the Lease: {}", explain(&error)),
                Err(_) => {}
            }
        }
        tracing::error!(lease = self.candidate.name, "lost the Lease");
    }

    /// Lets go, so that another need not wait.
    pub async fn release(mut self) {
        let spec = self.lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        let (api, name) = (&self.candidate.api, &self.candidate.name);
        match timeout(RETRY, api.replace(name, &PostParams::default(), &self.lease)).await {
            Ok(Ok(_)) => tracing::info!(lease = name, "released the Lease"),
            Ok(Err(error)) => tracing::warn!("failed to release the Lease: {}", explain(&error)),
            Err(_) => tracing::warn!("failed to release the Lease in time"),
        }
    }

    fn holds(&self, lease: &Lease) -> bool {
        let spec = lease.spec.as_ref();
        spec.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.candidate.identity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: (!holder.is_empty()).then(|| holder.to_string()),
            lease_duration_seconds: Some(15),
            ..Default::default()
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_it_is_free() {
        let seconds = Duration::from_secs;
        assert_eq!(decide(&held_by(""), "me", seconds(0)), Decision::Take);
        assert_eq!(decide(&held_by("me"), "me", seconds(0)), Decision::Take);
        assert_eq!(decide(&held_by("other"), "me", seconds(14)), Decision::Wait);
        assert_eq!(decide(&held_by("other"), "me", seconds(15)), Decision::Take);
    }
}
