//! What a spec asks for and the cluster has no kind for, while pods can serve without it.
//!
//! In: the serving block, and the kinds that the cluster has. Out: a finding for each. Pure.

use std::collections::BTreeSet;

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
        .collect()
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
}
