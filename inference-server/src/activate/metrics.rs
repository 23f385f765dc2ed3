//! What happened to held requests in; the text that Prometheus scrapes out.

use std::{fmt, sync::Arc, sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::demand::Demand;
use crate::metrics::TlsMetrics;

const WAITS: [f64; 14] = [
    0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 600.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Every metric of the activator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    waiting: Gauge,
    running: Gauge,
    idle: Gauge<f64, AtomicU64>,
    activations: Counter,
    waits: Histogram,
    refused: Family<Reason, Counter>,
    tls: Arc<TlsMetrics>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("parlance"),
            waiting: Gauge::default(),
            running: Gauge::default(),
            idle: Gauge::default(),
            activations: Counter::default(),
            waits: Histogram::new(WAITS),
            refused: Family::default(),
            tls: Arc::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let Self {
            registry,
            waiting,
            running,
            idle,
            activations,
            waits,
            refused,
            tls,
        } = self;
        let s = Unit::Seconds;
        let help = "Requests that wait for a pod";
        registry.register("activator_requests_waiting", help, waiting.clone());
        let help = "Requests that a pod works on for the activator";
        registry.register("activator_requests_running", help, running.clone());
        let help = "Time since a request waited or ran";
        registry.register_with_unit("activator_idle", help, s.clone(), idle.clone());
        let help = "Times that a request found no pod and was the first to wait for one";
        registry.register("activator_activations", help, activations.clone());
        let help = "Time that requests waited for a pod";
        registry.register_with_unit("activator_wait", help, s, waits.clone());
        let help = "Requests that no pod got, by reason";
        registry.register("activator_refusals", help, refused.clone());
        tls.register(registry);
    }

    /// What TLS tells of itself.
    pub fn tls(&self) -> &Arc<TlsMetrics> {
        &self.tls
    }

    /// A request found no pod, and is the first to wait for one.
    pub fn activated(&self) {
        self.activations.inc();
    }

    /// A request waited so long for its pod.
    pub fn waited(&self, wait: Duration) {
        self.waits.observe(wait.as_secs_f64());
    }

    /// A request got no pod.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// The text for a scrape, with the demand of this moment.
    pub fn encode(&self, demand: Demand) -> Result<String, fmt::Error> {
        self.waiting
            .set(i64::try_from(demand.waiting).unwrap_or(i64::MAX));
        self.running
            .set(i64::try_from(demand.running).unwrap_or(i64::MAX));
        self.idle.set(demand.idle_seconds);
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
