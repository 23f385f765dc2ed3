//! The end of the certificate of TLS in; a gauge out, or no metric at all where there is no TLS: 0 would be a certificate that
//! expired in 1970.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
    registry::Unit,
};

/// When the certificate is no longer valid; every clone is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Expiry(Arc<Mutex<Option<SystemTime>>>);

impl Expiry {
    pub(super) fn set(&self, at: SystemTime) {
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
