//! How a service's pods are watched: the block `monitoring` of a serving block.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::endpoint::AuthoritySecret;

/// How the pods' metrics reach a Prometheus. Nothing is made that this does not name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Whether pods carry the annotations `prometheus.io/scrape`, `prometheus.io/port` and `prometheus.io/path`, for a Prometheus
    /// that looks for them. Changing it replaces the pods. False when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<bool>,
    /// A PodMonitor, for a Prometheus that the Prometheus operator runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_monitor: Option<PodMonitor>,
    /// A PrometheusRule with the alerts of this service, for a cluster whose operator chart brings none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus_rule: Option<PrometheusRule>,
}

/// A PodMonitor; `{}` is one without labels of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodMonitor {
    /// Labels that the Prometheus selects its PodMonitors by, such as `release: prometheus`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
    /// Time between two scrapes, such as `30s`. The Prometheus's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = r"^[1-9][0-9]*(s|m)$"))]
    pub interval: Option<String>,
    /// Secret with the authority, as PEM, by which the Prometheus checks the certificate of `endpoint.tls`. It is not checked when
    /// left out. Of no use without `endpoint.tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<AuthoritySecret>,
}

/// A PrometheusRule; `{}` is one without labels of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusRule {
    /// Labels that the Prometheus selects its PrometheusRules by, such as `release: prometheus`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
}
