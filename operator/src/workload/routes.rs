//! What leads clients from outside to the Service, by a Gateway.
//!
//! In: the plan. Out: an HTTPRoute, and a GRPCRoute where gRPC has names of its own. Without such names the HTTPRoute leads
//! gRPC too: a listener takes only one kind of route for a name.

use super::WorkloadPlan;
use crate::gateway_api::{
    BackendRef, GRPCRoute, GRPCRouteSpec, GrpcRule, HTTPRoute, HTTPRouteSpec, HttpMatch, HttpRule, PathMatch,
    Timeouts,
};
use crate::names::{Component, GRPC_PORT, HTTP_PORT};

/// The HTTPRoute.
pub fn http_route(plan: &WorkloadPlan) -> Option<HTTPRoute> {
    let gateway = plan.endpoint.gateway.as_ref()?;
    let mut rules = vec![http_rule(plan, vec!["/".into()], HTTP_PORT)];
    if gateway.grpc_hostnames.is_empty() {
        let paths = plan.model.grpc_services().map(|service| format!("/{service}"));
        rules.push(http_rule(plan, paths.into(), GRPC_PORT));
    }
    Some(HTTPRoute {
        metadata: plan.owner.child(&plan.name, Component::Server),
        spec: HTTPRouteSpec {
            parent_refs: gateway.parent_refs.clone(),
            hostnames: gateway.hostnames.clone(),
            rules,
        },
        status: None,
    })
}

/// The GRPCRoute.
pub fn grpc_route(plan: &WorkloadPlan) -> Option<GRPCRoute> {
    let gateway = plan.endpoint.gateway.as_ref()?;
    (!gateway.grpc_hostnames.is_empty()).then(|| GRPCRoute {
        metadata: plan.owner.child(&plan.name, Component::Server),
        spec: GRPCRouteSpec {
            parent_refs: gateway.parent_refs.clone(),
            hostnames: gateway.grpc_hostnames.clone(),
            rules: vec![GrpcRule {
                backend_refs: backend(plan, GRPC_PORT),
            }],
        },
        status: None,
    })
}

/// The server bounds the time of a request itself, and a stream lasts as long as its speaker: the Gateway sets no bound.
fn http_rule(plan: &WorkloadPlan, paths: Vec<String>, port: i32) -> HttpRule {
    let by_path = |value: String| HttpMatch {
        path: PathMatch {
            type_: "PathPrefix".into(),
            value,
        },
    };
    HttpRule {
        matches: paths.into_iter().map(by_path).collect(),
        backend_refs: backend(plan, port),
        timeouts: Some(Timeouts { request: "0s".into() }),
    }
}

fn backend(plan: &WorkloadPlan, port: i32) -> Vec<BackendRef> {
    vec![BackendRef {
        name: plan.name.clone(),
        port,
    }]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::OptionalKind;
    use crate::workload::tests::{json, plan};

    #[test]
    fn one_name_for_both_makes_one_route_that_tells_grpc_by_its_paths() {
        let plan = plan(json!({"endpoint": {"gateway": {
            "parentRefs": [{"name": "public", "namespace": "edge", "sectionName": "https", "port": 443}],
            "hostnames": ["speech.example.com"],
        }}}));
        assert_eq!(grpc_route(&plan), None);
        let prefix = |value: &str| json!({"path": {"type": "PathPrefix", "value": value}});
        let leads = |port: i32| json!([{"name": "calls", "port": port}]);
        assert_eq!(
            json(http_route(&plan).unwrap())["spec"],
            json!({
                "parentRefs": [{"name": "public", "namespace": "edge", "sectionName": "https", "port": 443}],
                "hostnames": ["speech.example.com"],
                "rules": [
                    {"matches": [prefix("/")], "backendRefs": leads(8080), "timeouts": {"request": "0s"}},
                    {"matches": [
                        prefix("/parlance.v1.Transcription"), prefix("/grpc.health.v1.Health"),
                        prefix("/grpc.reflection.v1.ServerReflection"), prefix("/grpc.reflection.v1alpha.ServerReflection"),
                    ], "backendRefs": leads(50051), "timeouts": {"request": "0s"}},
                ],
            })
        );
    }

    #[test]
    fn names_of_its_own_give_grpc_a_route_of_its_own() {
        let plan = plan(json!({"endpoint": {"gateway": {
            "parentRefs": [{"name": "public"}], "hostnames": ["speech.example.com"], "grpcHostnames": ["grpc.example.com"],
        }}}));
        assert_eq!(http_route(&plan).unwrap().spec.rules.len(), 1);
        assert_eq!(
            json(grpc_route(&plan).unwrap())["spec"],
            json!({
                "parentRefs": [{"name": "public"}],
                "hostnames": ["grpc.example.com"],
                "rules": [{"backendRefs": [{"name": "calls", "port": 50051}]}],
            })
        );
        assert_eq!(plan.endpoint.hosts(), ["grpc.example.com", "speech.example.com"]);
        let http_only = plan
            .clone()
            .with_kinds(&[OptionalKind::HttpRoute].into())
            .unwrap();
        assert_eq!(grpc_route(&http_only), None);
        assert_eq!(
            http_route(&http_only).unwrap().spec.rules.len(),
            2,
            "what the cluster can hold leads there"
        );
        assert_eq!(http_route(&plan.with_kinds(&[].into()).unwrap()), None);
    }
}
