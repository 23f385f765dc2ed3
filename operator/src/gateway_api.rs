//! Kinds of the Gateway API, `gateway.networking.k8s.io/v1`, with the fields that Parlance sets and reads.
//!
//! In: nothing. Out: types. What others put into further fields is not seen here, and left alone by server-side apply.

use crds::endpoint::ParentRef;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::cert_manager::Condition;

/// Where requests of HTTP lead.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    plural = "httproutes",
    namespaced,
    schema = "disabled",
    status = "RouteStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct HTTPRouteSpec {
    /// The Gateways that take it.
    pub parent_refs: Vec<ParentRef>,
    /// Names that clients ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// What leads where.
    pub rules: Vec<HttpRule>,
}

/// Which requests lead to which ports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRule {
    /// Any of these.
    pub matches: Vec<HttpMatch>,
    /// Ports of Services.
    pub backend_refs: Vec<BackendRef>,
    /// How long a request may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
}

/// Which requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpMatch {
    /// By their path.
    pub path: PathMatch,
}

/// Which paths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathMatch {
    /// `PathPrefix`: whole elements of the path.
    #[serde(rename = "type")]
    pub type_: String,
    /// How they begin.
    pub value: String,
}

/// How long a request may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeouts {
    /// `0s` for ever.
    pub request: String,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendRef {
    /// The Service.
    pub name: String,
    /// Its port.
    pub port: i32,
}

/// Where calls of gRPC lead.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "GRPCRoute",
    plural = "grpcroutes",
    namespaced,
    schema = "disabled",
    status = "RouteStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct GRPCRouteSpec {
    /// The Gateways that take it.
    pub parent_refs: Vec<ParentRef>,
    /// Names that clients ask for.
    pub hostnames: Vec<String>,
    /// What leads where.
    pub rules: Vec<GrpcRule>,
}

/// Which calls lead to which ports: all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcRule {
    /// Ports of Services.
    pub backend_refs: Vec<BackendRef>,
}

/// What has become of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteStatus {
    /// What each Gateway makes of it.
    pub parents: Vec<ParentStatus>,
}

/// What a Gateway makes of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentStatus {
    /// The Gateway.
    pub parent_ref: ParentRef,
    /// Among them `Accepted` and `ResolvedRefs`.
    pub conditions: Vec<Condition>,
}
