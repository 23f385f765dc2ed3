//! What Parlance sets in the kinds of KEDA and of the VerticalPodAutoscaler.
//!
//! In: nothing. Out: the two kinds, with the fields that Parlance writes and no others. They hold no behaviour. Whether a cluster
//! has them is for `kinds` to say; what others add to such an object stays, since it is written by server-side apply.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerBehavior;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// What KEDA scales, and by what.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "keda.sh",
    version = "v1alpha1",
    kind = "ScaledObject",
    plural = "scaledobjects",
    namespaced,
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaledObjectSpec {
    /// The Deployment.
    pub scale_target_ref: ScaleTarget,
    /// Fewest pods.
    pub min_replica_count: i32,
    /// Most pods.
    pub max_replica_count: i32,
    /// Seconds between two looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub polling_interval: Option<i32>,
    /// How fast to scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advanced: Option<Advanced>,
    /// What is looked at.
    pub triggers: Vec<Trigger>,
}

/// A Deployment, for KEDA.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScaleTarget {
    /// Its name.
    pub name: String,
}

/// What KEDA hands on to its HorizontalPodAutoscaler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Advanced {
    /// Its fields.
    pub horizontal_pod_autoscaler_config: HpaConfig,
}

/// Fields of KEDA's HorizontalPodAutoscaler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HpaConfig {
    /// How fast to scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<HorizontalPodAutoscalerBehavior>,
}

/// Something that KEDA looks at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Trigger {
    /// What sort of thing.
    #[serde(rename = "type")]
    pub type_: String,
    /// How its value is compared.
    pub metric_type: String,
    /// Where it is, and its target.
    pub metadata: BTreeMap<String, String>,
    /// Credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_ref: Option<AuthenticationRef>,
}

/// A TriggerAuthentication.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthenticationRef {
    /// Its name.
    pub name: String,
}

/// Whose requests are set, and how.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "autoscaling.k8s.io",
    version = "v1",
    kind = "VerticalPodAutoscaler",
    plural = "verticalpodautoscalers",
    namespaced,
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct VerticalPodAutoscalerSpec {
    /// The Deployment.
    pub target_ref: TargetRef,
    /// What becomes of running pods.
    pub update_policy: UpdatePolicy,
    /// What may be set.
    pub resource_policy: ResourcePolicy,
}

/// A workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRef {
    /// Group and version of its kind.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl TargetRef {
    /// A Deployment.
    pub fn deployment(name: &str) -> TargetRef {
        TargetRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            name: name.into(),
        }
    }
}

/// What becomes of running pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdatePolicy {
    /// The mode.
    pub update_mode: String,
}

/// What may be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourcePolicy {
    /// For each container.
    pub container_policies: Vec<ContainerPolicy>,
}

/// What may be set for a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPolicy {
    /// Its name; `*` for all others.
    pub container_name: String,
    /// Whether anything is set.
    pub mode: String,
    /// Which resources are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub controlled_resources: Vec<String>,
    /// The least.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub min_allowed: BTreeMap<String, Quantity>,
    /// The most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub max_allowed: BTreeMap<String, Quantity>,
}
