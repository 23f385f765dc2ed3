//! Where pods run, and on which devices: the blocks `gpu` and `placement` of a serving block.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::quantity_schema;

/// GPUs for each pod.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.deviceClassName) && has(self.resourceClaimTemplateName))").message(
        "gpu.deviceClassName and gpu.resourceClaimTemplateName cannot both be set: the template names its own device class"
    ),
    validation = Rule::new("!has(self.resourceClaimTemplateName) || self.count == 1").message(
        "gpu.count cannot be set with gpu.resourceClaimTemplateName: the template says how many devices a pod gets"
    )
)]
pub struct Gpu {
    /// GPUs a pod.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub count: i32,
    /// Extended resource that a device plugin offers. A slice of a GPU (MIG, strategy `mixed`) is one too, such as
    /// `nvidia.com/mig-1g.5gb`.
    #[serde(default = "nvidia_gpu")]
    #[schemars(length(max = 253), regex(pattern = r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$"))]
    pub resource_name: String,
    /// Products that will do, as GPU feature discovery names them in the node label `nvidia.com/gpu.product`. Any when left out.
    /// With `sharing`, the suffix `-SHARED` of shared GPUs is not to be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub products: Vec<String>,
    /// Least memory of each GPU, such as `15Gi`, by the node label `nvidia.com/gpu.memory` of GPU feature discovery. The driver
    /// counts less than the data sheet: a T4 of 16 GB has 15360Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "quantity_schema")]
    pub memory_at_least: Option<Quantity>,
    /// Whether the GPUs may be shared with other pods, by the node label `nvidia.com/gpu.sharing-strategy` of GPU feature
    /// discovery. No rule when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
    /// Whether pods run on nodes that the cloud may take back. No rule when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot: Option<Spot>,
    /// DeviceClass of dynamic resource allocation, such as `gpu.nvidia.com`: each pod claims `count` devices of it, in place of
    /// `resourceName`. The operator makes the ResourceClaimTemplate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub device_class_name: Option<String>,
    /// A ResourceClaimTemplate of the namespace, by which each pod claims its devices, in place of `resourceName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub resource_claim_template_name: Option<String>,
}

impl Gpu {
    /// Whether devices are claimed (dynamic resource allocation) rather than asked for as an extended resource.
    pub fn is_claimed(&self) -> bool {
        self.device_class_name.is_some() || self.resource_claim_template_name.is_some()
    }
}

fn one() -> i32 {
    1
}

fn nvidia_gpu() -> String {
    "nvidia.com/gpu".into()
}

/// Whether a GPU may be shared with other pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Sharing {
    /// Shared or not.
    Any,
    /// Not shared.
    Exclusive,
    /// Shared by turns.
    TimeSliced,
    /// Shared by NVIDIA's Multi-Process Service.
    #[serde(rename = "MPS")]
    Mps,
}

/// Whether pods run on spot nodes, told by the labels of GKE, EKS, AKS and Karpenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Spot {
    /// Not on spot nodes.
    Never,
    /// On spot nodes where there are any.
    Prefer,
    /// On spot nodes only.
    Require,
}

/// Where pods may run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that pods put up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Nodes and pods to be near to or far from, as a pod's `affinity` has it. What `gpu` and the model's volume ask for holds
    /// beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How this object's pods are spread over zones or nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["topologyKey"]))]
    pub topology_spread: Vec<TopologySpread>,
    /// PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// How pods are spread over the values of a node label.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopologySpread {
    /// Node label whose values are filled evenly, such as `topology.kubernetes.io/zone` or `kubernetes.io/hostname`.
    #[schemars(length(min = 1, max = 317))]
    pub topology_key: String,
    /// Most pods that one value may have more than another.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000))]
    pub max_skew: i32,
    /// What becomes of a pod that cannot be placed so.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,
}

/// What becomes of a pod that cannot be spread as wished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum WhenUnsatisfiable {
    /// It runs where it adds least to the skew.
    #[default]
    ScheduleAnyway,
    /// It waits.
    DoNotSchedule,
}
