//! Whether any node has the GPU that is asked for.
//!
//! In: the `gpu` block and the nodes. Out: what is wrong, and which requirement no node meets. Pure. Whether a GPU is free is
//! the scheduler's to say.

use std::collections::BTreeSet;

use crds::condition::Reason;
use crds::placement::Gpu;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::Finding;
use crate::quantity;
use crate::workload::gpu::{MEMORY_LABEL, PRODUCT_LABEL, Requirement, SHARING_LABEL, requirements};

/// That no node has enough GPUs that will do. Nothing is said when the nodes are not known.
pub fn finding(gpu: &Gpu, nodes: Option<&[Node]>) -> Option<Finding> {
    let nodes = nodes?;
    let resource = &gpu.resource_name;
    let wanted = requirements(gpu);
    // What is claimed is not counted by nodes.
    let enough = |node: &&Node| gpu.is_claimed() || allocatable(node, resource) >= i64::from(gpu.count);
    let will_do = |node: &&Node| wanted.iter().all(|one| one.holds(node.labels()));
    if nodes.iter().filter(enough).any(|node| will_do(&node)) || (gpu.is_claimed() && wanted.is_empty()) {
        return None;
    }
    let present: BTreeSet<String> = nodes
        .iter()
        .filter(|node| gpu.is_claimed() || allocatable(node, resource) > 0)
        .map(|node| described(node, gpu))
        .collect();
    let advice = if present.is_empty() {
        format!("no node offers {resource}: add GPU nodes and their device plugin")
    } else {
        let present: Vec<String> = present.into_iter().collect();
        let offered = if gpu.is_claimed() {
            "nodes have"
        } else {
            "nodes offer"
        };
        format!(
            "{offered} {}: add such a node, or change {}",
            present.join(", "),
            fields(gpu, &wanted, nodes)
        )
    };
    let words: String = wanted.iter().map(|one| format!(" {}", one.words)).collect();
    let what = if gpu.is_claimed() {
        format!("no node has a GPU{words}")
    } else {
        format!("no node has {} {resource}{words}", gpu.count)
    };
    Some(Finding::new(
        Reason::NoMatchingGpuNode,
        format!("{what}; {advice}"),
    ))
}

/// The fields of which no node with GPUs meets any one, or all that together are met by none.
fn fields(gpu: &Gpu, wanted: &[Requirement], nodes: &[Node]) -> String {
    let with_any: Vec<&Node> = nodes
        .iter()
        .filter(|node| gpu.is_claimed() || allocatable(node, &gpu.resource_name) > 0)
        .collect();
    let unmet = |one: &&Requirement| !with_any.iter().any(|node| one.holds(node.labels()));
    let mut fields: Vec<&str> = wanted.iter().filter(unmet).map(|one| one.field).collect();
    if fields.is_empty() {
        fields = wanted.iter().map(|one| one.field).collect();
    }
    let few = with_any
        .iter()
        .all(|node| allocatable(node, &gpu.resource_name) < i64::from(gpu.count));
    if !gpu.is_claimed() && (few || fields.is_empty()) {
        fields.push("gpu.count");
    }
    fields.join(" or ")
}

/// What a node offers, in the words of its labels.
fn described(node: &Node, gpu: &Gpu) -> String {
    let label = |name: &str| node.labels().get(name);
    let product = label(PRODUCT_LABEL).map_or("unnamed product", String::as_str);
    let mut described = product.to_string();
    if !gpu.is_claimed() {
        described = format!("{} x {product}", allocatable(node, &gpu.resource_name));
    }
    let mut particulars = Vec::new();
    if gpu.memory_at_least.is_some() {
        particulars.push(label(MEMORY_LABEL).map_or("memory unknown".into(), |memory| format!("{memory}Mi")));
    }
    if gpu.sharing.is_some() {
        let strategy = label(SHARING_LABEL)
            .map(String::as_str)
            .filter(|strategy| *strategy != "none");
        particulars.push(strategy.map_or("not shared".into(), |strategy| format!("shared by {strategy}")));
    }
    if !particulars.is_empty() {
        described += &format!(" ({})", particulars.join(", "));
    }
    described
}

fn allocatable(node: &Node, resource: &str) -> i64 {
    let amounts = node
        .status
        .as_ref()
        .and_then(|status| status.allocatable.as_ref());
    let amount = amounts.and_then(|amounts| quantity::thousandths(amounts.get(resource)?));
    i64::try_from(amount.unwrap_or(0) / 1000).unwrap_or(i64::MAX)
}
