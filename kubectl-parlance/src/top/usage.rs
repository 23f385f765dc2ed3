//! What pods use of CPU and memory, as metrics-server measured it. Where there is none, nothing is known.

use std::collections::BTreeMap;

use http::Request;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Client;
use operator::quantity::thousandths;
use serde::Deserialize;

/// What one pod uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Thousandths of a CPU.
    pub milli_cpus: i128,
    /// Bytes of memory.
    pub bytes: i128,
}

#[derive(Deserialize)]
struct PodMetricsList {
    items: Vec<PodMetrics>,
}

#[derive(Deserialize)]
struct PodMetrics {
    metadata: Metadata,
    containers: Vec<ContainerMetrics>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
struct ContainerMetrics {
    usage: BTreeMap<String, Quantity>,
}

/// What the pods of a namespace use, by their names; empty where nobody measures, or this user may not know.
pub async fn usage(client: &Client, namespace: &str) -> BTreeMap<String, Usage> {
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
    let Ok(request) = Request::get(path).body(Vec::new()) else {
        return BTreeMap::new();
    };
    match client.request::<PodMetricsList>(request).await {
        Ok(list) => list.items.into_iter().map(of).collect(),
        Err(_) => BTreeMap::new(),
    }
}

fn of(pod: PodMetrics) -> (String, Usage) {
    let sum = |resource: &str| {
        let quantities = pod.containers.iter().filter_map(|one| one.usage.get(resource));
        quantities.filter_map(thousandths).sum::<i128>()
    };
    let usage = Usage {
        milli_cpus: sum("cpu"),
        bytes: sum("memory") / 1000,
    };
    (pod.metadata.name, usage)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_are_added_up() {
        let list = json!({ "items": [{ "metadata": { "name": "calls-1" }, "containers": [
            { "name": "server", "usage": { "cpu": "250100000n", "memory": "92160Ki" } },
            { "name": "sidecar", "usage": { "cpu": "1m", "memory": "1Mi" } },
        ] }] });
        let list: PodMetricsList = serde_json::from_value(list).unwrap();
        let usage: BTreeMap<String, Usage> = list.items.into_iter().map(of).collect();
        let expected = Usage {
            milli_cpus: 252,
            bytes: 91 << 20,
        };
        assert_eq!(usage["calls-1"], expected);
    }
}
