//! Where a model comes from and where it is kept: the parts that both kinds share.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A model: its source, its pin and its place in the cluster.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.cache) && has(self.source.persistentVolumeClaim))").message(
    "cache cannot be set with source.persistentVolumeClaim: the model is served from that claim itself"
))]
pub struct Model {
    /// Where the model's files come from: exactly one source.
    pub source: ModelSource,

    /// Pin over all files of the model, as `parlance-server inspect` prints it. Other bytes are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,

    /// The volume that keeps the verified files. Not with `source.persistentVolumeClaim`, which is such a volume itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<ModelCache>,
}

/// Where a model's files come from.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.bundled) != has(self.persistentVolumeClaim)").message(
    "exactly one source must be set: bundled or persistentVolumeClaim"
))]
pub struct ModelSource {
    /// A model that the server image carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundled: Option<BundledSource>,

    /// A model on a claim that exists in the namespace. It is mounted read-only and served from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimSource>,
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
