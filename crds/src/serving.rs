//! How pods serve a model: the block that a TranscriptionService holds at its top and a ModelDeployment in `serving`.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerBehavior;
use k8s_openapi::api::core::v1::{LocalObjectReference, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How pods serve a model.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))").message(
    "replicas and autoscaling cannot both be set: the autoscaler decides the number of pods"
))]
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

/// Bounds and targets of the HorizontalPodAutoscaler.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas").message(
        "autoscaling.minReplicas must not be above autoscaling.maxReplicas"
    ),
    validation = Rule::new("has(self.targetCPUUtilization) || has(self.targetMemoryUtilization)").message(
        "autoscaling needs targetCPUUtilization or targetMemoryUtilization"
    )
)]
pub struct Autoscaling {
    /// Fewest pods.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000))]
    pub min_replicas: i32,
    /// Most pods.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_replicas: i32,
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
    /// How fast to scale, as HorizontalPodAutoscaler has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<HorizontalPodAutoscalerBehavior>,
}

fn one() -> i32 {
    1
}

/// GPUs for each pod.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gpu {
    /// GPUs a pod.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub count: i32,
    /// Extended resource that a device plugin offers.
    #[serde(default = "nvidia_gpu")]
    #[schemars(length(max = 253), regex(pattern = r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$"))]
    pub resource_name: String,
    /// Products that will do, as GPU feature discovery names them in the node label `nvidia.com/gpu.product`. Any when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub products: Vec<String>,
    /// Whether pods run on nodes that the cloud may take back. No rule when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot: Option<Spot>,
}

fn nvidia_gpu() -> String {
    "nvidia.com/gpu".into()
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
    /// PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// How audio is transcribed, and how much of it is accepted.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.chunkOverlap) < duration(self.chunkDuration)").message(
        "transcription.chunkOverlap must be shorter than transcription.chunkDuration"
    ),
    validation = Rule::new("duration(self.chunkDuration) >= duration('5s') && duration(self.chunkDuration) <= duration('30s')").message(
        "transcription.chunkDuration must be between 5s and 30s, the window of Whisper"
    ),
    validation = Rule::new("duration(self.timeout) > duration('0s') && duration(self.maxAudioDuration) > duration('0s')").message(
        "transcription.timeout and transcription.maxAudioDuration must be above 0s"
    )
)]
pub struct Transcription {
    /// Language spoken, as a code such as `en`, or `auto` to detect it.
    #[schemars(length(max = 16), regex(pattern = r"^[a-z]{2,3}$|^auto$"))]
    #[serde(default = "default_language")]
    pub language: String,
    /// Whether words are written in their own language or in English.
    #[serde(default)]
    pub task: Task,
    /// Length of the windows that long audio is cut into.
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[serde(default = "default_chunk_duration")]
    pub chunk_duration: String,
    /// Audio that a window shares with the one before it.
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[serde(default = "default_chunk_overlap")]
    pub chunk_overlap: String,
    /// Longest time that a request may take.
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[serde(default = "default_timeout")]
    pub timeout: String,
    /// Longest audio that a request may bring.
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[serde(default = "default_max_audio_duration")]
    pub max_audio_duration: String,
    /// Requests that a pod works on at once.
    #[schemars(with = "i32", range(min = 1, max = 1_024))]
    #[serde(default = "default_max_concurrent")]
    pub max_concurrent: u32,
    /// Requests that a pod lets wait; above it they are refused with RESOURCE_EXHAUSTED.
    #[schemars(with = "i32", range(min = 0, max = 10_000))]
    #[serde(default = "default_queue_limit")]
    pub queue_limit: u32,
}

impl Default for Transcription {
    fn default() -> Self {
        Transcription {
            language: default_language(),
            task: Task::default(),
            chunk_duration: default_chunk_duration(),
            chunk_overlap: default_chunk_overlap(),
            timeout: default_timeout(),
            max_audio_duration: default_max_audio_duration(),
            max_concurrent: default_max_concurrent(),
            queue_limit: default_queue_limit(),
        }
    }
}

fn default_language() -> String {
    "auto".into()
}

fn default_chunk_duration() -> String {
    "30s".into()
}

fn default_chunk_overlap() -> String {
    "1s".into()
}

fn default_timeout() -> String {
    "90s".into()
}

fn default_max_audio_duration() -> String {
    "30m".into()
}

fn default_max_concurrent() -> u32 {
    1
}

fn default_queue_limit() -> u32 {
    16
}

/// What is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// The words in the language that is spoken.
    #[default]
    Transcribe,
    /// The words in English.
    Translate,
}

/// How clients reach the pods.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Type of the Service.
    #[serde(rename = "type")]
    pub type_: EndpointType,
}

/// Type of the Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum EndpointType {
    /// Reached from inside the cluster.
    #[default]
    ClusterIP,
    /// Reached from outside through the cloud's load balancer.
    LoadBalancer,
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
