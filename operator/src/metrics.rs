//! What the operator counts, for Prometheus.
//!
//! In: what reconciles did. Out: the text of `/metrics`. Every label has few values that are known beforehand: no names
//! and no error texts.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use crds::model_deployment::ModelPhase;
use crds::transcription_service::ServicePhase;
use crds::{ModelDeployment, TranscriptionService};
use kube::runtime::reflector::Store;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::names::Kind;

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
struct PhaseLabels {
    kind: &'static str,
    phase: String,
}

type Durations = Family<KindLabel, Histogram, fn() -> Histogram>;

/// The metrics of one operator.
pub struct Metrics {
    registry: Registry,
    durations: Durations,
    reconciles: Family<ResultLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    objects: Family<PhaseLabels, Gauge>,
    patches: Family<KindLabel, Counter>,
    leader: Gauge,
    last_reconcile: Gauge<f64, AtomicU64>,
    services: Mutex<Vec<Store<TranscriptionService>>>,
    models: Mutex<Vec<Store<ModelDeployment>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let durations: Durations =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.005, 2.0, 13)));
        let (reconciles, errors, objects) = (Family::default(), Family::default(), Family::default());
        let (patches, leader, last_reconcile) = (Family::default(), Gauge::default(), Gauge::default());
        let mut registry = Registry::with_prefix("parlance_operator");
        let r = &mut registry;
        r.register(
            "reconcile_duration_seconds",
            "Time that a reconcile took",
            durations.clone(),
        );
        r.register(
            "reconciles",
            "Reconciles by how they ended: ok or error",
            reconciles.clone(),
        );
        r.register(
            "reconcile_errors",
            "Reconciles that failed, by where and why",
            errors.clone(),
        );
        r.register("objects", "Objects by the phase in their status", objects.clone());
        r.register(
            "patches",
            "Writes of child objects and statuses, by kind",
            patches.clone(),
        );
        r.register("leader", "Whether this process holds the Lease", leader.clone());
        r.register(
            "last_reconcile_timestamp_seconds",
            "When a reconcile last ended, in seconds since 1970",
            last_reconcile.clone(),
        );
        Metrics {
            registry,
            durations,
            reconciles,
            errors,
            objects,
            patches,
            leader,
            last_reconcile,
            services: Mutex::default(),
            models: Mutex::default(),
        }
    }
}

impl Metrics {
    /// One reconcile ended: how long it took, and how it went.
    pub fn reconciled(&self, kind: Kind, started: Instant, result: &'static str) {
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
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        self.last_reconcile.set(now.unwrap_or_default().as_secs_f64());
    }

    /// One reconcile failed.
    pub fn failed(&self, kind: Kind, category: &'static str) {
        let labels = ErrorLabels {
            kind: kind.as_str(),
            category,
        };
        self.errors.get_or_create(&labels).inc();
    }

    /// One object of this kind was written.
    pub fn wrote(&self, kind: &str) {
        self.patches.get_or_create(&KindLabel { kind: kind.into() }).inc();
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Counts the TranscriptionServices of this store from now on.
    pub fn count_services(&self, store: Store<TranscriptionService>) {
        self.services
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push(store);
    }

    /// Counts the ModelDeployments of this store from now on.
    pub fn count_models(&self, store: Store<ModelDeployment>) {
        self.models
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push(store);
    }

    /// The text of `/metrics`.
    pub fn text(&self) -> String {
        self.count_objects();
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn count_objects(&self) {
        use {ModelPhase as M, ServicePhase as S};
        let phases =
            [S::Pending, S::Deploying, S::Ready, S::Degraded, S::Failed].map(|phase| format!("{phase:?}"));
        let services = self
            .services
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let found = services.iter().flat_map(Store::state);
        let found = found.map(|one| {
            one.status
                .as_ref()
                .and_then(|status| status.phase)
                .unwrap_or(S::Pending)
        });
        self.set_objects(
            Kind::TranscriptionService,
            &phases,
            found.map(|phase| format!("{phase:?}")).collect(),
        );

        let phases = [
            M::Pending,
            M::Downloading,
            M::Available,
            M::Deploying,
            M::Deployed,
            M::Failed,
        ]
        .map(|phase| format!("{phase:?}"));
        let models = self
            .models
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let found = models.iter().flat_map(Store::state);
        let found = found.map(|one| {
            one.status
                .as_ref()
                .and_then(|status| status.phase)
                .unwrap_or(M::Pending)
        });
        self.set_objects(
            Kind::ModelDeployment,
            &phases,
            found.map(|phase| format!("{phase:?}")).collect(),
        );
    }

    fn set_objects(&self, kind: Kind, phases: &[String], found: Vec<String>) {
        for phase in phases {
            let count = found.iter().filter(|one| *one == phase).count();
            let labels = PhaseLabels {
                kind: kind.as_str(),
                phase: phase.clone(),
            };
            self.objects
                .get_or_create(&labels)
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_every_metric() {
        let metrics = Metrics::default();
        metrics.reconciled(Kind::TranscriptionService, Instant::now(), "ok");
        metrics.failed(Kind::ModelDeployment, "api");
        metrics.wrote("Deployment");
        metrics.leads(true);
        let text = metrics.text();
        for line in [
            "parlance_operator_reconcile_duration_seconds_count{kind=\"TranscriptionService\"} 1",
            "parlance_operator_reconciles_total{kind=\"TranscriptionService\",result=\"ok\"} 1",
            "parlance_operator_reconcile_errors_total{kind=\"ModelDeployment\",category=\"api\"} 1",
            "parlance_operator_patches_total{kind=\"Deployment\"} 1",
            "parlance_operator_leader 1",
            "parlance_operator_objects{kind=\"TranscriptionService\",phase=\"Ready\"} 0",
            "parlance_operator_objects{kind=\"ModelDeployment\",phase=\"Available\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
