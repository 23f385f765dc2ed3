//! The Service in front of the pods.
//!
//! In: the plan. Out: the Service, with a port for gRPC and one for HTTP; and the addresses of a live one.

use crds::serving::EndpointType;
use crds::transcription_service::EndpointStatus;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::WorkloadPlan;
use crate::names::{Component, GRPC_PORT, HTTP_PORT};

/// The Service.
pub fn service(plan: &WorkloadPlan) -> Service {
    let port = |name: &str, number: i32, protocol: &str| ServicePort {
        name: Some(name.into()),
        port: number,
        target_port: Some(IntOrString::String(name.into())),
        protocol: Some("TCP".into()),
        app_protocol: Some(protocol.into()),
        ..Default::default()
    };
    let type_ = match plan.endpoint {
        EndpointType::ClusterIP => "ClusterIP",
        EndpointType::LoadBalancer => "LoadBalancer",
    };
    Service {
        metadata: plan.owner.child(&plan.name, Component::Server),
        spec: Some(ServiceSpec {
            type_: Some(type_.into()),
            selector: Some(plan.owner.selector(Component::Server)),
            ports: Some(vec![
                port("grpc", GRPC_PORT, "kubernetes.io/h2c"),
                port("http", HTTP_PORT, "http"),
            ]),
            ..Default::default()
        }),
        status: None,
    }
}

/// Where clients reach a live Service: at its load balancer when it has one, else by name. The cluster's domain is left out,
/// because only the cluster's DNS knows it.
pub fn endpoint(live: &Service) -> EndpointStatus {
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
    EndpointStatus {
        grpc: format!("{host}:{GRPC_PORT}"),
        http: format!("http://{host}:{HTTP_PORT}"),
    }
}
