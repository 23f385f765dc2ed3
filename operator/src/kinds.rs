//! Kinds that a cluster may lack, because other projects bring them: which of them this cluster has.
//!
//! In: a client. Out: the kinds that the apiserver serves now. It is asked when somebody wants to know, and its answer is
//! remembered for a while. What follows from a missing kind is not decided here. A further kind of this sort is one more
//! variant of [`OptionalKind`].

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kube::Client;

/// How long a group is taken to be as it was.
const REMEMBERED: Duration = Duration::from_secs(300);
/// How long a group is taken to be missing: it may be installed any moment, and people wait for that.
const MISSING: Duration = Duration::from_secs(15);

/// A kind that a cluster may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OptionalKind {
    /// `PodMonitor` of the Prometheus operator.
    PodMonitor,
    /// `PrometheusRule` of the Prometheus operator.
    PrometheusRule,
    /// `ScaledObject` of KEDA.
    ScaledObject,
    /// `VerticalPodAutoscaler` of the autoscaler project.
    VerticalPodAutoscaler,
    /// `ResourceClaimTemplate` of Kubernetes itself, where dynamic resource allocation is on.
    ResourceClaimTemplate,
    /// Not a kind to make objects of, but the API by which autoscalers learn metrics of pods. A metrics adapter serves it.
    PodMetrics,
    /// `Certificate` of cert-manager.
    Certificate,
    /// `HTTPRoute` of the Gateway API.
    HttpRoute,
    /// `GRPCRoute` of the Gateway API.
    GrpcRoute,
}

impl OptionalKind {
    /// All of them.
    pub const ALL: [OptionalKind; 9] = [
        OptionalKind::PodMonitor,
        OptionalKind::PrometheusRule,
        OptionalKind::ScaledObject,
        OptionalKind::VerticalPodAutoscaler,
        OptionalKind::ResourceClaimTemplate,
        OptionalKind::PodMetrics,
        OptionalKind::Certificate,
        OptionalKind::HttpRoute,
        OptionalKind::GrpcRoute,
    ];

    /// Group and version.
    pub fn api_version(self) -> &'static str {
        match self {
            OptionalKind::PodMonitor | OptionalKind::PrometheusRule => "monitoring.coreos.com/v1",
            OptionalKind::ScaledObject => "keda.sh/v1alpha1",
            OptionalKind::VerticalPodAutoscaler => "autoscaling.k8s.io/v1",
            OptionalKind::ResourceClaimTemplate => "resource.k8s.io/v1",
            OptionalKind::PodMetrics => "custom.metrics.k8s.io/v1beta2",
            OptionalKind::Certificate => "cert-manager.io/v1",
            OptionalKind::HttpRoute | OptionalKind::GrpcRoute => "gateway.networking.k8s.io/v1",
        }
    }

    /// The kind as the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            OptionalKind::PodMonitor => "PodMonitor",
            OptionalKind::PrometheusRule => "PrometheusRule",
            OptionalKind::ScaledObject => "ScaledObject",
            OptionalKind::VerticalPodAutoscaler => "VerticalPodAutoscaler",
            OptionalKind::ResourceClaimTemplate => "ResourceClaimTemplate",
            OptionalKind::PodMetrics => "MetricValueList",
            OptionalKind::Certificate => "Certificate",
            OptionalKind::HttpRoute => "HTTPRoute",
            OptionalKind::GrpcRoute => "GRPCRoute",
        }
    }

    /// What brings the kind.
    pub fn provider(self) -> &'static str {
        match self {
            OptionalKind::PodMonitor | OptionalKind::PrometheusRule => "the Prometheus operator",
            OptionalKind::ScaledObject => "KEDA",
            OptionalKind::VerticalPodAutoscaler => "the VerticalPodAutoscaler",
            OptionalKind::ResourceClaimTemplate => "Kubernetes 1.34 or later",
            OptionalKind::PodMetrics => "a metrics adapter such as prometheus-adapter",
            OptionalKind::Certificate => "cert-manager",
            OptionalKind::HttpRoute | OptionalKind::GrpcRoute => "the Gateway API",
        }
    }

    /// What to tell a person whose `field` asks for the kind where the cluster does not have it.
    pub fn missing(self, field: &str) -> String {
        format!(
            "the cluster has no kind {} that the operator may use: install {}, or remove {field}",
            self.as_str(),
            self.provider()
        )
    }
}

