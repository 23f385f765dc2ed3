//! What every reconcile may use: the client, the configuration, the metrics, and each object's back-off.
//!
//! In: nothing. Out: shared state. It reconciles nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kube::Client;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::children::Children;
use crate::demand::Demands;
use crate::downloads::Downloads;
use crate::events::Budget;
use crate::kinds::Kinds;
use crate::metrics::Metrics;
use crate::names::Owner;
use crate::workload::settings::ServerImages;

/// First wait after an error.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait after errors.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// ModelDeployments of a namespace that are served at the same time, where nobody says another number.
pub const MAX_DEPLOYED: usize = 10;

/// What every reconcile may use.
pub struct Context {
    /// The cluster.
    pub client: Client,
    /// Images of the server where a spec names none.
    pub server_images: ServerImages,
    /// Whether pods that serve get the operator's own server image at once, and not with the next change of their spec.
    pub update_running_servers: bool,
    /// ModelDeployments of a namespace that are served at the same time.
    pub max_deployed: usize,
    /// Name of this process in Events and in the Lease.
    pub identity: String,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The children of all objects, as far as they are watched.
    pub children: Children,
    /// How far downloads are.
    pub downloads: Downloads,
    /// Requests before services that may have no pods.
    pub demands: Demands,
    /// Events that each object may still have.
    pub events: Budget,
    /// Which kinds of other projects the cluster has.
    pub kinds: Kinds,
    permits: Semaphore,
    failures: Mutex<HashMap<Owner, u32>>,
}

impl Context {
    /// A context for at most `concurrency` reconciles at a time, of whatever kind and namespace.
    pub fn new(
        client: Client,
        server_images: ServerImages,
        identity: String,
        metrics: Arc<Metrics>,
        concurrency: usize,
    ) -> Context {
        Context {
            client,
            server_images,
            update_running_servers: false,
            max_deployed: MAX_DEPLOYED,
            identity,
            metrics,
            children: Children::default(),
            downloads: Downloads::default(),
            demands: Demands::default(),
            events: Budget::default(),
            kinds: Kinds::default(),
            permits: Semaphore::new(concurrency.max(1)),
            failures: Mutex::default(),
        }
    }

    /// Waits until a reconcile may start.
    pub async fn admit(&self) -> (Option<SemaphorePermit<'_>>, Instant) {
        self.metrics.waits();
        // The semaphore is never closed.
        let permit = self.permits.acquire().await.ok();
        self.metrics.begins();
        (permit, Instant::now())
    }

    /// A reconcile of this object succeeded.
    pub fn succeeded(&self, owner: &Owner) {
        self.failures().remove(owner);
    }

    /// A reconcile of this object failed: how long to wait before the next.
    pub fn back_off(&self, owner: &Owner) -> Duration {
        let mut failures = self.failures();
        let count = failures.entry(owner.clone()).or_insert(0);
        let wait = FIRST_WAIT
            .saturating_mul(2u32.saturating_pow(*count))
            .min(LONGEST_WAIT);
        *count = count.saturating_add(1);
        wait
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, HashMap<Owner, u32>> {
        self.failures
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
