//! The alerts of one service.
//!
//! In: the plan. Out: a PrometheusRule when the plan has one. The alerts are those of the chart (`charts/parlance/rules`), which
//! are for every service at once: here each selector names this service alone.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::WorkloadPlan;
use crate::names::{Component, Owner};
use crate::prometheus_operator::{PrometheusRule, PrometheusRuleSpec};

/// The alerts of all services, as a file of rules.
const RULES: &str = include_str!("../../../charts/parlance/rules/services.yaml");

/// What stands in the file for "every service".
const EVERY: &str = r#"parlance_dev_name=~".+""#;

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Value>,
}

/// The file, read once. That it can be read is tested.
static GROUPS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    serde_yaml::from_str::<Rules>(RULES)
        .map(|rules| rules.groups)
        .unwrap_or_default()
});

/// The PrometheusRule.
pub fn prometheus_rule(plan: &WorkloadPlan) -> Option<PrometheusRule> {
    let wanted = plan.monitoring.prometheus_rule.as_ref()?;
    Some(PrometheusRule {
        metadata: plan
            .owner
            .labelled_child(&plan.name, Component::Server, &wanted.labels),
        spec: PrometheusRuleSpec {
            groups: groups(&plan.owner),
        },
    })
}

/// The groups for one service. Its kind, name and namespace hold no character that PromQL would read otherwise.
fn groups(owner: &Owner) -> Vec<Value> {
    let Owner {
        kind,
        namespace,
        name,
        uid: _,
    } = owner;
    let this = format!(
        r#"namespace="{namespace}",parlance_dev_kind="{}",parlance_dev_name="{name}""#,
        kind.as_str()
    );
    let mut groups = GROUPS.clone();
    for rule in groups
        .iter_mut()
        .flat_map(|group| group["rules"].as_array_mut())
        .flatten()
    {
        let expression = rule["expr"].as_str().map(|text| text.replace(EVERY, &this));
        rule["expr"] = expression.into();
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::tests::owner;

    #[test]
    fn every_alert_of_the_file_is_for_this_service_alone() {
        let groups = groups(&owner());
        let rules: Vec<&Value> = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap())
            .collect();
        assert!(rules.len() >= 5, "{rules:?}");
        for rule in rules {
            let expression = rule["expr"].as_str().unwrap();
            assert!(!expression.contains("parlance_dev_name=~"), "{expression}");
            let selectors = expression
                .split('{')
                .skip(1)
                .filter(|selector| selector.contains('}'));
            for selector in selectors {
                assert!(
                    selector.contains(
                        r#"namespace="speech",parlance_dev_kind="TranscriptionService",parlance_dev_name="calls""#
                    ),
                    "{selector}"
                );
            }
        }
    }
}
