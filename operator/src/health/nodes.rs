//! Whether any node has the GPU that is asked for.
//!
//! In: the `gpu` block and the nodes. Out: what is wrong. Pure. Whether a GPU is free is the scheduler's to say.

use std::collections::BTreeSet;

use crds::condition::Reason;
use crds::serving::Gpu;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::Finding;
use crate::quantity;
use crate::workload::gpu::PRODUCT_LABEL;

/// That no node has enough GPUs of a product that will do. Nothing is said when the nodes are not known.
pub fn finding(gpu: &Gpu, nodes: Option<&[Node]>) -> Option<Finding> {
    let nodes = nodes?;
    let product = |node: &Node| node.labels().get(PRODUCT_LABEL).cloned();
    let will_do = |node: &&Node| {
        gpu.products.is_empty() || product(node).is_some_and(|product| gpu.products.contains(&product))
    };
    if nodes
        .iter()
        .filter(will_do)
        .any(|node| allocatable(node, &gpu.resource_name) >= i64::from(gpu.count))
    {
        return None;
    }
    let wanted = if gpu.products.is_empty() {
        String::new()
    } else {
        format!(" of product {}", gpu.products.join(" or "))
    };
    let present: BTreeSet<String> = nodes
        .iter()
        .filter(|node| allocatable(node, &gpu.resource_name) > 0)
        .map(|node| {
            let count = allocatable(node, &gpu.resource_name);
            format!(
                "{count} x {}",
                product(node).unwrap_or_else(|| "unnamed product".into())
            )
        })
        .collect();
    let present = if present.is_empty() {
        format!(
            "no node offers {}: add GPU nodes and their device plugin",
            gpu.resource_name
        )
    } else {
        let present: Vec<String> = present.into_iter().collect();
        format!(
            "nodes offer {}: add such a node, or change gpu.products or gpu.count",
            present.join(", ")
        )
    };
    Some(Finding::new(
        Reason::NoMatchingGpuNode,
        format!(
            "no node has {} {}{wanted}; {present}",
            gpu.count, gpu.resource_name
        ),
    ))
}

fn allocatable(node: &Node, resource: &str) -> i64 {
    let amounts = node
        .status
        .as_ref()
        .and_then(|status| status.allocatable.as_ref());
    let amount = amounts.and_then(|amounts| quantity::thousandths(amounts.get(resource)?));
    i64::try_from(amount.unwrap_or(0) / 1000).unwrap_or(i64::MAX)
}
