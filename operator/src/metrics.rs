//! What the operator counts, for Prometheus.
//!
//! In: what reconciles did. Out: the text of `/metrics`. Every label has few values that are known beforehand: no error texts,
//! and no names but those of the objects themselves (`objects`).

mod milestones;
mod objects;

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crds::{ModelDeployment, TranscriptionService};
use kube::runtime::reflector::Store;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::names::Kind;
use objects::Objects;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ErrorLabels {
    kind: &'static str,
    category: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

type Durations = Family<KindLabel, Histogram, fn() -> Histogram>;
type Seconds = Gauge<f64, AtomicU64>;

/// The metrics of one operator.
pub struct Metrics {
    registry: Registry,
    durations: Durations,
    reconciles: Family<ResultLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    running: Gauge,
    waiting: Gauge,
    fetches: Durations,
    evaluations: Durations,
    to_ready: Durations,
    patches: Family<KindLabel, Counter>,
    leader: Gauge,
    last_reconcile: Seconds,
    objects: Objects,
    scrape: Mutex<()>,
}

impl Default for Metrics {
    fn default() -> Self {
        let reconcile: fn() -> Histogram = || Histogram::new(exponential_buckets(0.005, 2.0, 13));
        // From a copy out of the image to a large model over a slow line.
        let fetch: fn() -> Histogram = || Histogram::new(exponential_buckets(1.0, 2.0, 14));
        let mut metrics = Metrics {
            registry: Registry::with_prefix("parlance_operator"),
            durations: Family::new_with_constructor(reconcile),
            reconciles: Family::default(),
            errors: Family::default(),
            running: Gauge::default(),
            waiting: Gauge::default(),
            fetches: Family::new_with_constructor(fetch),
            evaluations: Family::new_with_constructor(fetch),
            to_ready: Family::new_with_constructor(fetch),
            patches: Family::default(),
            leader: Gauge::default(),
            last_reconcile: Gauge::default(),
            objects: Objects::default(),
            scrape: Mutex::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let Metrics {
            registry: r,
            durations,
            reconciles,
            errors,
            running,
            waiting,
            fetches,
            evaluations,
            to_ready,
            patches,
            leader,
            last_reconcile,
            objects,
            scrape: _,
        } = self;
        let help = "Time that a reconcile took";
        r.register("reconcile_duration_seconds", help, durations.clone());
        let help = "Reconciles by how they ended: ok or error";
        r.register("reconciles", help, reconciles.clone());
        let help = "Reconciles that failed, by where and why";
        r.register("reconcile_errors", help, errors.clone());
        let help = "Reconciles that are under way";
        r.register("reconciles_running", help, running.clone());
        let help = "Objects whose reconcile waits because as many as may run are under way";
        r.register("reconciles_waiting", help, waiting.clone());
        let help = "Time that the container took which put a model on its volume and verified it";
        r.register("model_fetch_duration_seconds", help, fetches.clone());
        let help = "Time that the container took which tried a model on samples";
        r.register("model_evaluation_duration_seconds", help, evaluations.clone());
        let help = "Time that objects were not Ready before they became so";
        r.register("time_to_ready_seconds", help, to_ready.clone());
        let help = "Writes of child objects and statuses, by kind";
        r.register("patches", help, patches.clone());
        r.register("leader", "Whether this process holds the Lease", leader.clone());
        let help = "When a reconcile last ended, in seconds since 1970";
        r.register("last_reconcile_timestamp_seconds", help, last_reconcile.clone());
        objects.register(r);
        let build: Family<BuildLabels, Gauge> = Family::default();
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create(&BuildLabels { version }).set(1);
        r.register("build_info", "The version of the operator; 1", build);
        let start = Seconds::default();
        start.set(now());
        let help = "When the process started, in seconds since 1970";
        r.register("process_start_time_seconds", help, start);
    }

    /// A reconcile waits for its turn.
    pub fn waits(&self) {
        self.waiting.inc();
    }

    /// A reconcile that waited has begun.
    pub fn begins(&self) {
        self.waiting.dec();
        self.running.inc();
    }

    /// One reconcile ended: how long it took, and how it went.
    pub fn reconciled(&self, kind: Kind, started: Instant, result: &'static str) {
        self.running.dec();
        let label = KindLabel {
            kind: kind.as_str().into(),
        };
        self.durations
            .get_or_create(&label)
            .observe(started.elapsed().as_secs_f64());
        let labels = ResultLabels {
            kind: kind.as_str(),
            result,
        };
        self.reconciles.get_or_create(&labels).inc();
        self.last_reconcile.set(now());
    }

    /// One reconcile failed.
    pub fn failed(&self, kind: Kind, category: &'static str) {
        let labels = ErrorLabels {
            kind: kind.as_str(),
            category,
        };
        self.errors.get_or_create(&labels).inc();
    }

    /// The model of an object of this kind was put on its volume and verified.
    pub fn fetched(&self, kind: Kind, took: Duration) {
        let label = KindLabel {
            kind: kind.as_str().into(),
        };
        self.fetches.get_or_create(&label).observe(took.as_secs_f64());
    }

    /// The model of an object of this kind was tried on samples.
    pub fn evaluated(&self, kind: Kind, took: Duration) {
        let label = KindLabel {
            kind: kind.as_str().into(),
        };
        self.evaluations.get_or_create(&label).observe(took.as_secs_f64());
    }

    /// An object of this kind has become Ready.
    pub fn became_ready(&self, kind: Kind, after: Duration) {
        let label = KindLabel {
            kind: kind.as_str().into(),
        };
        self.to_ready.get_or_create(&label).observe(after.as_secs_f64());
    }

    /// One object of this kind was written.
    pub fn wrote(&self, kind: &str) {
        self.patches.get_or_create(&KindLabel { kind: kind.into() }).inc();
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Tells of the TranscriptionServices of this store from now on.
    pub fn count_services(&self, store: Store<TranscriptionService>) {
        self.objects.count_services(store);
    }

    /// Tells of the ModelDeployments of this store from now on.
    pub fn count_models(&self, store: Store<ModelDeployment>) {
        self.objects.count_models(store);
    }

    /// The text of `/metrics`.
    pub fn text(&self) -> String {
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.objects.refresh();
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests;
