//! `spec.endpoint` and `spec.security` against the apiserver in memory, with and without the kinds of cert-manager and the
//! Gateway API. The apiserver in memory ends the test when it is asked for a Secret.

use std::sync::Arc;

use operator::context::Context;
use serde_json::{Value, json};

use crate::transcription_service::serve;
use crate::{Scenario, apiserver};

fn with(endpoint: Value, security: Value) -> Value {
    json!({
        "model": {"source": {"bundled": {"name": "whisper-nano-digits"}}}, "profile": "nano",
        "endpoint": endpoint, "security": security,
    })
}

fn issued() -> Value {
    with(
        json!({"tls": {"certManagerIssuerRef": {"name": "ours"}}}),
        Value::Null,
    )
}

fn everything() -> Value {
    with(
        json!({
            "tls": {"certManagerIssuerRef": {"name": "ours"}}, "auth": {"apiKeysSecretRef": {"name": "keys"}},
            "ingress": {"host": "a.example.com"},
            "gateway": {"parentRefs": [{"name": "g"}], "hostnames": ["b.example.com"], "grpcHostnames": ["c.example.com"]},
        }),
        json!({"networkPolicy": {}}),
    )
}

fn offer_all(scenario: &Scenario) {
    let mut world = scenario.world();
    world
        .offered
        .insert("cert-manager.io/v1".into(), vec!["Certificate".into()]);
    let routes = ["HTTPRoute", "GRPCRoute"].map(String::from).to_vec();
    world
        .offered
        .insert("gateway.networking.k8s.io/v1".into(), routes);
}

fn status(scenario: &Scenario) -> Value {
    scenario.world().get("transcriptionservices", "calls")["status"].clone()
}

#[tokio::test]
async fn every_child_is_made_what_pods_need_before_them_and_what_leads_to_them_after() {
    let scenario = Scenario::with_service(everything());
    offer_all(&scenario);
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.world().take_writes(),
        [
            "PATCH serviceaccounts/calls",
            "PATCH persistentvolumeclaims/calls-cache",
            "PATCH services/calls",
            "PATCH networkpolicies/calls",
            "PATCH certificates/calls-tls",
            "PATCH deployments/calls",
            "PATCH ingresses/calls",
            "PATCH ingresses/calls-grpc",
            "PATCH httproutes/calls",
            "PATCH grpcroutes/calls",
            "PATCH transcriptionservices/calls/status",
        ]
    );
    serve(&scenario, 1);
    scenario.reconcile_service().await.unwrap();
    let endpoint = status(&scenario)["endpoint"].clone();
    assert_eq!(
        endpoint,
        json!({
            "grpc": "calls.speech.svc:50051", "http": "https://calls.speech.svc:8080",
            "hosts": ["a.example.com", "b.example.com", "c.example.com"],
        })
    );
    scenario.forget();
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty(), "at rest");

    scenario.change_spec("transcriptionservices", "calls", |spec| {
        spec["endpoint"] = json!({});
        spec["security"] = Value::Null;
    });
    scenario.reconcile_service().await.unwrap();
    let writes = scenario.world().take_writes();
    for gone in [
        "DELETE networkpolicies/calls",
        "DELETE certificates/calls-tls",
        "DELETE ingresses/calls",
        "DELETE ingresses/calls-grpc",
        "DELETE httproutes/calls",
        "DELETE grpcroutes/calls",
    ] {
        assert!(writes.contains(&gone.to_string()), "{gone}: {writes:?}");
    }
    assert_eq!(status(&scenario)["endpoint"].get("hosts"), None);
}

