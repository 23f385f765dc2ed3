//! What a spec asks for and the cluster has no kind for, while pods can serve without it.
//!
//! In: the serving block, and the kinds that the cluster has. Out: a finding for each. Pure.

use std::collections::BTreeSet;

use crds::autoscaling::Autoscaling;
use crds::condition::Reason;
use crds::serving::Serving;

use super::Finding;
use crate::kinds::OptionalKind;

/// What the cluster lacks. `path` leads to the serving block: `spec` or `spec.serving`.
pub fn lacks(serving: &Serving, path: &str, offered: &BTreeSet<OptionalKind>) -> Vec<Finding> {
    let monitoring = serving.monitoring.as_ref();
    let wanted = [
        (
            OptionalKind::PodMonitor,
            "monitoring.podMonitor",
            monitoring.is_some_and(|one| one.pod_monitor.is_some()),
        ),
        (
            OptionalKind::PrometheusRule,
            "monitoring.prometheusRule",
            monitoring.is_some_and(|one| one.prometheus_rule.is_some()),
        ),
    ];
    wanted
        .into_iter()
        .filter(|(kind, _, wanted)| *wanted && !offered.contains(kind))
        .map(|(kind, field, _)| {
            let message = kind.missing(&format!("{path}.{field}"));
            Finding::new(Reason::MonitoringUnavailable, message)
        })
        .chain(scaling(serving, path, offered))
        .collect()
}

/// What autoscalers lack.
fn scaling(serving: &Serving, path: &str, offered: &BTreeSet<OptionalKind>) -> Vec<Finding> {
    let found = |message: String| Finding::new(Reason::AutoscalingUnavailable, message);
    let mut findings = Vec::new();
    if let Some(autoscaling) = &serving.autoscaling
        && autoscaling.target_queued_audio_seconds.is_some()
    {
        let field = format!("{path}.autoscaling.targetQueuedAudioSeconds");
        let metrics = offered.contains(&OptionalKind::PodMetrics);
        let keda = offered.contains(&OptionalKind::ScaledObject);
        let meanwhile = match autoscaling {
            _ if metrics => "the metrics adapter's values decide",
            Autoscaling {
                target_cpu_utilization: None,
                target_memory_utilization: None,
                ..
            } => "80 percent of the CPU decides",
            _ => "the other targets decide",
        };
        match (&autoscaling.keda, keda, metrics) {
            (Some(_), true, _) | (None, _, true) => {}
            (Some(_), false, _) => findings.push(found(format!(
                "{}; until then {meanwhile}",
                OptionalKind::ScaledObject.missing(&format!("{path}.autoscaling.keda"))
            ))),
            (None, keda, false) => {
                let with_keda = if keda {
                    format!("set {path}.autoscaling.keda, as KEDA is there")
                } else {
                    format!("install KEDA and set {path}.autoscaling.keda")
                };
                findings.push(found(format!(
                    "the cluster has no metrics of pods (custom.metrics.k8s.io) for {field}: install {}, or {with_keda}, \
                     or remove the field; until then {meanwhile}",
                    OptionalKind::PodMetrics.provider()
                )));
            }
        }
    }
    let vertical = serving.vertical_pod_autoscaler.is_some();
    if vertical && !offered.contains(&OptionalKind::VerticalPodAutoscaler) {
        let field = format!("{path}.verticalPodAutoscaler");
        findings.push(found(OptionalKind::VerticalPodAutoscaler.missing(&field)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_asked_for_and_missing_is_told() {
        let serving: Serving = serde_json::from_value(
            json!({"monitoring": {"podMonitor": {}, "prometheusRule": {"labels": {"a": "b"}}}}),
        )
        .unwrap();
        let told = |serving: &Serving, offered: &[OptionalKind]| -> Vec<String> {
            let offered = offered.iter().copied().collect();
            let found = lacks(serving, "spec.serving", &offered);
            found.into_iter().map(|one| one.message).collect()
        };
        assert_eq!(told(&serving, &[]).len(), 2);
        let rule_only = told(&serving, &[OptionalKind::PodMonitor]);
        assert_eq!(rule_only.len(), 1);
        assert!(
            rule_only[0].ends_with("or remove spec.serving.monitoring.prometheusRule"),
            "{rule_only:?}"
        );
        assert!(told(&serving, &OptionalKind::ALL).is_empty());
        assert!(told(&Serving::default(), &[]).is_empty());
    }

    #[test]
    fn what_cannot_be_scaled_on_is_told_with_the_ways_out_there_are() {
        let told = |serving: serde_json::Value, offered: &[OptionalKind]| -> String {
            let serving: Serving = serde_json::from_value(serving).unwrap();
            let found = lacks(&serving, "spec", &offered.iter().copied().collect());
            assert!(
                found
                    .iter()
                    .all(|one| one.reason == Reason::AutoscalingUnavailable)
            );
            let messages: Vec<String> = found.into_iter().map(|one| one.message).collect();
            messages.join("|")
        };
        use OptionalKind::{PodMetrics, ScaledObject, VerticalPodAutoscaler};
        let queued = json!({"autoscaling": {"maxReplicas": 3, "targetQueuedAudioSeconds": 60}});
        let nothing = told(queued.clone(), &[]);
        assert!(
            nothing.contains("install KEDA and set spec.autoscaling.keda"),
            "{nothing}"
        );
        assert!(
            nothing.ends_with("until then 80 percent of the CPU decides"),
            "{nothing}"
        );
        let with_keda = told(queued.clone(), &[ScaledObject]);
        assert!(
            with_keda.contains("or set spec.autoscaling.keda, as KEDA is there"),
            "{with_keda}"
        );
        assert_eq!(told(queued, &[PodMetrics]), "");
        let asked = json!({"autoscaling": {"maxReplicas": 3, "targetQueuedAudioSeconds": 60, "targetCPUUtilization": 70,
            "keda": {"serverAddress": "http://p:9090"}}});
        assert_eq!(told(asked.clone(), &[ScaledObject]), "");
        assert_eq!(
            told(asked.clone(), &[]),
            "the cluster has no kind ScaledObject that the operator may use: install KEDA, or remove spec.autoscaling.keda; \
             until then the other targets decide"
        );
        assert!(told(asked, &[PodMetrics]).ends_with("until then the metrics adapter's values decide"));
        let vertical = json!({"verticalPodAutoscaler": {}});
        assert!(told(vertical.clone(), &[]).contains("install the VerticalPodAutoscaler"));
        assert_eq!(told(vertical, &[VerticalPodAutoscaler]), "");
    }
}
