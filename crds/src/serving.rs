//! How pods serve a model: the block that a TranscriptionService holds at its top and a ModelDeployment in `serving`.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerBehavior;
use k8s_openapi::api::core::v1::{LocalObjectReference, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::monitoring::Monitoring;
use crate::security::Security;

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

    /// How products with the model's weights are computed. `auto`, single precision, when left out. `int8` and `bf16` are faster and
    /// take less memory, at some loss of accuracy; a node that cannot compute them uses single precision.
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
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    Auto,
    /// Single precision.
    F32,
    /// bf16.
    Bf16,
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
    validation = Rule::new("duration(self.chunkOverlap) + duration(self.chunkOverlap) <= duration(self.chunkDuration)").message(
        "transcription.chunkOverlap must be at most half of transcription.chunkDuration"
    ),
    validation = Rule::new("duration(self.chunkDuration) >= duration('5s') && duration(self.chunkDuration) <= duration('30s')").message(
        "transcription.chunkDuration must be between 5s and 30s, the window of Whisper"
    ),
    validation = Rule::new("duration(self.timeout) > duration('0s') && duration(self.maxAudioDuration) > duration('0s')").message(
        "transcription.timeout and transcription.maxAudioDuration must be above 0s"
    ),
    validation = Rule::new("!has(self.longForm) || self.longForm != 'Sequential' || (duration(self.chunkDuration) == duration('30s') && duration(self.chunkOverlap) == duration('1s'))").message(
        "transcription.chunkDuration and transcription.chunkOverlap have no effect with longForm Sequential: leave them out"
    ),
    validation = Rule::new("(has(self.longForm) && self.longForm == 'Sequential') || !(has(self.carryInitialPrompt) || has(self.conditionOnPreviousText))").message(
        "transcription.carryInitialPrompt and transcription.conditionOnPreviousText need longForm Sequential: every chunk gets the initial prompt, and none the text before it"
    ),
    validation = Rule::new("!has(self.temperatures) || self.temperatures.all(t, self.temperatures.exists_one(other, other == t))").message(
        "transcription.temperatures must not hold a number twice: the text would be the same again"
    ),
    validation = Rule::new("!has(self.beamSize) || !has(self.temperatures) || self.temperatures.exists(t, t == 0.0)").message(
        "transcription.beamSize needs a 0 among transcription.temperatures: beams are searched at temperature 0 only"
    ),
    validation = Rule::new("!has(self.compressionRatioThreshold) || !has(self.temperatures) || size(self.temperatures) > 1").message(
        "transcription.compressionRatioThreshold needs two transcription.temperatures or more: with one, nothing is decoded again"
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
    /// How audio longer than 30 s, the window of Whisper, is gone through. `Chunked` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_form: Option<LongForm>,
    /// Length of the windows that long audio is cut into. Of no use to `longForm: Sequential`, whose windows have 30 s.
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[serde(default = "default_chunk_duration")]
    pub chunk_duration: String,
    /// Audio that a window shares with the one before it. Of no use to `longForm: Sequential`.
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[serde(default = "default_chunk_overlap")]
    pub chunk_overlap: String,
    /// What counts as speech; stretches without any are not given to the model. On, with the values below, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vad: Option<Vad>,
    /// Whether words are timed, and segments begin and end with their words. False when left out. It is for gRPC, whose answers
    /// hold segments; HTTP requests ask for words themselves, with `timestamp_granularities[]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word_timestamps: Option<bool>,
    /// Temperatures from 0 to 1, tried one after another until the text of a window is good enough by the thresholds below.
    /// 0, 0.2, 0.4, 0.6, 0.8 and 1 when left out. A single 0 switches the fallback off: the likeliest text stays. An HTTP request
    /// with a `temperature` above 0 gets that one alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 10), inner(range(min = 0, max = 1)))]
    pub temperatures: Vec<f64>,
    /// Beams that are searched at temperature 0. 1, the single likeliest token each time, when left out. The time that decoding
    /// takes grows with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 32))]
    pub beam_size: Option<u32>,
    /// Texts that are drawn at a temperature above 0, of which the likeliest is taken. 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 32))]
    pub best_of: Option<u32>,
    /// Text that compresses better than this repeats itself, and is decoded again at the next temperature: its bytes divided by
    /// its bytes after zlib. 2.4 when left out; 1000 is never reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000))]
    pub compression_ratio_threshold: Option<f64>,
    /// Text whose tokens have a lower mean log-probability than this is unlikely, and is decoded again at the next temperature.
    /// -1 when left out; -100 is never reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -100, max = 0))]
    pub logprob_threshold: Option<f64>,
    /// Probability of no speech, from 0 to 1, above which a window with unlikely text has none. 0.6 when left out; 1 is never
    /// passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub no_speech_threshold: Option<f64>,
    /// Text that comes before the audio, to set names and style; a request's own `prompt` takes its place. Its end is what counts:
    /// it and the hot words have half of the decoder's positions, 223 tokens in Whisper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4_096), regex(pattern = r"^[^\x00]*[^\s\x00][^\x00]*$"))]
    pub initial_prompt: Option<String>,
    /// Whether every window is told the initial prompt, the spec's or the request's, and not only the first. False when left out.
    /// Only with `longForm: Sequential`; chunks are always told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carry_initial_prompt: Option<bool>,
    /// Words that every window is to expect, such as names. They come before the initial prompt, and what does not fit into half of
    /// the decoder's positions is cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4_096), regex(pattern = r"^[^\x00]*[^\s\x00][^\x00]*$"))]
    pub hotwords: Option<String>,
    /// Whether a window is told the text before it. True when left out. Only with `longForm: Sequential`; chunks stand on their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_on_previous_text: Option<bool>,
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
            long_form: None,
            vad: None,
            word_timestamps: None,
            temperatures: Vec::new(),
            beam_size: None,
            best_of: None,
            compression_ratio_threshold: None,
            logprob_threshold: None,
            no_speech_threshold: None,
            initial_prompt: None,
            carry_initial_prompt: None,
            hotwords: None,
            condition_on_previous_text: None,
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

/// How audio longer than 30 s, the window of Whisper, is gone through. `Chunked` when left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum LongForm {
    /// In chunks that end in pauses, each on its own.
    Chunked,
    /// As openai/whisper does it: each window begins at the last timestamp of the one before, and is told its text.
    Sequential,
}

/// What counts as speech (Silero VAD).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.enabled || !(has(self.threshold) || has(self.minSpeech) || has(self.minSilence) || has(self.speechPad))").message(
        "transcription.vad.threshold, minSpeech, minSilence and speechPad have no effect with transcription.vad.enabled false"
    ),
    validation = Rule::new("!has(self.threshold) || self.threshold >= 0.01").message(
        "transcription.vad.threshold must be at least 0.01"
    ),
    validation = Rule::new("(!has(self.minSpeech) || duration(self.minSpeech) <= duration('1h')) && (!has(self.minSilence) || duration(self.minSilence) <= duration('1h')) && (!has(self.speechPad) || duration(self.speechPad) <= duration('1h'))").message(
        "transcription.vad.minSpeech, minSilence and speechPad must be at most 1h"
    )
)]
pub struct Vad {
    /// Whether stretches without speech are left out. Without it the model hears everything.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Probability of speech, from 0.01 to 1, at which a stretch of it begins. 0.35 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    // a whole number is held against whole bounds: the rule has the 0.01
    pub threshold: Option<f64>,
    /// The shortest stretch of speech. 100ms when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub min_speech: Option<String>,
    /// The shortest silence that ends a stretch of speech. 160ms when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub min_silence: Option<String>,
    /// What is added to either end of a stretch of speech. 200ms when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub speech_pad: Option<String>,
}

fn yes() -> bool {
    true
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
