//! What the scheduler would say of a node, as far as labels and taints go, and how affinities are combined.
//!
//! In: parts of a pod, and of a node. Out: whether the node will do; a merged affinity. Pure. Other pods are not looked at:
//! whether anything is free is for `rollout` to say.

use std::collections::BTreeMap;

use crds::placement::Placement;
use crds::serving::Serving;
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinity,
    PodAntiAffinity, PodSpec, Taint, Toleration,
};
use kube::ResourceExt;

use super::gpu;

/// Whether labels meet a requirement.
pub fn holds(requirement: &NodeSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let found = labels.get(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
    let pair = number(found).zip(number(values.first()));
    match requirement.operator.as_str() {
        "In" => found.is_some_and(|found| values.contains(found)),
        "NotIn" => found.is_none_or(|found| !values.contains(found)),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => pair.is_some_and(|(found, bound)| found > bound),
        "Lt" => pair.is_some_and(|(found, bound)| found < bound),
        _ => false,
    }
}

/// Whether a pod may be placed on the node, by its selector, its required node affinity and its tolerations.
pub fn admits(node: &Node, pod: &PodSpec) -> bool {
    let spec = node.spec.clone().unwrap_or_default();
    let labels = node.labels();
    let selected = pod
        .node_selector
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    let affinity = pod
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|nodes| nodes.required_during_scheduling_ignored_during_execution.as_ref());
    let wanted =
        required.is_none_or(|required| required.node_selector_terms.iter().any(|term| meets(node, term)));
    let tolerations = pod.tolerations.as_deref().unwrap_or_default();
    let repelled = spec.taints.iter().flatten().any(|taint| {
        taint.effect != "PreferNoSchedule" && !tolerations.iter().any(|one| tolerates(one, taint))
    });
    !spec.unschedulable.unwrap_or(false) && selected && wanted && !repelled
}

fn meets(node: &Node, term: &NodeSelectorTerm) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    // The only field of nodes that a term may name.
    let of_node = BTreeMap::from([("metadata.name".to_string(), node.name_any())]);
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|one| holds(one, node.labels()))
        && fields.iter().all(|one| holds(one, &of_node))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let any = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
    let effect = any(&toleration.effect) || toleration.effect.as_deref() == Some(&taint.effect);
    let key = any(&toleration.key) || toleration.key.as_deref() == Some(&taint.key);
    let value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        _ => toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default(),
    };
    effect && key && value
}

/// Where a Job on the model of these pods may run: on a volume that one node mounts, only where they may run later, since the Job
/// decides where the volume is. It asks for no GPU itself.
pub fn of_job(serving: &Serving, one_node: bool) -> Placement {
    let mut placement = serving.placement.clone().unwrap_or_default();
    if let Some(gpu) = serving.gpu.as_ref().filter(|_| one_node) {
        let on_gpus = gpu::node_affinity(gpu).map(|nodes| Affinity {
            node_affinity: Some(nodes),
            ..Default::default()
        });
        placement.affinity = both(placement.affinity, on_gpus);
        placement.tolerations.extend(gpu::tolerations(gpu));
    }
    placement
}

/// What both ask for: all that either requires, and the preferences of both.
pub fn both(one: Option<Affinity>, other: Option<Affinity>) -> Option<Affinity> {
    let (one, other) = match (one, other) {
        (Some(one), Some(other)) => (one, other),
        (one, other) => return one.or(other),
    };
    Some(Affinity {
        node_affinity: nodes(one.node_affinity, other.node_affinity),
        pod_affinity: pods(one.pod_affinity, other.pod_affinity),
        pod_anti_affinity: pods(
            one.pod_anti_affinity.map(together),
            other.pod_anti_affinity.map(together),
        )
        .map(apart),
    })
}

/// The same terms, as those of pods that are to be together.
fn together(terms: PodAntiAffinity) -> PodAffinity {
    PodAffinity {
        required_during_scheduling_ignored_during_execution: terms
            .required_during_scheduling_ignored_during_execution,
        preferred_during_scheduling_ignored_during_execution: terms
            .preferred_during_scheduling_ignored_during_execution,
    }
}

/// The same terms, as those of pods that are to be apart.
fn apart(terms: PodAffinity) -> PodAntiAffinity {
    PodAntiAffinity {
        required_during_scheduling_ignored_during_execution: terms
            .required_during_scheduling_ignored_during_execution,
        preferred_during_scheduling_ignored_during_execution: terms
            .preferred_during_scheduling_ignored_during_execution,
    }
}

fn pods(one: Option<PodAffinity>, other: Option<PodAffinity>) -> Option<PodAffinity> {
    let (mut one, other) = match (one, other) {
        (Some(one), Some(other)) => (one, other),
        (one, other) => return one.or(other),
    };
    extend(
        &mut one.required_during_scheduling_ignored_during_execution,
        other.required_during_scheduling_ignored_during_execution,
    );
    extend(
        &mut one.preferred_during_scheduling_ignored_during_execution,
        other.preferred_during_scheduling_ignored_during_execution,
    );
    Some(one)
}

