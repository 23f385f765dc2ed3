//! Where a model comes from and where it is kept: the parts that both kinds share.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::serving::ImagePullPolicy;

/// A model: its source, its pin and its place in the cluster.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.cache) && (has(self.source.persistentVolumeClaim) || has(self.source.image)))").message(
    "cache cannot be set with source.persistentVolumeClaim or source.image: the model is served from there itself"
))]
pub struct Model {
    /// Where the model's files come from: exactly one source.
    pub source: ModelSource,

    /// Pin over all files of the model, as `parlance-server inspect` prints it. Other bytes are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,

    /// The volume that keeps the verified files. Not with `source.persistentVolumeClaim` and `source.image`, which are such
    /// volumes themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<ModelCache>,
}

/// Where a model's files come from.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.bundled), has(self.huggingFace), has(self.http), has(self.s3), has(self.persistentVolumeClaim), has(self.image)].filter(set, set).size() == 1"
).message(
    "exactly one source must be set: bundled, huggingFace, http, s3, persistentVolumeClaim or image"
))]
pub struct ModelSource {
    /// A model that the server image carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundled: Option<BundledSource>,

    /// A model on Hugging Face's hub, or on a mirror of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hugging_face: Option<HuggingFaceSource>,

    /// A model whose files have URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSource>,

    /// A model in a bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Source>,

    /// A model on a claim that exists in the namespace. It is mounted read-only and served from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimSource>,

    /// A model in an OCI image, which the kubelet mounts read-only as an image volume. Kubernetes 1.35 or newer has them, with a
    /// container runtime that does (containerd 2.1, CRI-O 1.33).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSource>,
}

/// A model that the server image carries.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BundledSource {
    /// Name of the model in the image, such as `whisper-nano-digits`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// A model on Hugging Face's hub, or on a mirror of it. Of the repository's files only those come that a Whisper of the
/// variant needs.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HuggingFaceSource {
    /// The repository, such as `onnx-community/whisper-base`.
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = r"^[A-Za-z0-9][-_.A-Za-z0-9]*(/[A-Za-z0-9][-_.A-Za-z0-9]*)?$")
    )]
    pub repo: String,

    /// Branch, tag or commit. It is resolved to a commit when the model is downloaded, and a volume keeps that commit: to
    /// follow a branch, name its newer commit here.
    #[serde(default = "main_branch")]
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[A-Za-z0-9][-_./A-Za-z0-9]*$"))]
    pub revision: String,

    /// Precision of the graphs, where the repository has several. The first of fp32, fp16, int8, q8 and uint8 that is whole
    /// when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<Variant>,

    /// Secret with the token that opens the repository, for models that are not for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKey>,

    /// Address of a mirror. The hub itself when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500), regex(pattern = r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"))]
    pub endpoint: Option<String>,
}

fn main_branch() -> String {
    "main".into()
}

/// A key of a Secret in the namespace.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key.
    #[serde(default = "token_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._A-Za-z0-9]+$"))]
    pub key: String,
}

fn token_key() -> String {
    "token".into()
}

/// Precision of a model's graphs, by the names that `onnx-community` gives its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats.
    Fp16,
    /// Weights in signed bytes.
    Int8,
    /// 8 bits, signed or not: `_quantized` in the files' names.
    Q8,
    /// Weights in unsigned bytes.
    Uint8,
}

impl Variant {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Variant::Fp32 => "fp32",
            Variant::Fp16 => "fp16",
            Variant::Int8 => "int8",
            Variant::Q8 => "q8",
            Variant::Uint8 => "uint8",
        }
    }
}

/// A model whose files have URLs.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpSource {
    /// All files of the model, each once.
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub files: Vec<HttpFile>,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpFile {
    /// Where it is: an address that begins with `https://` or `http://`. Whoever may read this object may read the address
    /// too, so it should hold no password.
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^\s]+$"))]
    pub url: String,

    /// sha256 of its bytes, as `sha256sum` prints it. Other bytes are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,

    /// Where it belongs in the model, such as `config.json` or `onnx/encoder_model.onnx`.
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = r"^[A-Za-z0-9_][-_.A-Za-z0-9]*(/[A-Za-z0-9_][-_.A-Za-z0-9]*)*$")
    )]
    pub path: String,
}