#[tokio::test]
async fn without_cert_manager_nothing_serves_in_plain_text_and_the_cause_is_told() {
    let scenario = Scenario::with_service(issued());
    scenario.reconcile_service().await.unwrap();
    let deployment = scenario.world().get("deployments", "calls").clone();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"][2]["secret"]["secretName"], "calls-tls");
    assert!(pod["containers"][0]["args"].to_string().contains("--tls-cert="));
    let reason = ("False".to_string(), "CertManagerUnavailable".to_string());
    assert_eq!(
        scenario.condition("transcriptionservices", "calls", "Ready"),
        reason
    );
    let now = status(&scenario);
    assert_eq!(now["phase"], "Pending");
    let told = now["message"].as_str().unwrap();
    assert!(
        told.starts_with(
            "the cluster has no kind Certificate that the operator may use: install cert-manager"
        ),
        "{told}"
    );

    // It comes: another operator process, which remembers nothing of the kinds, meets it.
    scenario.forget();
    offer_all(&scenario);
    let client = apiserver::client(scenario.world.clone());
    let context = Context::new(client, "server:1".into(), "test".into(), Arc::default(), 1);
    let scenario = Scenario {
        context: Arc::new(context),
        world: scenario.world,
    };
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.world().take_events()[0],
        "Created: created Certificate calls-tls",
        "it was not there before, so nobody had deleted it"
    );
    let deployments = scenario.world().take_writes();
    assert!(
        !deployments.iter().any(|write| write.contains("deployments")),
        "no pod is replaced: {deployments:?}"
    );
}

#[tokio::test]
async fn what_cert_manager_and_a_gateway_say_is_told() {
    let scenario = Scenario::with_service(everything());
    offer_all(&scenario);
    scenario.reconcile_service().await.unwrap();
    scenario.world().edit("certificates", "calls-tls", |certificate| {
        certificate["status"] = json!({"conditions": [
            {"type": "Ready", "status": "False", "reason": "DoesNotExist", "message": "Issuing certificate as Secret does not exist",
             "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    });
    scenario.reconcile_service().await.unwrap();
    let ready = scenario.condition("transcriptionservices", "calls", "Ready");
    assert_eq!(ready, ("False".into(), "CertificateNotReady".into()));

    scenario.world().edit("certificates", "calls-tls", |certificate| {
        certificate["status"]["conditions"][0]["status"] = json!("True");
    });
    scenario.world().edit("httproutes", "calls", |route| {
        route["status"] = json!({"parents": [{"parentRef": {"name": "g"}, "controllerName": "c", "conditions": [
            {"type": "Accepted", "status": "False", "message": "no such listener"}]}]});
    });
    serve(&scenario, 1);
    scenario.reconcile_service().await.unwrap();
    let ready = scenario.condition("transcriptionservices", "calls", "Ready");
    assert_eq!(ready, ("True".into(), "AsExpected".into()), "pods serve");
    let degraded = scenario.condition("transcriptionservices", "calls", "Degraded");
    assert_eq!(degraded, ("True".into(), "RouteNotAccepted".into()));
    assert_eq!(status(&scenario)["phase"], "Degraded");
}

#[tokio::test]
async fn a_policy_that_is_widened_is_put_back() {
    let scenario = Scenario::with_service(with(json!({}), json!({"networkPolicy": {}})));
    scenario.reconcile_service().await.unwrap();
    serve(&scenario, 1);
    scenario.reconcile_service().await.unwrap();
    scenario.forget();
    scenario.world().edit("networkpolicies", "calls", |policy| {
        policy["spec"]["ingress"][0]["from"][0]["namespaceSelector"] = json!({});
    });
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.world().take_events(),
        ["Repaired: put back spec.ingress of NetworkPolicy calls, which had been edited"]
    );
}

#[tokio::test]
async fn a_models_serving_pods_have_an_endpoint_too_and_the_field_is_named_as_it_is_there() {
    let scenario = Scenario::with_model(json!({
        "source": {"bundled": {"name": "whisper-nano-digits"}},
        "serving": {"profile": "nano", "endpoint": {"gateway": {"parentRefs": [{"name": "g"}]}}},
    }));
    scenario.reconcile_model().await.unwrap();
    let message = scenario.world().get("modeldeployments", "digits")["status"]["message"].clone();
    assert!(
        message
            .as_str()
            .unwrap()
            .contains("remove spec.serving.endpoint.gateway"),
        "{message}"
    );
}
