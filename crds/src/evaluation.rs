//! The gate before a model is served: what it is tried on, how good it must be, and what came of that.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ClaimSource;

/// The gate before a model is served: it is tried on samples, and served only when it is good enough. A model that changes is
/// tried before it replaces the one that is served; that one goes on being served meanwhile, and when the new one fails.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.threshold) || self.metric == 'similarity'").message(
        "evaluation.threshold must be set for the metric wer, such as 0.15"
    ),
    validation = Rule::new("self.metric != 'similarity' || !has(self.samples.bundled)").message(
        "evaluation.samples.bundled holds recordings: name a configMap or a persistentVolumeClaim with tensors for the metric similarity"
    )
)]
pub struct Evaluation {
    /// What the model is tried on.
    pub samples: Samples,

    /// How it is measured how good the model is.
    #[serde(default)]
    pub metric: Metric,

    /// The worst value that is good enough, from 0 to 1. For `wer` 0.15 means that of a hundred words at most fifteen are wrong,
    /// missing or too many. For `similarity` it is the least that is good enough, 0.85 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub threshold: Option<f64>,
}

/// How it is measured how good a model is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Word error rate over all samples, after case, punctuation and symbols are made alike.
    #[default]
    Wer,
    /// Mean cosine similarity between the outputs that are expected and those that the model gives.
    Similarity,
}

impl Metric {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Metric::Wer => "wer",
            Metric::Similarity => "similarity",
        }
    }
}

/// Recordings, and the words that are spoken in them: for each recording a text of the same name (`a.wav` and `a.txt`), or a file
/// `samples.jsonl` with a line `{"file": "a.wav", "text": "what is said"}` for each. For the metric `similarity` tensors instead, as
/// `numpy.savez` writes them: for each sample one file with the inputs by name and one with the outputs that are expected of them
/// (`a.inputs.npz` and `a.outputs.npz`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.configMap), has(self.persistentVolumeClaim), has(self.bundled)].filter(set, set).size() == 1"
).message(
    "exactly one of evaluation.samples.configMap, persistentVolumeClaim and bundled must be set"
))]
pub struct Samples {
    /// A ConfigMap of the namespace, with recordings in `binaryData`: at most 1 MiB in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<SamplesConfigMap>,

    /// A folder on a claim that exists in the namespace. It is mounted read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimSource>,

    /// The samples of `whisper-nano-digits`, which the server image carries: spoken English digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundled: Option<BundledSamples>,
}

/// A ConfigMap with samples.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SamplesConfigMap {
    /// Its name. What it holds is looked at when the model is tried: other samples are another ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The samples of the server image.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct BundledSamples {}

/// What came of trying a model.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvaluationStatus {
    /// Digest of the model that was tried.
    pub digest: String,
    /// How it was measured.
    pub metric: String,
    /// The value, rounded to four places.
    pub value: f64,
    /// The worst value that is good enough.
    pub threshold: f64,
    /// Whether the model is good enough.
    pub passed: bool,
    /// Number of samples.
    pub samples: i64,
    /// Samples with errors, or less alike than the threshold, the worst first; ten at most, their texts cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<FailingSample>,
    /// When that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Hash of the model and of `spec.evaluation`: when it would be another, the model is tried anew.
    pub of: String,
}

/// A sample that is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailingSample {
    /// Its name.
    pub name: String,
    /// What is said in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What the model heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<String>,
    /// Words that are wrong, missing or too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<i64>,
    /// The output of the model that is least alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// How alike its outputs are to those that are expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f64>,
}
