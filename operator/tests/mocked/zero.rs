//! A service that may have no pods, against the apiserver in memory, with an activator that says what the test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

use crate::Scenario;

/// What an activator says. Each test has one at an address of its own.
struct Activator {
    says: Arc<Mutex<Value>>,
    ip: &'static str,
    task: tokio::task::JoinHandle<()>,
}

impl Activator {
    async fn at(ip: &'static str) -> Self {
        let says = Arc::new(Mutex::new(said(1, 0, 0, 0.0)));
        let read = says.clone();
        // Whoever waits for the next version is told at once, which a test does not mind.
        let router = Router::new().route("/demand", get(async move || Json(read.lock().unwrap().clone())));
        let address: SocketAddr = format!("{ip}:8082").parse().unwrap();
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let task = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Activator { says, ip, task }
    }

    fn say(&self, demand: Value) {
        *self.says.lock().unwrap() = demand;
    }

    /// A pod of the activator, ready.
    fn pod(&self) -> Value {
        let mut pod = ready_pod("calls-activator-1", "activator", "2026-01-01T00:00:00Z");
        pod["status"]["podIP"] = json!(self.ip);
        pod
    }
}

/// A pod that has been ready since then.
pub(crate) fn ready_pod(name: &str, component: &str, since: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "speech", "uid": format!("u-{name}"), "labels": {
            "parlance.dev/kind": "TranscriptionService", "parlance.dev/name": "calls",
            "app.kubernetes.io/component": component, "app.kubernetes.io/managed-by": "parlance-operator",
        }},
        "spec": {"containers": [{"name": component}], "nodeName": "n"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]},
    })
}

fn said(version: u64, waiting: u64, running: u64, idle: f64) -> Value {
    json!({"version": version, "waiting": waiting, "running": running, "idleSeconds": idle})
}

fn zero() -> Value {
    json!({
        "model": {"source": {"bundled": {"name": "whisper-nano-digits"}}}, "profile": "nano",
        "autoscaling": {"minReplicas": 0, "maxReplicas": 3, "targetCPUUtilization": 70, "idleAfter": "60s"},
    })
}

/// All pods of a Deployment are there since long ago.
fn serve(scenario: &Scenario, name: &str, replicas: i32) {
    scenario.world().edit("deployments", name, |deployment| {
        let generation = deployment["metadata"]["generation"].clone();
        deployment["spec"]["replicas"] = json!(replicas);
        deployment["status"] = json!({
            "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
            "readyReplicas": replicas, "availableReplicas": replicas,
            "conditions": [{"type": "Available", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        });
    });
}

fn replicas(scenario: &Scenario) -> Value {
    scenario.world().get("deployments", "calls")["spec"]["replicas"].clone()
}

fn selected(scenario: &Scenario) -> Value {
    scenario.world().get("services", "calls")["spec"]["selector"]["app.kubernetes.io/component"].clone()
}

/// Reconciles until it holds: the activator is asked beside the reconciles.
async fn until(scenario: &Scenario, what: &str, holds: impl Fn(&Scenario) -> bool) {
    for _ in 0..1000 {
        scenario.reconcile_service().await.unwrap();
        if holds(scenario) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it never came about that {what}");
}

#[tokio::test]
async fn it_sleeps_when_no_request_came_and_wakes_for_the_next() {
    let activator = Activator::at("127.0.0.42").await;
    let scenario = Scenario::with_service(zero());
    scenario.reconcile_service().await.unwrap();
    for name in ["calls-pods", "calls-any"] {
        let service = scenario.world().get("services", name).clone();
        assert_eq!(
            service["spec"]["selector"]["app.kubernetes.io/component"], "server",
            "{name}"
        );
    }
    let autoscaler = scenario.world().get("horizontalpodautoscalers", "calls").clone();
    assert_eq!(autoscaler["spec"]["minReplicas"], 1);
    assert_eq!(selected(&scenario), "server", "nobody else answers yet");

    serve(&scenario, "calls", 2);
    for name in ["calls-1", "calls-2"] {
        let pod = ready_pod(name, "server", "2026-01-01T00:00:00Z");
        scenario.world().put("pods", pod);
    }
    serve(&scenario, "calls-activator", 1);
    scenario.world().put("pods", activator.pod());
    activator.say(said(2, 0, 1, 0.0));
    until(&scenario, "requests go to the activator", |scenario| {
        selected(scenario) == "activator"
    })
    .await;
    assert_eq!(replicas(&scenario), 2, "a request runs");

    activator.say(said(3, 0, 0, 60.0));
    until(&scenario, "it sleeps", |scenario| replicas(scenario) == 0).await;
    serve(&scenario, "calls", 0);
    for name in ["calls-1", "calls-2"] {
        scenario.world().delete("pods", name);
    }
    scenario.reconcile_service().await.unwrap();
    let ready = scenario.condition("transcriptionservices", "calls", "Ready");
    assert_eq!(ready, ("True".into(), "ScaledToZero".into()));
    let phase = scenario.world().get("transcriptionservices", "calls")["status"]["phase"].clone();
    assert_eq!(phase, "Idle");
    scenario.forget();
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty(), "at rest");

    activator.say(said(4, 1, 0, 0.0));
    until(&scenario, "it wakes", |scenario| replicas(scenario) == 1).await;
    let events = scenario.world().take_events();
    assert!(
        events.iter().any(|event| event.starts_with("Woken: ")),
        "{events:?}"
    );
    // The pod waits for its node, and the client gives up.
    activator.say(said(5, 0, 0, 9_999.0));
    for _ in 0..20 {
        scenario.reconcile_service().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(replicas(&scenario), 1);
    // It comes at last. Its Deployment has been Available all the while, as one that may replace its only pod is.
    let now = operator::transcription_service::status::now().0.to_string();
    scenario.world().put("pods", ready_pod("calls-3", "server", &now));
    serve(&scenario, "calls", 1);
    for _ in 0..20 {
        scenario.reconcile_service().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(replicas(&scenario), 1, "nobody could have asked it");
    scenario.world().edit("pods", "calls-3", |pod| {
        pod["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-01-01T00:00:00Z");
    });
    until(&scenario, "it sleeps again", |scenario| replicas(scenario) == 0).await;
    activator.task.abort();
}

#[tokio::test]
async fn who_may_sleep_no_more_is_woken() {
    let scenario = Scenario::with_service(zero());
    scenario.reconcile_service().await.unwrap();
    serve(&scenario, "calls", 0);
    scenario.change_spec("transcriptionservices", "calls", |spec| {
        spec["autoscaling"] = json!({"minReplicas": 2, "maxReplicas": 3, "targetCPUUtilization": 70});
    });
    scenario.forget();
    scenario.reconcile_service().await.unwrap();
    assert_eq!(replicas(&scenario), 2);
    let events = scenario.world().take_events();
    assert!(
        events
            .iter()
            .any(|event| event.contains("Deployment calls-activator")),
        "{events:?}"
    );
}
