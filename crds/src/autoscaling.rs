//! What decides the number and the size of pods: the blocks `autoscaling` and `verticalPodAutoscaler` of a serving block.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerBehavior;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::quantity_schema;

/// Bounds and targets of the autoscaler. With several targets, the one that asks for most pods counts.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas").message(
        "autoscaling.minReplicas must not be above autoscaling.maxReplicas"
    ),
    validation = Rule::new("has(self.targetCPUUtilization) || has(self.targetMemoryUtilization) || has(self.targetQueuedAudioSeconds)").message(
        "autoscaling needs targetCPUUtilization, targetMemoryUtilization or targetQueuedAudioSeconds"
    ),
    validation = Rule::new("!has(self.keda) || self.minReplicas > 0").message(
        "autoscaling.keda needs autoscaling.minReplicas of 1 or more: Parlance itself scales to and from zero, by the requests that it holds"
    ),
    validation = Rule::new("!has(self.idleAfter) || self.minReplicas == 0").message(
        "autoscaling.idleAfter needs autoscaling.minReplicas: 0"
    ),
    validation = Rule::new("!has(self.idleAfter) || duration(self.idleAfter) >= duration('1s')").message(
        "autoscaling.idleAfter must be at least 1s"
    ),
    validation = Rule::new("!has(self.keda) || has(self.targetQueuedAudioSeconds)").message(
        "autoscaling.keda needs autoscaling.targetQueuedAudioSeconds: CPU and memory are scaled on without KEDA"
    )
)]
pub struct Autoscaling {
    /// Fewest pods. 0: the pods end when no request came for `idleAfter`, and the next request is held until there is a pod again.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 10_000))]
    pub min_replicas: i32,
    /// Most pods.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_replicas: i32,
    /// With `minReplicas: 0`, how long no request may have come before the pods end. `10m` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub idle_after: Option<String>,
    /// CPU use that the autoscaler holds, in percent of the request.
    #[serde(
        rename = "targetCPUUtilization",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 1_000))]
    pub target_cpu_utilization: Option<i32>,
    /// Memory use that the autoscaler holds, in percent of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub target_memory_utilization: Option<i32>,
    /// Seconds of audio that may wait or run in each pod, on the mean of all pods: `parlance_queued_audio_seconds`. It needs a
    /// metrics adapter that serves this metric of pods (`custom.metrics.k8s.io`), or KEDA and the block `keda`. Where the
    /// cluster has neither, the status says so, and the other targets decide; without any, 80 percent of the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub target_queued_audio_seconds: Option<i32>,
    /// A ScaledObject of KEDA in place of the HorizontalPodAutoscaler: KEDA asks Prometheus itself, with no metrics adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keda: Option<Keda>,
    /// How fast to scale, as HorizontalPodAutoscaler has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<HorizontalPodAutoscalerBehavior>,
}

fn one() -> i32 {
    1
}

/// How KEDA learns the seconds of audio that wait.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Keda {
    /// URL of the Prometheus that scrapes the pods, such as `http://prometheus.monitoring.svc:9090`.
    #[schemars(length(max = 2_048), regex(pattern = r"^https?://[^\s@]+$"))]
    pub server_address: String,
    /// PromQL whose one value is the seconds of audio that wait in all pods together. The sum over this object's pods, told by
    /// the labels of its PodMonitor, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4_096))]
    pub query: Option<String>,
    /// A TriggerAuthentication of the namespace, where the Prometheus asks for credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub authentication_ref: Option<String>,
    /// Seconds between two questions. KEDA's own, 30, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3_600))]
    pub polling_interval: Option<i32>,
}

/// A VerticalPodAutoscaler, which sets the pods' requests by what they use.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerticalPodAutoscaler {
    /// What it does with running pods.
    #[serde(default)]
    pub update_mode: UpdateMode,
    /// What it decides. CPU and memory when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub controlled_resources: Vec<ControlledResource>,
    /// The least that it may set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_allowed: Option<Amounts>,
    /// The most that it may set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_allowed: Option<Amounts>,
}

/// What a VerticalPodAutoscaler does with running pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum UpdateMode {
    /// Nothing: it only recommends.
    #[default]
    Off,
    /// It sets requests when a pod is made, and never later.
    Initial,
    /// It evicts pods whose requests should change.
    Recreate,
    /// As the VerticalPodAutoscaler sees fit; today as `Recreate`.
    Auto,
    /// It changes pods in place where the cluster can, and evicts them otherwise.
    InPlaceOrRecreate,
}

/// A resource that a VerticalPodAutoscaler may decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ControlledResource {
    /// CPU.
    Cpu,
    /// Memory.
    Memory,
}

/// Amounts of CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct Amounts {
    /// CPU, such as `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "quantity_schema")]
    pub cpu: Option<Quantity>,
    /// Memory, such as `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "quantity_schema")]
    pub memory: Option<Quantity>,
}
