//! Who may reach the pods, and whom they may reach: the block `security` of a serving block.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What fences the pods in.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Security {
    /// A NetworkPolicy for the serving pods; `{}` lets in the pods of the namespace alone. It holds where the cluster's network
    /// plugin enforces NetworkPolicies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
}

/// Who may reach the serving pods. What they may reach follows from the spec: names of DNS, and anything only where the pods
/// download a model themselves.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.allowFrom) || self.allowFrom.all(peer, has(peer.ipBlock) != (has(peer.podSelector) || has(peer.namespaceSelector)))").message(
        "each peer of security.networkPolicy.allowFrom must hold either ipBlock or podSelector and namespaceSelector"
    ),
    validation = Rule::new("!has(self.allowMetricsFrom) || self.allowMetricsFrom.all(peer, has(peer.ipBlock) != (has(peer.podSelector) || has(peer.namespaceSelector)))").message(
        "each peer of security.networkPolicy.allowMetricsFrom must hold either ipBlock or podSelector and namespaceSelector"
    )
)]
pub struct NetworkPolicy {
    /// Peers, as NetworkPolicy has them, that may reach both ports. The pods of the namespace when left out or empty. An Ingress
    /// controller or Gateway is such a peer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow_from: Vec<NetworkPolicyPeer>,
    /// Peers that may reach the port of HTTP too, where the metrics are: the Prometheus. None when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow_metrics_from: Vec<NetworkPolicyPeer>,
}
