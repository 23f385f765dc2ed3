//! Where pods with GPUs may run, and how they ask for them.
//!
//! In: the `gpu` block of a spec. Out: what is required of a node, node affinity, tolerations, and claims. It does not look at
//! nodes: `health` does, by the same requirements.

use std::collections::BTreeMap;

use crds::placement::{Gpu, Sharing, Spot};
use k8s_openapi::api::core::v1::{
    NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodResourceClaim,
    PreferredSchedulingTerm, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::scheduling;
use crate::quantity;

/// Node label in which GPU feature discovery names the product.
pub const PRODUCT_LABEL: &str = "nvidia.com/gpu.product";
/// Node label with the memory of each GPU, in MiB.
pub const MEMORY_LABEL: &str = "nvidia.com/gpu.memory";
/// Node label that says how its GPUs are shared: `none`, `time-slicing` or `mps`.
pub const SHARING_LABEL: &str = "nvidia.com/gpu.sharing-strategy";
/// What GPU feature discovery adds to the name of a product that is shared.
const SHARED_SUFFIX: &str = "-SHARED";
/// Taint that NVIDIA's and the clouds' own nodes carry, whatever the device plugin calls their slices.
const NVIDIA_TAINT: &str = "nvidia.com/gpu";
/// Name of a pod's claim on its devices.
pub const CLAIM: &str = "gpu";

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

/// One thing that the spec requires of a node's labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    /// The field that asks for it.
    pub field: &'static str,
    /// What it is, after "a GPU".
    pub words: String,
    /// Alternatives, each of which must hold as a whole.
    any_of: Vec<Vec<NodeSelectorRequirement>>,
}

impl Requirement {
    fn new(field: &'static str, words: impl Into<String>, one: NodeSelectorRequirement) -> Requirement {
        Requirement {
            field,
            words: words.into(),
            any_of: vec![vec![one]],
        }
    }

    /// Whether a node with these labels meets it.
    pub fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let all = |term: &Vec<NodeSelectorRequirement>| term.iter().all(|one| scheduling::holds(one, labels));
        self.any_of.iter().any(all)
    }
}

/// Everything that the spec requires of a node's labels.
pub fn requirements(gpu: &Gpu) -> Vec<Requirement> {
    let mut all = Vec::new();
    if !gpu.products.is_empty() {
        let mut products = gpu.products.clone();
        if matches!(
            gpu.sharing,
            Some(Sharing::Any | Sharing::TimeSliced | Sharing::Mps)
        ) {
            products.extend(
                gpu.products
                    .iter()
                    .map(|product| format!("{product}{SHARED_SUFFIX}")),
            );
        }
        let words = format!("of product {}", gpu.products.join(" or "));
        let one = requirement(PRODUCT_LABEL, "In", products);
        all.push(Requirement::new("gpu.products", words, one));
    }
    if let Some(memory) = &gpu.memory_at_least
        && let Some(mebibytes) = mebibytes(memory)
    {
        let words = format!("with at least {} of memory", memory.0);
        let one = requirement(MEMORY_LABEL, "Gt", vec![(mebibytes - 1).to_string()]);
        all.push(Requirement::new("gpu.memoryAtLeast", words, one));
    }
    let shared = |operator: &str, values: &[&str]| {
        requirement(
            SHARING_LABEL,
            operator,
            values.iter().map(ToString::to_string).collect(),
        )
    };
    let sharing = match gpu.sharing {
        None | Some(Sharing::Any) => None,
        Some(Sharing::Exclusive) => Some(("that is not shared", shared("NotIn", &["time-slicing", "mps"]))),
        Some(Sharing::TimeSliced) => {
            Some(("that is shared by time-slicing", shared("In", &["time-slicing"])))
        }
        Some(Sharing::Mps) => Some(("that is shared by MPS", shared("In", &["mps"]))),
    };
    all.extend(sharing.map(|(words, one)| Requirement::new("gpu.sharing", words, one)));
    let spot = SPOT_LABELS.map(|(label, value)| (label, vec![value.to_string()]));
    match gpu.spot {
        None | Some(Spot::Prefer) => {}
        Some(Spot::Never) => all.push(Requirement {
            field: "gpu.spot",
            words: "on a node that is not spot".into(),
            any_of: vec![
                spot.map(|(label, values)| requirement(label, "NotIn", values))
                    .to_vec(),
            ],
        }),
        Some(Spot::Require) => all.push(Requirement {
            field: "gpu.spot",
            words: "on a spot node".into(),
            any_of: spot
                .map(|(label, values)| vec![requirement(label, "In", values)])
                .to_vec(),
        }),
    }
    all
}

/// MiB, rounded up.
pub fn mebibytes(memory: &Quantity) -> Option<i128> {
    const MEBIBYTE: i128 = 1024 * 1024 * 1000;
    let amount = quantity::thousandths(memory).filter(|amount| *amount > 0)?;
    Some((amount + MEBIBYTE - 1) / MEBIBYTE)
}

/// Nodes that will do; nothing when any will.
pub fn node_affinity(gpu: &Gpu) -> Option<NodeAffinity> {
    // Terms are alternatives; what a term lists must hold together.
    let mut terms = vec![Vec::new()];
    for Requirement { any_of, .. } in requirements(gpu) {
        let with = |term: &Vec<NodeSelectorRequirement>| {
            let longer = any_of.iter().map(|one| [term.clone(), one.clone()].concat());
            longer.collect::<Vec<_>>()
        };
        terms = terms.iter().flat_map(with).collect();
    }
    let terms: Vec<_> = terms
        .into_iter()
        .filter(|term| !term.is_empty())
        .map(term)
        .collect();
    let preferred = (gpu.spot == Some(Spot::Prefer)).then(|| {
        SPOT_LABELS
            .map(|(label, value)| prefer(requirement(label, "In", vec![value.to_string()])))
            .to_vec()
    });
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

/// A pod's claim on its devices, by the template that it names or by ours, `own`.
pub fn claim(gpu: &Gpu, own: Option<&str>) -> Option<PodResourceClaim> {
    let template = gpu.resource_claim_template_name.as_deref().or(own)?;
    Some(PodResourceClaim {
        name: CLAIM.into(),
        resource_claim_template_name: Some(template.into()),
        ..Default::default()
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
    // A slice has a name of its own, and its node the usual taint.
    if gpu.resource_name.starts_with("nvidia.com/") && gpu.resource_name != NVIDIA_TAINT {
        tolerations.push(Toleration {
            key: Some(NVIDIA_TAINT.into()),
            ..tolerations[0].clone()
        });
    }
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
