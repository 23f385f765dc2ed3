//! Which pods a Prometheus scrapes.
//!
//! In: the plan. Out: a PodMonitor when the plan has one. The pods' labels `parlance.dev/kind` and `parlance.dev/name` become
//! labels of their metrics, by which alerts and dashboards tell services apart.

use crds::endpoint::AuthoritySecret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::WorkloadPlan;
use crate::names::{COMPONENT, Component, KIND, NAME};
use crate::prometheus_operator::{PodMetricsEndpoint, PodMonitor, PodMonitorSpec, TlsConfig};

/// The PodMonitor.
pub fn pod_monitor(plan: &WorkloadPlan) -> Option<PodMonitor> {
    let wanted = plan.monitoring.pod_monitor.as_ref()?;
    Some(PodMonitor {
        metadata: plan
            .owner
            .labelled_child(&plan.name, Component::Server, &wanted.labels),
        spec: PodMonitorSpec {
            selector: scraped(plan),
            pod_target_labels: vec![KIND.into(), NAME.into()],
            pod_metrics_endpoints: vec![PodMetricsEndpoint {
                port: "http".into(),
                path: "/metrics".into(),
                interval: wanted.interval.clone(),
                scheme: plan.endpoint.tls.as_ref().map(|_| "https".into()),
                tls_config: plan
                    .endpoint
                    .tls
                    .as_ref()
                    .map(|_| tls_config(plan, wanted.ca_secret_ref.as_ref())),
            }],
        },
    })
}

/// The pods that serve, and what holds requests for them.
fn scraped(plan: &WorkloadPlan) -> LabelSelector {
    let mut selector = plan.all_that_serve();
    if plan.zero.is_some() {
        let component = selector
            .match_labels
            .as_mut()
            .and_then(|labels| labels.remove(COMPONENT));
        let both = [component, Some(Component::Activator.as_str().into())]
            .into_iter()
            .flatten()
            .collect();
        selector.match_expressions = Some(vec![LabelSelectorRequirement {
            key: COMPONENT.into(),
            operator: "In".into(),
            values: Some(both),
        }]);
    }
    selector
}

/// Pods are asked by their addresses, and their certificate is for the Service's name. Without an authority to check it by it is
/// not checked: whether its own Secret holds one is not known here.
fn tls_config(plan: &WorkloadPlan, authority: Option<&AuthoritySecret>) -> TlsConfig {
    match authority {
        Some(AuthoritySecret { name, key }) => TlsConfig {
            ca: Some(serde_json::json!({"secret": {"name": name, "key": key}})),
            server_name: Some(format!("{}.{}.svc", plan.name, plan.owner.namespace)),
            insecure_skip_verify: None,
        },
        None => TlsConfig {
            insecure_skip_verify: Some(true),
            ..TlsConfig::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::workload::tests::{json, plan};

    fn endpoint(monitor: Value) -> Value {
        let plan =
            plan(json!({"endpoint": {"tls": {"secretName": "a"}}, "monitoring": {"podMonitor": monitor}}));
        json(pod_monitor(&plan).unwrap())["spec"]["podMetricsEndpoints"][0].clone()
    }

    #[test]
    fn what_holds_requests_is_scraped_too() {
        let zero = json!({"minReplicas": 0, "maxReplicas": 1, "targetCPUUtilization": 70});
        let plan = plan(json!({"autoscaling": zero, "monitoring": {"podMonitor": {}}}));
        let selector = json(pod_monitor(&plan).unwrap())["spec"]["selector"].clone();
        let both = json!({"key": COMPONENT, "operator": "In", "values": ["server", "activator"]});
        assert_eq!(selector["matchExpressions"], json!([both]));
        assert_eq!(
            selector["matchLabels"],
            json!({KIND: "TranscriptionService", NAME: "calls"})
        );
    }

    #[test]
    fn pods_that_speak_tls_are_scraped_by_it_and_checked_where_an_authority_is_known() {
        let unchecked = endpoint(json!({}));
        assert_eq!(unchecked["scheme"], "https");
        assert_eq!(unchecked["tlsConfig"], json!({"insecureSkipVerify": true}));
        assert_eq!(
            endpoint(json!({"caSecretRef": {"name": "authority"}}))["tlsConfig"],
            json!({"ca": {"secret": {"name": "authority", "key": "ca.crt"}}, "serverName": "calls.speech.svc"})
        );
    }
}
