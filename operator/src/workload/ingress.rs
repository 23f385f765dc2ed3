//! What leads clients from outside to the Service, by an Ingress controller.
//!
//! In: the plan. Out: two Ingresses for one host when the plan has one: the paths of gRPC, and all others. They are two
//! because ingress-nginx takes the protocol of a backend from an annotation of the whole Ingress.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};

use super::WorkloadPlan;
use crate::duration::seconds;
use crate::names::{Component, GRPC_PORT, HTTP_PORT, grpc_ingress};

/// Before the names of ingress-nginx's annotations.
const NGINX: &str = "nginx.ingress.kubernetes.io";

/// The Ingresses.
pub fn ingresses(plan: &WorkloadPlan) -> Vec<Ingress> {
    let Some(wanted) = &plan.endpoint.ingress else {
        return Vec::new();
    };
    let tls = plan.endpoint.tls.is_some();
    let of_http = (plan.name.clone(), HTTP_PORT, if tls { "HTTPS" } else { "HTTP" });
    let of_grpc = (
        grpc_ingress(&plan.name),
        GRPC_PORT,
        if tls { "GRPCS" } else { "GRPC" },
    );
    let grpc_paths = plan
        .model
        .grpc_services()
        .map(|service| format!("/{service}"))
        .to_vec();
    [(of_http, vec!["/".to_string()]), (of_grpc, grpc_paths)]
        .map(|((name, port, protocol), paths)| {
            let mut annotations = usual_annotations(plan, protocol);
            annotations.extend(wanted.annotations.clone());
            let mut metadata = plan.owner.child(&name, Component::Server);
            metadata.annotations = Some(annotations);
            let path = |path: String| HTTPIngressPath {
                path: Some(path),
                path_type: "Prefix".into(),
                backend: backend(&plan.name, port),
            };
            Ingress {
                metadata,
                spec: Some(IngressSpec {
                    ingress_class_name: wanted.class_name.clone(),
                    rules: Some(vec![IngressRule {
                        host: Some(wanted.host.clone()),
                        http: Some(HTTPIngressRuleValue {
                            paths: paths.into_iter().map(path).collect(),
                        }),
                    }]),
                    tls: wanted.tls_secret_name.as_ref().map(|secret| {
                        vec![IngressTLS {
                            hosts: Some(vec![wanted.host.clone()]),
                            secret_name: Some(secret.clone()),
                        }]
                    }),
                    ..Default::default()
                }),
                status: None,
            }
        })
        .into()
}

/// What ingress-nginx must be told, or it speaks the wrong protocol, refuses recordings of more than a megabyte, and cuts off
/// requests after a minute. The server has bounds of its own. Other controllers pass over these.
fn usual_annotations(plan: &WorkloadPlan, protocol: &str) -> BTreeMap<String, String> {
    let patience = (seconds(plan.server.timeout) + 5).to_string();
    [
        ("backend-protocol", protocol),
        ("proxy-body-size", "0"),
        ("proxy-read-timeout", &patience),
        ("proxy-send-timeout", &patience),
    ]
    .map(|(name, value)| (format!("{NGINX}/{name}"), value.to_string()))
    .into()
}

fn backend(service: &str, port: i32) -> IngressBackend {
    IngressBackend {
        service: Some(IngressServiceBackend {
            name: service.into(),
            port: Some(ServiceBackendPort {
                number: Some(port),
                name: None,
            }),
        }),
        resource: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::workload::tests::{json, plan};

    #[test]
    fn the_ingresses_in_full() {
        let plan = plan(json!({"endpoint": {"ingress": {
            "host": "speech.example.com", "className": "nginx", "tlsSecretName": "speech-cert",
            "annotations": {"cert-manager.io/cluster-issuer": "ours", "nginx.ingress.kubernetes.io/proxy-body-size": "10m"},
        }}}));
        let ingresses = ingresses(&plan);
        let expected = |protocol: &str, paths: &[&str], port: i32| {
            let paths: Vec<Value> = paths
                .iter()
                .map(|path| {
                    json!({"path": path, "pathType": "Prefix",
                                   "backend": {"service": {"name": "calls", "port": {"number": port}}}})
                })
                .collect();
            (
                json!({
                    "cert-manager.io/cluster-issuer": "ours",
                    "nginx.ingress.kubernetes.io/backend-protocol": protocol,
                    "nginx.ingress.kubernetes.io/proxy-body-size": "10m",
                    "nginx.ingress.kubernetes.io/proxy-read-timeout": "95",
                    "nginx.ingress.kubernetes.io/proxy-send-timeout": "95",
                }),
                json!({
                    "ingressClassName": "nginx",
                    "rules": [{"host": "speech.example.com", "http": {"paths": paths}}],
                    "tls": [{"hosts": ["speech.example.com"], "secretName": "speech-cert"}],
                }),
            )
        };
        let grpc = [
            "/parlance.v1.Transcription",
            "/grpc.health.v1.Health",
            "/grpc.reflection.v1.ServerReflection",
            "/grpc.reflection.v1alpha.ServerReflection",
        ];
        for (ingress, name, (annotations, spec)) in [
            (&ingresses[0], "calls", expected("HTTP", &["/"], 8080)),
            (&ingresses[1], "calls-grpc", expected("GRPC", &grpc, 50051)),
        ] {
            let ingress = json(ingress);
            assert_eq!(ingress["metadata"]["name"], name);
            assert_eq!(ingress["metadata"]["annotations"], annotations);
            assert_eq!(ingress["spec"], spec);
        }
    }

    #[test]
    fn pods_that_speak_tls_are_asked_by_it() {
        let plan =
            plan(json!({"endpoint": {"ingress": {"host": "a.example.com"}, "tls": {"secretName": "a"}}}));
        let protocols: Vec<String> = ingresses(&plan)
            .into_iter()
            .map(|one| {
                one.metadata.annotations.unwrap()["nginx.ingress.kubernetes.io/backend-protocol"].clone()
            })
            .collect();
        assert_eq!(protocols, ["HTTPS", "GRPCS"]);
        assert_eq!(plan.endpoint.hosts(), ["a.example.com"]);
    }

    #[test]
    fn the_paths_are_the_services_of_the_servers_own_interface() {
        let interface = include_str!("../../../inference-server/proto/parlance/v1/transcription.proto");
        assert!(interface.contains("package parlance.v1;") && interface.contains("service Transcription "));
        let services = interface.lines().filter(|line| line.starts_with("service "));
        assert_eq!(services.count(), 1, "a further service needs a path of its own");
    }
}
