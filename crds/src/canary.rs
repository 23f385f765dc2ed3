//! A canary: a few pods that serve otherwise beside those of a TranscriptionService, to see whether that is well.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::model::Model;
use crate::transcription::Transcription;
use crate::transcription_service::ModelRef;

/// What a few pods do otherwise than the others of the service. Clients reach them by the same address, and so often as their number
/// has it. To promote it, move its fields into the spec and remove the block, in one step.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.modelRef) || has(self.model) || has(self.image) || has(self.transcription)").message(
        "canary must change something: set canary.modelRef, canary.model, canary.image or canary.transcription"
    ),
    validation = Rule::new("!(has(self.modelRef) && has(self.model))").message(
        "canary.modelRef and canary.model cannot both be set: a canary serves one model"
    )
)]
pub struct Canary {
    /// Its pods, in percent of those that the service has without it, rounded up: at least one, and none where the service has none.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 50))]
    pub weight: i32,

    /// A ModelDeployment of the namespace whose model it serves, in place of the service's model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_ref: Option<ModelRef>,

    /// A model of its own, in place of the service's. It has a volume of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,

    /// Image of its server, in place of the service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,

    /// How it transcribes, laid over the service's `transcription`: what is left out here is as it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "over_transcription")]
    pub transcription: Option<Map<String, Value>>,

    /// When it has passed. It serves on without this, until the block goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
}

fn ten() -> i32 {
    10
}

/// When a canary has passed.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.duration) > duration('0s') && duration(self.duration) <= duration('168h')").message(
        "canary.analysis.duration must be above 0s and at most 168h"
    )
)]
pub struct Analysis {
    /// How long all of its pods must serve without a break.
    #[serde(default = "ten_minutes")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub duration: String,

    /// How often containers of its pods may end and be started again, all together. One more, and it has failed.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub max_restarts: i32,
}

fn ten_minutes() -> String {
    "10m".into()
}

/// The schema of `transcription` without what it says of fields that are left out: their values are the service's here, and rules
/// over several fields hold for both together.
fn over_transcription(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = Transcription::json_schema(generator).to_value();
    leave_open(&mut schema);
    schema["nullable"] = json!(true);
    Schema::try_from(schema).unwrap_or_default()
}

fn leave_open(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    for of_absence in ["default", "required", "x-kubernetes-validations"] {
        fields.remove(of_absence);
    }
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    properties
        .into_iter()
        .flat_map(Map::values_mut)
        .for_each(leave_open);
}

/// What has become of a canary.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// Its state in one word.
    pub phase: CanaryPhase,
    /// Why, in one word: the reason of the condition CanaryHealthy.
    pub reason: String,
    /// Why, in a sentence, and what to do.
    pub message: String,
    /// Pods of it that exist.
    #[serde(default)]
    pub replicas: i32,
    /// Pods of it that serve.
    #[serde(default)]
    pub ready_replicas: i32,
    /// sha256 over the files of its model, once verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Since when all of its pods serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving_since: Option<Time>,
    /// Hash of the block and of the model that it names, once there are pods of it: one that has failed stays away until this changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// State of a canary in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum CanaryPhase {
    /// Its pods are being started, or wait for something.
    Progressing,
    /// All of its pods serve.
    Serving,
    /// They have served as long as `analysis` asks for.
    Passed,
    /// It does not serve, and no pod of it is left.
    Failed,
}
