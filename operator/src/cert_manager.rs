//! The kind of cert-manager, `cert-manager.io/v1`, with the fields that Parlance sets and reads.
//!
//! In: nothing. Out: types. What others put into further fields is not seen here, and left alone by server-side apply.

use crds::endpoint::IssuerRef;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// A certificate that cert-manager keeps in a Secret, and renews.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cert-manager.io",
    version = "v1",
    kind = "Certificate",
    plural = "certificates",
    namespaced,
    schema = "disabled",
    status = "CertificateStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSpec {
    /// The Secret.
    pub secret_name: String,
    /// Names that the certificate is for.
    #[serde(default)]
    pub dns_names: Vec<String>,
    /// Who signs it.
    pub issuer_ref: IssuerRef,
    /// What it may be used for.
    #[serde(default)]
    pub usages: Vec<String>,
}

/// What has become of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateStatus {
    /// Among them `Ready`.
    pub conditions: Vec<Condition>,
}

/// A condition, without its times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// In a sentence.
    pub message: String,
}
