//! Kinds of the Prometheus operator, `monitoring.coreos.com/v1`, with the fields that Parlance sets.
//!
//! In: nothing. Out: types. What others put into further fields is not seen here, and left alone by server-side apply.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which pods a Prometheus scrapes.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "monitoring.coreos.com",
    version = "v1",
    kind = "PodMonitor",
    plural = "podmonitors",
    namespaced,
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct PodMonitorSpec {
    /// The pods.
    pub selector: LabelSelector,
    /// Labels of pods that become labels of their metrics.
    pub pod_target_labels: Vec<String>,
    /// Where each pod has its metrics.
    pub pod_metrics_endpoints: Vec<PodMetricsEndpoint>,
}

/// Where a pod has its metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodMetricsEndpoint {
    /// Name of the port.
    pub port: String,
    /// Path of the URL.
    pub path: String,
    /// Time between two scrapes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// `https` where the pod speaks TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// How its certificate is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
}

/// How a certificate is checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsConfig {
    /// Where the authority is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Value>,
    /// Name that the certificate must be for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// That it is not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}

/// Alerts.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "monitoring.coreos.com",
    version = "v1",
    kind = "PrometheusRule",
    plural = "prometheusrules",
    namespaced,
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct PrometheusRuleSpec {
    /// The groups of a file of rules, as Prometheus reads it.
    pub groups: Vec<Value>,
}
