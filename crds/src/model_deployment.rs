//! The kind `ModelDeployment`: one model, verified and kept, and optionally served.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::evaluation::{Evaluation, EvaluationStatus};
use crate::model::{DownloadStatus, Model, ModelFormat, ModelLocation};
use crate::serving::Serving;
use crate::transcription_service::EndpointStatus;

/// That a model of tensors is told nothing about speech, in CEL.
const TENSORS_TRANSCRIPTION: &str = "self.format != 'onnx' || !has(self.serving) || !has(self.serving.transcription) || [self.serving.transcription].all(t, !has(t.longForm) && \
    !has(t.chunkSilence) && \
    !has(t.encoderTail) && \
    !has(t.channels) && \
    !has(t.vad) && \
    !has(t.wordTimestamps) && \
    !has(t.prependedPunctuation) && \
    !has(t.appendedPunctuation) && \
    !has(t.hallucinationSilenceThreshold) && \
    !has(t.temperatures) && \
    !has(t.beamSize) && \
    !has(t.patience) && \
    !has(t.bestOf) && \
    !has(t.lengthPenalty) && \
    !has(t.compressionRatioThreshold) && \
    !has(t.logprobThreshold) && \
    !has(t.noSpeechThreshold) && \
    !has(t.seed) && \
    !has(t.suppressTokens) && \
    !has(t.suppressBlank) && \
    !has(t.maxInitialTimestamp) && \
    !has(t.maxNewTokens) && \
    !has(t.initialPrompt) && \
    !has(t.carryInitialPrompt) && \
    !has(t.hotwords) && \
    !has(t.conditionOnPreviousText) && \
    t.language == 'auto' && \
    t.task == 'transcribe' && \
    duration(t.chunkDuration) == duration('30s') && \
    duration(t.chunkOverlap) == duration('1s') && \
    duration(t.maxAudioDuration) == duration('30m'))";

/// One model: where it comes from, that it is the right bytes, and (optionally) the pods that serve it.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "parlance.dev",
    version = "v1alpha1",
    kind = "ModelDeployment",
    plural = "modeldeployments",
    shortname = "mdl",
    category = "all",
    category = "parlance",
    namespaced,
    derive = "PartialEq",
    status = "ModelDeploymentStatus",
    doc = "A model: where it comes from, that it is the right bytes, and optionally the pods that serve it.",
    scale(
        spec_replicas_path = ".spec.serving.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Size", type_ = "integer", json_path = ".status.sizeBytes"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint.grpc"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.digest", priority = 1),
    printcolumn(name = "Source", type_ = "string", json_path = ".status.source", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 48 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "metadata.name must have at most 48 characters, start with a letter and hold only a-z, 0-9 and '-': child objects are named after it"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.format == oldSelf.format").message(
        "format cannot be changed: clients of the one protocol are not clients of the other; create another ModelDeployment"
    ),
    validation = Rule::new("!has(self.evaluation) || (self.evaluation.metric == 'similarity') == (self.format == 'onnx')").message(
        "evaluation.metric must be wer for format whisper, and similarity for format onnx"
    ),
    validation = Rule::new("self.format != 'onnx' || !has(self.source.bundled)").message(
        "source.bundled holds Whispers only: name another source for format onnx"
    ),
    validation = Rule::new("self.format != 'onnx' || !has(self.serving) || (!has(self.serving.precision) && !(has(self.serving.autoscaling) && has(self.serving.autoscaling.targetQueuedAudioSeconds)))").message(
        "serving.precision and serving.autoscaling.targetQueuedAudioSeconds are for format whisper: leave them out for format onnx"
    ),
    validation = Rule::new("self.format != 'onnx' || !has(self.serving) || !has(self.serving.autoscaling) || self.serving.autoscaling.minReplicas > 0").message(
        "serving.autoscaling.minReplicas: 0 is for format whisper: what holds requests knows no others"
    ),
    validation = Rule::new(TENSORS_TRANSCRIPTION).message(
        "serving.transcription may set only timeout, maxConcurrent and queueLimit for format onnx: the rest is about speech"
    )
)]
pub struct ModelDeploymentSpec {
    /// What the model is. `whisper`, speech to text, by `parlance.v1` and the OpenAI API; `onnx`, any other ONNX model as tensors in,
    /// tensors out, by the Open Inference Protocol v2 (gRPC and HTTP). It cannot be changed.
    #[serde(default)]
    pub format: ModelFormat,

    /// The model.
    #[serde(flatten)]
    pub model: Model,

    /// The gate before the model is served. Without it every verified model is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,

    /// Pods that serve the model. Without it the model rests, for TranscriptionServices to name in `modelRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
}

/// What has become of a ModelDeployment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelDeploymentStatus {
    /// Generation of the spec that the rest of the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The state in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ModelPhase>,
    /// The state in one sentence: what is wrong, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The state in its parts: Ready, Progressing, Degraded, ModelCached, EvaluationPassed (where the spec asks for an evaluation)
    /// and WorkloadAvailable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How far the download of the model is, while one runs and its pod can be asked. It is told every ten seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<DownloadStatus>,
    /// sha256 over the model's files, once verified and, where the spec asks for that, evaluated. This model is or may be served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Where that model is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<ModelLocation>,
    /// URI of the source that the model was downloaded from, its revision resolved. Absent for a model of the image or on a
    /// claim, which is not downloaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Commit of the source, where it has such a thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Bytes of the model's files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// Number of the model's files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// The model that is to take its place, verified and not served: it is being evaluated, or was not good enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// What came of trying the model on samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<EvaluationStatus>,
    /// Where clients reach the serving pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointStatus>,
    /// Serving pods that exist.
    #[serde(default)]
    pub replicas: i32,
    /// Serving pods that serve.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Label selector of the serving pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// A verified model that is not served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// sha256 over its files.
    pub digest: String,
    /// Bytes of its files.
    pub size_bytes: i64,
    /// Number of its files.
    pub files: i64,
    /// URI of the source that it was downloaded from, its revision resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Commit of the source, where it has such a thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// State of a model in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum ModelPhase {
    /// It waits for something outside: a claim, a node, samples, its turn.
    Pending,
    /// Its files are being put on the volume and verified.
    Downloading,
    /// It is being tried on samples.
    Evaluating,
    /// It is verified and rests.
    Available,
    /// Its serving pods are being started or replaced.
    Deploying,
    /// Its serving pods serve.
    Deployed,
    /// It is to be served by no pods: `replicas` is 0.
    Idle,
    /// Something is wrong, and a person must look.
    Failed,
}
