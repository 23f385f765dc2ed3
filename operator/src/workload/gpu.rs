//! Where pods with GPUs may run.
//!
//! In: the `gpu` block of a spec. Out: node affinity and tolerations. It does not look at nodes: `health` does.

use crds::serving::{Gpu, Spot};
use k8s_openapi::api::core::v1::{
    NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PreferredSchedulingTerm,
    Toleration,
};

/// Node label in which GPU feature discovery names the product.
pub const PRODUCT_LABEL: &str = "nvidia.com/gpu.product";

/// Labels by which clouds and provisioners mark spot nodes.
const SPOT_LABELS: [(&str, &str); 4] = [
    ("cloud.google.com/gke-spot", "true"),
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("karpenter.sh/capacity-type", "spot"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
];

/// Taints that clouds put on spot nodes.
const SPOT_TAINTS: [(&str, &str); 2] = [
    ("cloud.google.com/gke-spot", "true"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
];

/// Nodes that will do; nothing when any will.
pub fn node_affinity(gpu: &Gpu) -> Option<NodeAffinity> {
    let mut always = Vec::new();
    if !gpu.products.is_empty() {
        always.push(requirement(PRODUCT_LABEL, "In", gpu.products.clone()));
    }
    let spot = SPOT_LABELS.map(|(label, value)| (label, vec![value.to_string()]));
    let mut preferred = None;
    // Terms are alternatives; what a term lists must hold together.
    let terms = match gpu.spot {
        None => vec![always],
        Some(Spot::Prefer) => {
            preferred = Some(
                spot.map(|(label, values)| prefer(requirement(label, "In", values)))
                    .to_vec(),
            );
            vec![always]
        }
        Some(Spot::Never) => {
            always.extend(spot.map(|(label, values)| requirement(label, "NotIn", values)));
            vec![always]
        }
        Some(Spot::Require) => {
            let with = |(label, values)| {
                let mut term = always.clone();
                term.push(requirement(label, "In", values));
                term
            };
            spot.map(with).to_vec()
        }
    };
    let terms: Vec<_> = terms
        .into_iter()
        .filter(|term| !term.is_empty())
        .map(term)
        .collect();
    if terms.is_empty() && preferred.is_none() {
        return None;
    }
    Some(NodeAffinity {
        required_during_scheduling_ignored_during_execution: (!terms.is_empty()).then_some(NodeSelector {
            node_selector_terms: terms,
        }),
        preferred_during_scheduling_ignored_during_execution: preferred,
    })
}

/// Taints of GPU nodes, and of spot nodes where those will do.
pub fn tolerations(gpu: &Gpu) -> Vec<Toleration> {
    let mut tolerations = vec![Toleration {
        key: Some(gpu.resource_name.clone()),
        operator: Some("Exists".into()),
        effect: Some("NoSchedule".into()),
        ..Default::default()
    }];
    if matches!(gpu.spot, Some(Spot::Prefer | Spot::Require)) {
        tolerations.extend(SPOT_TAINTS.map(|(key, value)| Toleration {
            key: Some(key.into()),
            operator: Some("Equal".into()),
            value: Some(value.into()),
            effect: Some("NoSchedule".into()),
            ..Default::default()
        }));
    }
    tolerations
}

fn requirement(key: &str, operator: &str, values: Vec<String>) -> NodeSelectorRequirement {
    NodeSelectorRequirement {
        key: key.into(),
        operator: operator.into(),
        values: Some(values),
    }
}

fn term(requirements: Vec<NodeSelectorRequirement>) -> NodeSelectorTerm {
    NodeSelectorTerm {
        match_expressions: Some(requirements),
        ..Default::default()
    }
}

fn prefer(requirement: NodeSelectorRequirement) -> PreferredSchedulingTerm {
    PreferredSchedulingTerm {
        preference: term(vec![requirement]),
        weight: 100,
    }
}
