//! What TLS tells of itself in; its metrics out. Where there is no TLS the end of the certificate is no metric at all: 0 would be
//! a certificate that expired in 1970.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::Counter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

/// What is known of the certificate and of handshakes.
#[derive(Debug, Default)]
pub struct TlsMetrics {
    expiry: Expiry,
    failures: Counter,
}

impl TlsMetrics {
    /// Adds both to what is scraped.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.expiry.clone()));
        let help = "TLS handshakes that failed or took too long";
        registry.register("tls_handshake_failures", help, self.failures.clone());
    }

    /// Says until when the certificate is valid.
    pub fn certificate_expires(&self, at: SystemTime) {
        self.expiry.set(at);
    }

    /// Counts a TLS handshake that came to nothing.
    pub fn handshake_failed(&self) {
        self.failures.inc();
    }
}

/// When the certificate is no longer valid; every clone is the same.
#[derive(Clone, Debug, Default)]
struct Expiry(Arc<Mutex<Option<SystemTime>>>);

impl Expiry {
    fn set(&self, at: SystemTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }
}

impl Collector for Expiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(at) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) else {
            return Ok(());
        };
        let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let gauge = ConstGauge::new(since_epoch.as_secs_f64());
        let help = "When the certificate of TLS is no longer valid, since the Unix epoch";
        let unit = Some(&Unit::Seconds);
        gauge.encode(encoder.encode_descriptor(
            "tls_certificate_expiry_timestamp",
            help,
            unit,
            gauge.metric_type(),
        )?)
    }
}