/// Terms are alternatives, so that each of one side is combined with each of the other.
fn nodes(one: Option<NodeAffinity>, other: Option<NodeAffinity>) -> Option<NodeAffinity> {
    let (mut one, other) = match (one, other) {
        (Some(one), Some(other)) => (one, other),
        (one, other) => return one.or(other),
    };
    extend(
        &mut one.preferred_during_scheduling_ignored_during_execution,
        other.preferred_during_scheduling_ignored_during_execution,
    );
    let required = (
        one.required_during_scheduling_ignored_during_execution.take(),
        other.required_during_scheduling_ignored_during_execution,
    );
    one.required_during_scheduling_ignored_during_execution = match required {
        (Some(one), Some(other)) => {
            let with = |term: &NodeSelectorTerm| {
                let term = term.clone();
                other.node_selector_terms.iter().map(move |more| {
                    let mut term = term.clone();
                    extend(&mut term.match_expressions, more.match_expressions.clone());
                    extend(&mut term.match_fields, more.match_fields.clone());
                    term
                })
            };
            Some(NodeSelector {
                node_selector_terms: one.node_selector_terms.iter().flat_map(with).collect(),
            })
        }
        (one, other) => one.or(other),
    };
    Some(one)
}

fn extend<T>(list: &mut Option<Vec<T>>, more: Option<Vec<T>>) {
    match (list.as_mut(), more) {
        (Some(list), Some(more)) => list.extend(more),
        (None, more) => *list = more,
        (Some(_), None) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn object<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn pod(spec: Value) -> PodSpec {
        let mut whole = json!({"containers": []});
        whole
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().unwrap().clone());
        object(whole)
    }

    fn term(key: &str, operator: &str, values: &[&str]) -> Value {
        json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
    }

    fn required(terms: &[Value]) -> Value {
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}})
    }

    #[test]
    fn a_node_will_do_as_the_scheduler_has_it() {
        let node: Node = object(json!({
            "metadata": {"name": "n", "labels": {"zone": "a", "memory": "15360"}},
            "spec": {"taints": [{"key": "gpu", "value": "x", "effect": "NoSchedule"}, {"key": "soft", "effect": "PreferNoSchedule"}]},
        }));
        let tolerant = json!([{"key": "gpu", "operator": "Exists"}]);
        let with = |more: Value| {
            let mut spec = json!({"tolerations": tolerant});
            spec.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            admits(&node, &pod(spec))
        };
        assert!(with(json!({})));
        assert!(!admits(&node, &pod(json!({}))), "the taint");
        assert!(
            !with(json!({"tolerations": [{"key": "gpu", "value": "y"}]})),
            "another value"
        );
        assert!(with(
            json!({"tolerations": [{"key": "gpu", "value": "x", "effect": "NoSchedule"}]})
        ));
        assert!(
            with(json!({"tolerations": [{"operator": "Exists"}]})),
            "everything is tolerated"
        );
        assert!(with(json!({"nodeSelector": {"zone": "a"}})));
        assert!(!with(json!({"nodeSelector": {"zone": "b"}})));
        for (key, operator, values, will_do) in [
            ("zone", "In", &["a", "b"][..], true),
            ("zone", "NotIn", &["a"], false),
            ("other", "NotIn", &["a"], true),
            ("zone", "Exists", &[], true),
            ("zone", "DoesNotExist", &[], false),
            ("memory", "Gt", &["15359"], true),
            ("memory", "Gt", &["15360"], false),
            ("memory", "Lt", &["15361"], true),
            ("zone", "Gt", &["1"], false),
        ] {
            let affinity = required(&[term(key, operator, values)]);
            assert_eq!(
                with(json!({"affinity": affinity})),
                will_do,
                "{key} {operator} {values:?}"
            );
        }
        let either = required(&[term("zone", "In", &["b"]), term("zone", "In", &["a"])]);
        assert!(with(json!({"affinity": either})));
        let mut cordoned = node.clone();
        cordoned.spec.as_mut().unwrap().unschedulable = Some(true);
        assert!(!admits(&cordoned, &pod(json!({"tolerations": tolerant}))));
    }

    #[test]
    fn required_terms_are_combined_and_lists_appended() {
        let ours: Affinity = object(required(&[term("gpu", "In", &["T4"])]));
        let theirs: Affinity = object(json!({
            "nodeAffinity": required(&[term("zone", "In", &["a"]), term("zone", "In", &["b"])])["nodeAffinity"],
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []},
        }));
        let volume: Affinity = object(
            json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname"}]}}),
        );
        let merged = both(both(Some(theirs), Some(volume.clone())), Some(ours.clone())).unwrap();
        let terms = merged
            .node_affinity
            .unwrap()
            .required_during_scheduling_ignored_during_execution
            .unwrap();
        let keys: Vec<Vec<String>> = terms
            .node_selector_terms
            .iter()
            .map(|term| {
                term.match_expressions
                    .iter()
                    .flatten()
                    .map(|one| one.key.clone())
                    .collect()
            })
            .collect();
        assert_eq!(keys, [["zone", "gpu"], ["zone", "gpu"]]);
        assert_eq!(merged.pod_affinity, volume.pod_affinity);
        assert!(merged.pod_anti_affinity.is_some());
        assert_eq!(
            both(None, Some(ours.clone())),
            Some(ours.clone()),
            "alone it is as it was"
        );
        assert_eq!(both(Some(ours.clone()), None), Some(ours));
    }
}
