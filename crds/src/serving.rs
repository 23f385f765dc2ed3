//! How pods serve a model: the block that a TranscriptionService holds at its top and a ModelDeployment in `serving`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::autoscaling::{Autoscaling, VerticalPodAutoscaler};
use crate::endpoint::Endpoint;
use crate::monitoring::Monitoring;
use crate::placement::{Gpu, Placement};
use crate::security::Security;
use crate::transcription::Transcription;

/// How pods serve a model.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))").message(
        "replicas and autoscaling cannot both be set: the autoscaler decides the number of pods"
    ),
    validation = Rule::new("!has(self.autoscaling) || self.autoscaling.minReplicas > 0 || !has(self.endpoint) || !has(self.endpoint.tls) || !has(self.endpoint.tls.clientCASecretRef)").message(
        "autoscaling.minReplicas: 0 and endpoint.tls.clientCASecretRef cannot both be set: what holds requests has no certificate of a client for the pods"
    ),
    validation = Rule::new("!has(self.autoscaling) || !has(self.verticalPodAutoscaler) || self.verticalPodAutoscaler.updateMode == 'Off' || !has(self.autoscaling.targetCPUUtilization) || (has(self.verticalPodAutoscaler.controlledResources) && !('cpu' in self.verticalPodAutoscaler.controlledResources))").message(
        "autoscaling.targetCPUUtilization and a verticalPodAutoscaler that sets cpu work against each other: set verticalPodAutoscaler.updateMode to Off, or leave cpu out of its controlledResources"
    ),
    validation = Rule::new("!has(self.autoscaling) || !has(self.verticalPodAutoscaler) || self.verticalPodAutoscaler.updateMode == 'Off' || !has(self.autoscaling.targetMemoryUtilization) || (has(self.verticalPodAutoscaler.controlledResources) && !('memory' in self.verticalPodAutoscaler.controlledResources))").message(
        "autoscaling.targetMemoryUtilization and a verticalPodAutoscaler that sets memory work against each other: set verticalPodAutoscaler.updateMode to Off, or leave memory out of its controlledResources"
    )
)]
pub struct Serving {
    /// Requests, limits and cache size by the size of the model.
    #[serde(default)]
    pub profile: Profile,

    /// Requests and limits of the server, in place of the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Threads for one transcription; 0 takes them from the pod's CPU limit.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0, max = 256))]
    pub threads: u32,

    /// How products with the model's weights are computed. `auto` when left out: the fastest whose scores are near those of single precision
    /// for this model, which the first pod on each kind of node measures; single precision on volumes that are not filled by Parlance, and on
    /// GPUs. `int8`, `int8-bf16` and `bf16` are faster than `f32` and take less memory, at some loss of accuracy; a node that cannot compute
    /// them uses single precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,

    /// Image of the server, in place of the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,

    /// When the kubelet pulls the image; the cluster's rule when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Secrets that open the image's registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// Number of pods. One when neither this nor `autoscaling` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub replicas: Option<i32>,

    /// Lets the load decide the number of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,

    /// Lets the pods' use decide their requests, where the cluster has the VerticalPodAutoscaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertical_pod_autoscaler: Option<VerticalPodAutoscaler>,

    /// GPUs for each pod, and the nodes that have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,

    /// Where pods may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,

    /// How audio is transcribed where a request does not say otherwise, and how much of it is accepted.
    #[serde(default)]
    pub transcription: Transcription,

    /// How clients reach the pods.
    #[serde(default)]
    pub endpoint: Endpoint,

    /// How many pods a drain of nodes may take at once. One when left out, and nothing with a single pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption: Option<Disruption>,

    /// How the pods' metrics reach a Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,

    /// What fences the pods in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,

    /// Anything else of the pods, as a Deployment's `template` has it: merged into the operator's own template, last. Lists are
    /// merged by the keys that the API gives them, such as the name of a container: the server's is `server`, that of the one
    /// that brings the model `model`. The labels by which pods are selected cannot be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub pod_template: Option<Map<String, Value>>,
}

/// Schema of an object with any fields.
fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true })
}

/// Size of the model to serve: sets requests, limits and the size of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Demonstration models of a few million parameters.
    Nano,
    /// Up to Whisper base.
    #[default]
    Small,
    /// Whisper small and medium.
    Medium,
    /// Whisper large.
    Large,
    /// Whisper large-v3-turbo and distilled large models.
    Turbo,
}

/// How products with weights are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// The fastest that is near enough to single precision, by measurement.
    Auto,
    /// Single precision.
    F32,
    /// bf16.
    Bf16,
    /// The decoder in eight bits, the encoder in bf16.
    Int8Bf16,
    /// Eight bits, with a scale for each row and column.
    Int8,
}

/// When the kubelet pulls an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// Before each start.
    Always,
    /// When the node has none.
    IfNotPresent,
    /// Never: the node has it.
    Never,
}

/// Requests and limits of the server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler sets aside, by resource, such as `cpu: 500m`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
    /// What the pod may not exceed, by resource, such as `memory: 1Gi`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
}

/// How many pods a drain of nodes may take at once.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.minAvailable) != has(self.maxUnavailable)").message(
    "exactly one of disruption.minAvailable and disruption.maxUnavailable must be set"
))]
pub struct Disruption {
    /// Pods that must stay, as a number or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_available: Option<IntOrString>,
    /// Pods that may be away, as a number or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
}