/// What the apiserver was last known to serve.
#[derive(Default)]
pub struct Kinds {
    groups: Mutex<HashMap<&'static str, (Instant, BTreeSet<String>)>>,
}

impl Kinds {
    /// The kinds that the cluster has.
    ///
    /// # Errors
    /// When the apiserver cannot be asked.
    pub async fn offered(&self, client: &Client) -> Result<BTreeSet<OptionalKind>, kube::Error> {
        let mut offered = BTreeSet::new();
        for kind in OptionalKind::ALL {
            if self.has(client, kind).await? {
                offered.insert(kind);
            }
        }
        Ok(offered)
    }

    /// Whether the cluster has the kind.
    ///
    /// # Errors
    /// When the apiserver cannot be asked.
    pub async fn has(&self, client: &Client, kind: OptionalKind) -> Result<bool, kube::Error> {
        let group = kind.api_version();
        if let Some(known) = self.remembered(group, kind) {
            return Ok(known);
        }
        let mut kinds = kinds_of(client, group).await?;
        if kind == OptionalKind::PodMetrics && kinds.is_none() {
            kinds = kinds_of(client, OLDER_POD_METRICS).await?;
        }
        // Before the first pod has any metric, an adapter serves the API without one.
        let empty = kind == OptionalKind::PodMetrics && kinds.is_some();
        let mut kinds = kinds.unwrap_or_default();
        kinds.extend(empty.then(|| kind.as_str().to_string()));
        let has = kinds.contains(kind.as_str());
        self.groups().insert(group, (Instant::now(), kinds));
        Ok(has)
    }

    /// Asks again the next time: a call found the kind missing that was there before.
    pub fn forget(&self, kind: OptionalKind) {
        self.groups().remove(kind.api_version());
    }

    fn remembered(&self, group: &str, kind: OptionalKind) -> Option<bool> {
        let groups = self.groups();
        let (asked, kinds) = groups.get(group)?;
        let has = kinds.contains(kind.as_str());
        let valid = if has { REMEMBERED } else { MISSING };
        (asked.elapsed() < valid).then_some(has)
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<&'static str, (Instant, BTreeSet<String>)>> {
        self.groups
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The version of [`OptionalKind::PodMetrics`] that adapters served first.
const OLDER_POD_METRICS: &str = "custom.metrics.k8s.io/v1beta1";

/// The kinds of a group and version; nothing where it is not served. One that another server should answer for, and does not,
/// counts as missing: no service is to wait for that.
async fn kinds_of(client: &Client, group: &str) -> Result<Option<BTreeSet<String>>, kube::Error> {
    match client.list_api_group_resources(group).await {
        Ok(list) => Ok(Some(
            list.resources.into_iter().map(|resource| resource.kind).collect(),
        )),
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 503) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_kind_is_told_with_two_ways_out() {
        assert_eq!(
            OptionalKind::PodMonitor.missing("spec.monitoring.podMonitor"),
            "the cluster has no kind PodMonitor that the operator may use: install the Prometheus operator, or remove spec.monitoring.podMonitor"
        );
    }

    #[test]
    fn what_is_there_is_remembered_longer_than_what_is_missing() {
        let kinds = Kinds::default();
        let Some(then) = Instant::now().checked_sub(MISSING * 2) else {
            return; // this machine has just been started
        };
        let served = BTreeSet::from(["PodMonitor".to_string()]);
        kinds.groups().insert("monitoring.coreos.com/v1", (then, served));
        let group = OptionalKind::PodMonitor.api_version();
        assert_eq!(kinds.remembered(group, OptionalKind::PodMonitor), Some(true));
        assert_eq!(kinds.remembered(group, OptionalKind::PrometheusRule), None);
        kinds.forget(OptionalKind::PodMonitor);
        assert_eq!(kinds.remembered(group, OptionalKind::PodMonitor), None);
    }
}
