//! The kind `TranscriptionService`: speech to text as a team asks for it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::canary::{Canary, CanaryStatus};
use crate::model::{DownloadStatus, Model};
use crate::serving::Serving;

/// What a team asks for: a model and how pods serve it.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "parlance.dev",
    version = "v1alpha1",
    kind = "TranscriptionService",
    plural = "transcriptionservices",
    shortname = "tsvc",
    category = "all",
    category = "parlance",
    namespaced,
    derive = "PartialEq",
    status = "TranscriptionServiceStatus",
    doc = "A speech-to-text service: a model, the pods that serve it, and the endpoint that clients call.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Model", type_ = "string", json_path = ".status.model.name"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint.grpc"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Canary", type_ = "string", json_path = ".status.canary.phase", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 48 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "metadata.name must have at most 48 characters, start with a letter and hold only a-z, 0-9 and '-': child objects are named after it"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.modelRef) != has(self.model)").message("exactly one of modelRef and model must be set"),
    validation = Rule::new("!has(self.canary) || !has(self.autoscaling) || self.autoscaling.minReplicas > 0").message(
        "canary needs autoscaling.minReplicas of 1 or more: its share is that of the pods, of which there may be none"
    )
)]
pub struct TranscriptionServiceSpec {
    /// A ModelDeployment of the namespace whose model is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_ref: Option<ModelRef>,

    /// A model of this service's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,

    /// A few pods beside the others that serve otherwise: another model, image or setting is tried on a share of the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,

    /// How pods serve it.
    #[serde(flatten)]
    pub serving: Serving,
}

/// A ModelDeployment of the same namespace.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What has become of a TranscriptionService.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptionServiceStatus {
    /// Generation of the spec that the rest of the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The state in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ServicePhase>,
    /// The state in one sentence: what is wrong, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The state in its parts: Ready, Progressing, Degraded, ModelCached, WorkloadAvailable; and CanaryHealthy where there is
    /// a canary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where clients reach the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointStatus>,
    /// The model that is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelStatus>,
    /// How far the download of the model is, while one runs and its pod can be asked. It is told every ten seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<DownloadStatus>,
    /// What has become of the canary, where the spec asks for one. Its pods are not counted below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStatus>,
    /// Pods that exist.
    #[serde(default)]
    pub replicas: i32,
    /// Pods that serve.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Label selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// State of a service in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum ServicePhase {
    /// It waits for something outside: a model, a volume, a node.
    Pending,
    /// Pods are being started or replaced.
    Deploying,
    /// All pods serve.
    Ready,
    /// No pod is to run: `replicas` is 0.
    Idle,
    /// Something is wrong, and some pods still serve.
    Degraded,
    /// Something is wrong, and nothing serves.
    Failed,
}

/// Where clients reach a service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// gRPC, as host:port.
    pub grpc: String,
    /// HTTP, as a URL.
    pub http: String,
    /// Names outside the cluster that an Ingress or Routes of the Gateway API lead here. Their ports and protocols are those of the
    /// Ingress controller or the Gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// The model that is served.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelStatus {
    /// Its name: the bundled model's, the repository's, the claim's, the ModelDeployment's, or else the service's.
    pub name: String,
    /// sha256 over its files, once verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// URI of the source that it was downloaded from, its revision resolved. Absent for a model that was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}
