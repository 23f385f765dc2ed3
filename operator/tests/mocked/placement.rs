//! GPUs against the apiserver in memory: how pods are replaced, and that nothing is written while nothing changes.

use serde_json::{Value, json};

use crate::Scenario;

fn on_gpu() -> Value {
    json!({"model": {"source": {"bundled": {"name": "whisper-nano-digits"}}}, "profile": "nano", "gpu": {}})
}

/// A node `gpu-1` with two GPUs, so many of which other pods hold.
fn node(scenario: &Scenario, held: u32) {
    let allocatable = json!({"cpu": "8", "memory": "16Gi", "pods": "110", "nvidia.com/gpu": "2"});
    scenario.world().put(
        "nodes",
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-1"}, "status": {"allocatable": allocatable}}),
    );
    for at in 0..held {
        let container = json!({"name": "a", "resources": {"requests": {"nvidia.com/gpu": "1"}}});
        scenario.world().put(
            "pods",
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("other-{at}"), "namespace": "speech"},
                   "spec": {"nodeName": "gpu-1", "containers": [container]}}),
        );
    }
}

/// A service with a GPU that serves and is at rest, on a cluster where so many GPUs of two are held.
async fn served(held: u32) -> Scenario {
    let mut spec = on_gpu();
    spec["model"]["cache"] = json!({"accessMode": "ReadWriteMany"});
    let scenario = Scenario::with_service(spec);
    node(&scenario, held);
    scenario.reconcile_service().await.unwrap();
    crate::transcription_service::serve(&scenario, 1);
    scenario.reconcile_service().await.unwrap();
    scenario.forget();
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty(), "at rest");
    scenario
}

fn rolling(scenario: &Scenario) -> Value {
    scenario.world().get("deployments", "calls")["spec"]["strategy"]["rollingUpdate"].clone()
}

/// The Events about the rollout.
fn told(scenario: &Scenario) -> Vec<String> {
    let events = scenario.world().take_events();
    events
        .into_iter()
        .filter(|event| event.starts_with("RollingOut"))
        .collect()
}

/// An upgrade of the operator that brings another image of the server: the pods are replaced without any waiting for a GPU.
#[tokio::test]
async fn an_upgrade_of_the_operator_leaves_no_pod_waiting_for_a_gpu() {
    let scenario = served(2).await;
    assert_eq!(rolling(&scenario), json!({"maxSurge": 0, "maxUnavailable": 1}));
    let scenario = scenario.restarted("server:2");
    scenario.reconcile_service().await.unwrap();
    assert_eq!(rolling(&scenario), json!({"maxSurge": 0, "maxUnavailable": 1}));
    assert_eq!(
        told(&scenario),
        [
            "RollingOut: replaces the pods of Deployment calls: an old pod ends before its successor starts: \
          no node that will do has 1 nvidia.com/gpu free"
        ]
    );
    scenario.forget();
    for _ in 0..3 {
        scenario.reconcile_service().await.unwrap();
    }
    assert!(scenario.world().take_writes().is_empty(), "decided once");
    assert!(told(&scenario).is_empty());
}

#[tokio::test]
async fn a_new_pod_comes_first_where_a_gpu_is_free_until_the_next_change() {
    let scenario = served(1).await;
    let scenario = scenario.restarted("server:2");
    scenario.reconcile_service().await.unwrap();
    assert_eq!(rolling(&scenario), json!({"maxSurge": 1, "maxUnavailable": 0}));
    assert_eq!(
        told(&scenario),
        [
            "RollingOut: replaces the pods of Deployment calls: a new pod starts before an old one ends: \
          node gpu-1 has 1 nvidia.com/gpu free"
        ]
    );
    scenario.forget();
    node(&scenario, 2);
    for _ in 0..3 {
        scenario.reconcile_service().await.unwrap();
    }
    assert!(
        scenario.world().take_writes().is_empty(),
        "what is free now decides nothing"
    );
    let scenario = scenario.restarted("server:3");
    scenario.reconcile_service().await.unwrap();
    assert_eq!(rolling(&scenario), json!({"maxSurge": 0, "maxUnavailable": 1}));
}

#[tokio::test]
async fn more_replicas_are_no_rollout() {
    let scenario = served(1).await;
    scenario.change_spec("transcriptionservices", "calls", |spec| {
        spec["replicas"] = json!(2)
    });
    scenario.reconcile_service().await.unwrap();
    assert_eq!(rolling(&scenario), json!({"maxSurge": 0, "maxUnavailable": 1}));
    assert!(told(&scenario).is_empty());
}

#[tokio::test]
async fn devices_are_claimed_only_where_the_cluster_has_claims() {
    let mut spec = on_gpu();
    spec["gpu"] = json!({"deviceClassName": "gpu.nvidia.com"});
    let scenario = Scenario::with_service(spec);
    scenario.reconcile_service().await.unwrap();
    let ready = scenario.condition("transcriptionservices", "calls", "Ready");
    assert_eq!(ready, ("False".into(), "DeviceClaimsUnavailable".into()));
    let writes = scenario.world().take_writes();
    assert_eq!(
        writes,
        ["PATCH transcriptionservices/calls/status"],
        "no pod without its device"
    );

    let claims = vec!["ResourceClaimTemplate".to_string()];
    scenario
        .world()
        .offered
        .insert("resource.k8s.io/v1".into(), claims);
    let scenario = scenario.restarted("server:1");
    scenario.reconcile_service().await.unwrap();
    let writes = scenario.world().take_writes();
    let at = |part: &str| writes.iter().position(|write| write.contains(part)).unwrap();
    assert!(
        at("resourceclaimtemplates/calls-gpu-") < at("deployments/calls"),
        "{writes:?}"
    );
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty(), "at rest");
    scenario.change_spec("transcriptionservices", "calls", |spec| {
        spec["gpu"]["count"] = json!(2)
    });
    scenario.reconcile_service().await.unwrap();
    let writes = scenario.world().take_writes();
    let deleted = writes
        .iter()
        .filter(|write| write.starts_with("DELETE resourceclaimtemplates/"))
        .count();
    assert_eq!(deleted, 1, "the template of one device goes: {writes:?}");
}

#[tokio::test]
async fn a_pod_template_that_cannot_be_merged_is_told() {
    let mut spec = on_gpu();
    spec["podTemplate"] = json!({"spec": {"contianers": [{"name": "a"}]}});
    let scenario = Scenario::with_service(spec);
    scenario.reconcile_service().await.unwrap();
    let ready = scenario.condition("transcriptionservices", "calls", "Ready");
    assert_eq!(ready, ("False".into(), "InvalidSpec".into()));
}
