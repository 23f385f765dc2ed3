//! How clients reach the pods: the block `endpoint` of a serving block.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How clients reach the pods.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Type of the Service.
    #[serde(rename = "type")]
    pub type_: EndpointType,
    /// TLS on both ports, which then speak nothing else. Setting it replaces the pods; a new certificate does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who is let in. Everybody when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// An Ingress that leads clients from outside to both ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// Routes of the Gateway API that lead clients from outside to both ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
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

/// The certificate that the pods show, and who must show one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretName) != has(self.certManagerIssuerRef)").message(
    "exactly one of endpoint.tls.secretName and endpoint.tls.certManagerIssuerRef must be set"
))]
pub struct Tls {
    /// Secret of the type `kubernetes.io/tls` with the certificate (`tls.crt`) and its key (`tls.key`). Pods wait for it, and take
    /// what it holds later without a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
    /// Issuer of cert-manager that a Certificate is asked of, for the names of the Service and those of `ingress` and `gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_manager_issuer_ref: Option<IssuerRef>,
    /// Secret with the authorities, as PEM, whose clients are let in. Others get health and metrics only.
    #[serde(
        rename = "clientCASecretRef",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub client_ca_secret_ref: Option<AuthoritySecret>,
}

/// An issuer of cert-manager.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// `Issuer` of the namespace, `ClusterIssuer`, or the kind of another project's issuer.
    #[serde(default = "issuer")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// API group of the kind.
    #[serde(default = "cert_manager")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
}

fn issuer() -> String {
    "Issuer".into()
}

fn cert_manager() -> String {
    "cert-manager.io".into()
}

/// A key of a Secret of the namespace that holds certificates of authorities.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthoritySecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key.
    #[serde(default = "authority_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._A-Za-z0-9]+$"))]
    pub key: String,
}

fn authority_key() -> String {
    "ca.crt".into()
}

/// Who is let in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// Secret with the API keys that are let in, one a line, `#` for remarks. Pods take a change without a restart.
    pub api_keys_secret_ref: ApiKeysSecret,
}

/// A key of a Secret of the namespace that holds API keys.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeysSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key.
    #[serde(default = "api_keys_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._A-Za-z0-9]+$"))]
    pub key: String,
}

fn api_keys_key() -> String {
    "api-keys".into()
}

/// Two Ingresses for one host: the calls of gRPC lead to the port of gRPC, everything else to that of HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// Name by which clients reach the service.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub host: String,
    /// IngressClass of the controller. The cluster's default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// Annotations of both Ingresses; they take the place of those that Parlance sets for ingress-nginx.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Secret with the certificate that the controller shows for the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tls_secret_name: Option<String>,
}

/// An HTTPRoute and, with `grpcHostnames`, a GRPCRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.grpcHostnames) || (has(self.hostnames) && !self.grpcHostnames.exists(name, name in self.hostnames))").message(
    "endpoint.gateway.grpcHostnames needs hostnames, and no name may be in both: a listener takes HTTPRoutes or GRPCRoutes for a name; without grpcHostnames the HTTPRoute leads gRPC too"
))]
pub struct Gateway {
    /// Gateways, or their listeners, that the routes belong to.
    #[schemars(length(min = 1, max = 32))]
    pub parent_refs: Vec<ParentRef>,
    /// Names by which clients reach the service. Those of the listeners when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,
    /// Names for gRPC alone, by a GRPCRoute. When left out, gRPC is reached by `hostnames` too: the HTTPRoute tells its calls by
    /// their paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub grpc_hostnames: Vec<String>,
}

/// A Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace. The object's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// One of its listeners. All that allow it when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
    /// The port of its listeners. Any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<i32>,
}
