//! Which pods a Prometheus scrapes.
//!
//! In: the plan. Out: a PodMonitor when the plan has one. The pods' labels `parlance.dev/kind` and `parlance.dev/name` become
//! labels of their metrics, by which alerts and dashboards tell services apart.

use super::WorkloadPlan;
use crate::names::{Component, KIND, NAME};
use crate::prometheus_operator::{PodMetricsEndpoint, PodMonitor, PodMonitorSpec};

/// The PodMonitor.
pub fn pod_monitor(plan: &WorkloadPlan) -> Option<PodMonitor> {
    let wanted = plan.monitoring.pod_monitor.as_ref()?;
    Some(PodMonitor {
        metadata: plan
            .owner
            .labelled_child(&plan.name, Component::Server, &wanted.labels),
        spec: PodMonitorSpec {
            selector: plan.owner.label_selector(Component::Server),
            pod_target_labels: vec![KIND.into(), NAME.into()],
            pod_metrics_endpoints: vec![PodMetricsEndpoint {
                port: "http".into(),
                path: "/metrics".into(),
                interval: wanted.interval.clone(),
            }],
        },
    })
}
