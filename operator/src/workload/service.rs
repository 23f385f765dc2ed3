//! The Service in front of the pods.
//!
//! In: the plan. Out: the Service, with a port for gRPC and one for HTTP; and the addresses of a live one and of what leads to it.

use std::collections::BTreeSet;

use crds::endpoint::EndpointType;
use crds::transcription_service::EndpointStatus;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::WorkloadPlan;
use crate::names::{Component, GRPC_PORT, HTTP_PORT};
use crate::resources::Resources;

/// How the Service marks ports that speak TLS.
const TLS: &str = "https";

/// The Service.
pub fn service(plan: &WorkloadPlan) -> Service {
    let type_ = match plan.endpoint.type_ {
        EndpointType::ClusterIP => "ClusterIP",
        EndpointType::LoadBalancer => "LoadBalancer",
    };
    let front = plan.zero.as_ref().is_some_and(|zero| zero.in_front);
    let selected = if front {
        Some(plan.owner.selector(Component::Activator))
    } else {
        plan.all_that_serve().match_labels
    };
    Service {
        metadata: plan.owner.child(&plan.name, Component::Server),
        spec: Some(ServiceSpec {
            type_: Some(type_.into()),
            selector: selected,
            ports: Some(ports(plan)),
            ..Default::default()
        }),
        status: None,
    }
}

/// The ports of every Service in front of pods.
pub fn ports(plan: &WorkloadPlan) -> Vec<ServicePort> {
    let port = |name: &str, number: i32, protocol: &str| ServicePort {
        name: Some(name.into()),
        port: number,
        target_port: Some(IntOrString::String(name.into())),
        protocol: Some("TCP".into()),
        app_protocol: Some(protocol.into()),
        ..Default::default()
    };
    let (of_grpc, of_http) = match plan.endpoint.tls {
        Some(_) => (TLS, TLS),
        None => ("kubernetes.io/h2c", "http"),
    };
    vec![port("grpc", GRPC_PORT, of_grpc), port("http", HTTP_PORT, of_http)]
}

/// Where clients reach a live Service: at its load balancer when it has one, else by name; and the names outside that lead to
/// it. The cluster's domain is left out, because only the cluster's DNS knows it.
pub fn endpoint(live: &Service, hosts: Vec<String>) -> EndpointStatus {
    let name = format!("{}.{}.svc", live.name_any(), live.namespace().unwrap_or_default());
    let balancer = live
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()?.first());
    let outside = ingress.and_then(|ingress| ingress.hostname.clone().or_else(|| ingress.ip.clone()));
    let host = match outside {
        Some(address) if address.contains(':') => format!("[{address}]"),
        Some(address) => address,
        None => name,
    };
    let ports = live.spec.as_ref().and_then(|spec| spec.ports.as_deref());
    let tls = ports
        .unwrap_or_default()
        .iter()
        .any(|port| port.app_protocol.as_deref() == Some(TLS));
    let scheme = if tls { "https" } else { "http" };
    EndpointStatus {
        grpc: format!("{host}:{GRPC_PORT}"),
        http: format!("{scheme}://{host}:{HTTP_PORT}"),
        hosts,
    }
}

/// Names outside the cluster that lead to a Service by the Ingresses and routes beside it.
pub fn hosts<State>(children: &Resources<State>) -> Vec<String> {
    let rules = children
        .ingresses
        .iter()
        .filter_map(|ingress| ingress.spec.as_ref()?.rules.as_ref());
    let of_ingresses = rules.flatten().filter_map(|rule| rule.host.clone());
    let of_routes = children
        .http_routes
        .iter()
        .flat_map(|route| route.spec.hostnames.clone());
    let of_grpc = children
        .grpc_routes
        .iter()
        .flat_map(|route| route.spec.hostnames.clone());
    let all: BTreeSet<String> = of_ingresses.chain(of_routes).chain(of_grpc).collect();
    all.into_iter().collect()
}