/// A model in a bucket of Amazon S3, or of a server that speaks its protocol.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Source {
    /// The bucket.
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[A-Za-z0-9][-_.A-Za-z0-9]*$"))]
    pub bucket: String,

    /// Folder of the model in the bucket. The whole bucket when left out.
    #[serde(default)]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.split('/').exists(p, p == '..')").message(
        "prefix must not begin with '/' and must not contain '..'"
    ))]
    pub prefix: String,

    /// Precision of the graphs, where the folder has several. Everything in the folder is the model when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<Variant>,

    /// Address of the server. Amazon's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500), regex(pattern = r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"))]
    pub endpoint: Option<String>,

    /// Region of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[-a-z0-9]+$"))]
    pub region: Option<String>,

    /// Secret with the keys `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, and `AWS_SESSION_TOKEN` where there is one.
    /// Without it the bucket must be open to everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretName>,
}

/// A Secret in the namespace.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A model on an existing claim.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimSource {
    /// Name of the PersistentVolumeClaim.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,

    /// Folder of the model in the volume, relative to its root. The root itself when left out.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.split('/').exists(p, p == '..')").message(
        "path must be relative to the volume's root and must not contain '..'"
    ))]
    pub path: String,
}

/// A model in an OCI image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageSource {
    /// The image, such as `registry.example.com/models/whisper-base@sha256:...`. It is pulled with `imagePullSecrets`, as the
    /// server's image is.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^\s]+$"))]
    pub reference: String,

    /// When the image is pulled. `Always` for the tag `latest` and `IfNotPresent` for others when left out, as Kubernetes has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<ImagePullPolicy>,

    /// Folder of the model in the image. The image's root when left out.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.split('/').exists(p, p == '..')").message(
        "path must be relative to the image's root and must not contain '..'"
    ))]
    pub path: String,
}

/// Where a verified model is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelLocation {
    /// A folder on a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimSource>,
    /// A folder in an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSource>,
    /// Hash of the source that was brought there; absent for a model that was not brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// How far the download of a model is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DownloadStatus {
    /// Bytes that are on the volume.
    pub bytes: i64,
    /// Bytes that there will be, as far as the source says.
    pub total_bytes: i64,
    /// Bytes a second since the download began or went on.
    pub bytes_per_second: i64,
    /// Seconds until it is whole, at that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<i64>,
}

/// The volume that keeps a model's verified files.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)").message(
    "cache.storageClassName cannot be changed: a claim keeps its StorageClass for life"
))]
pub struct ModelCache {
    /// Size of the claim. The profile's size when left out. It may grow, where the StorageClass allows it, and not shrink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("type(self) != string || isQuantity(self)").message("cache.size must be a quantity such as 2Gi"),
        validation = Rule::new("!isQuantity(string(self)) || !isQuantity(string(oldSelf)) || quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0").message(
            "cache.size cannot be made smaller: volumes do not shrink"
        )
    )]
    #[schemars(schema_with = "quantity_schema")]
    pub size: Option<Quantity>,

    /// StorageClass of the claim. The cluster's default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,

    /// How the volume may be mounted. With `ReadWriteOnce` all pods of the service run on one node.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message(
        "cache.accessMode cannot be changed: a claim keeps its access modes for life"
    ))]
    pub access_mode: AccessMode,

    /// What becomes of the volume when the object is deleted.
    #[serde(default)]
    pub reclaim: Reclaim,
}

/// How a volume may be mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AccessMode {
    /// By the pods of one node.
    #[default]
    ReadWriteOnce,
    /// By pods of any node.
    ReadWriteMany,
}

/// What becomes of a volume when its object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Reclaim {
    /// It is deleted too.
    #[default]
    Delete,
    /// It stays, and an object of the same name takes it up again.
    Retain,
}

/// Schema of a quantity, which people write as a string or as a number.
pub(crate) fn quantity_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "x-kubernetes-int-or-string": true, "nullable": true, "maxLength": 32 })
}

/// What a model is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModelFormat {
    /// A Whisper: speech to text.
    #[default]
    Whisper,
    /// Any other ONNX model: tensors in, tensors out.
    Onnx,
}
