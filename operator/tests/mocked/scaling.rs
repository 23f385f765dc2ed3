//! Autoscalers against the apiserver in memory: KEDA, metrics of pods, the VerticalPodAutoscaler, and the number of pods meanwhile.

use serde_json::{Value, json};

use crate::Scenario;

fn scaled(keda: bool) -> Value {
    let mut spec = json!({
        "model": {"source": {"bundled": {"name": "whisper-nano-digits"}}}, "profile": "nano",
        "autoscaling": {"minReplicas": 2, "maxReplicas": 5, "targetQueuedAudioSeconds": 60},
    });
    if keda {
        spec["autoscaling"]["keda"] = json!({"serverAddress": "http://prometheus:9090"});
    }
    spec
}

fn offer(scenario: &Scenario, group: &str, kinds: &[&str]) {
    let kinds = kinds.iter().map(ToString::to_string).collect();
    scenario.world().offered.insert(group.into(), kinds);
}

fn metrics(scenario: &Scenario) -> Value {
    scenario.world().get("horizontalpodautoscalers", "calls")["spec"]["metrics"].clone()
}

/// Sets the number of pods as an autoscaler does.
fn scale_to(scenario: &Scenario, replicas: i32) {
    scenario.world().edit("deployments", "calls", |deployment| {
        deployment["spec"]["replicas"] = json!(replicas)
    });
}

fn replicas(scenario: &Scenario) -> Value {
    scenario.world().get("deployments", "calls")["spec"]["replicas"].clone()
}

#[tokio::test]
async fn queued_audio_is_told_to_be_missing_until_an_adapter_comes() {
    let scenario = Scenario::with_service(scaled(false));
    scenario.reconcile_service().await.unwrap();
    assert_eq!(metrics(&scenario)[0]["resource"]["name"], "cpu");
    let degraded = scenario.condition("transcriptionservices", "calls", "Degraded");
    assert_eq!(degraded, ("True".into(), "AutoscalingUnavailable".into()));
    // An adapter serves the older version alone, and no metric before the first pod has one.
    offer(&scenario, "custom.metrics.k8s.io/v1beta1", &[]);
    let scenario = scenario.restarted("server:1");
    scenario.forget();
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        metrics(&scenario)[0]["pods"]["metric"]["name"],
        "parlance_queued_audio_seconds"
    );
    let degraded = scenario.condition("transcriptionservices", "calls", "Degraded");
    assert_eq!(degraded, ("False".into(), "AsExpected".into()));
    scenario.forget();
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty(), "at rest");
}

/// Which of the writes it is.
fn at(writes: &[String], short: &str) -> usize {
    let found = writes.iter().position(|write| write == short);
    found.unwrap_or_else(|| panic!("{short}: {writes:?}"))
}

#[tokio::test]
async fn keda_takes_over_and_hands_back_without_a_dip() {
    let scenario = Scenario::with_service(scaled(false));
    offer(&scenario, "keda.sh/v1alpha1", &["ScaledObject"]);
    offer(&scenario, "custom.metrics.k8s.io/v1beta2", &[]);
    scenario.reconcile_service().await.unwrap();
    scale_to(&scenario, 4);
    scenario.forget();
    scenario.change_spec("transcriptionservices", "calls", |spec| *spec = scaled(true));
    scenario.reconcile_service().await.unwrap();
    let writes = scenario.world().take_writes();
    assert!(
        at(&writes, "DELETE horizontalpodautoscalers/calls") < at(&writes, "PATCH scaledobjects/calls"),
        "KEDA refuses what has an autoscaler: {writes:?}"
    );
    assert_eq!(replicas(&scenario), 4);
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty(), "at rest");

    scenario.change_spec("transcriptionservices", "calls", |spec| *spec = scaled(false));
    scenario.reconcile_service().await.unwrap();
    let writes = scenario.world().take_writes();
    assert!(
        at(&writes, "DELETE scaledobjects/calls") < at(&writes, "PATCH horizontalpodautoscalers/calls"),
        "{writes:?}"
    );
    assert_eq!(replicas(&scenario), 4);
}

#[tokio::test]
async fn keda_takes_over_a_fixed_number_of_pods() {
    let mut spec = scaled(true);
    spec.as_object_mut().unwrap().remove("autoscaling");
    spec["replicas"] = json!(4);
    let scenario = Scenario::with_service(spec);
    offer(&scenario, "keda.sh/v1alpha1", &["ScaledObject"]);
    scenario.reconcile_service().await.unwrap();
    assert_eq!(replicas(&scenario), 4);
    scenario.change_spec("transcriptionservices", "calls", |spec| *spec = scaled(true));
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        replicas(&scenario),
        4,
        "and not one, which a field that no one applies falls back to"
    );
}

#[tokio::test]
async fn a_vertical_autoscaler_is_made_where_the_cluster_has_the_kind() {
    let mut spec = scaled(false);
    spec.as_object_mut().unwrap().remove("autoscaling");
    spec["verticalPodAutoscaler"] = json!({"updateMode": "Initial", "minAllowed": {"cpu": "100m"}});
    let scenario = Scenario::with_service(spec);
    offer(&scenario, "autoscaling.k8s.io/v1", &["VerticalPodAutoscaler"]);
    scenario.reconcile_service().await.unwrap();
    let made = scenario.world().get("verticalpodautoscalers", "calls").clone();
    assert_eq!(made["spec"]["updatePolicy"]["updateMode"], "Initial");
    assert_eq!(
        made["metadata"]["ownerReferences"][0]["name"], "calls",
        "it goes with its service"
    );
    scenario.change_spec("transcriptionservices", "calls", |spec| {
        spec.as_object_mut().unwrap().remove("verticalPodAutoscaler");
    });
    scenario.reconcile_service().await.unwrap();
    let writes = scenario.world().take_writes();
    assert!(
        writes.contains(&"DELETE verticalpodautoscalers/calls".into()),
        "{writes:?}"
    );
}

/// The autoscaler says that it has or lacks metrics, since this time.
fn scales(scenario: &Scenario, status: &str, reason: &str, since: &str) {
    let active = json!({"type": "ScalingActive", "status": status, "reason": reason, "message": "no metrics returned",
                        "lastTransitionTime": since});
    scenario
        .world()
        .edit("horizontalpodautoscalers", "calls", |autoscaler| {
            autoscaler["status"] = json!({"conditions": [active], "desiredReplicas": 1});
        });
}

#[tokio::test]
async fn an_autoscaler_without_metrics_is_told_and_forgotten_when_they_come() {
    let scenario = Scenario::with_service(json!({
        "model": {"source": {"bundled": {"name": "whisper-nano-digits"}}}, "profile": "nano",
        "autoscaling": {"maxReplicas": 3, "targetCPUUtilization": 70},
    }));
    scenario.reconcile_service().await.unwrap();
    let available =
        json!({"type": "Available", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    scenario.world().edit("deployments", "calls", |deployment| {
        deployment["status"] = json!({
            "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "conditions": [available],
        });
    });
    scenario.world().put(
        "pods",
        crate::zero::ready_pod("calls-1", "server", "2026-01-01T00:00:00Z"),
    );
    let degraded = || scenario.condition("transcriptionservices", "calls", "Degraded");
    let now = operator::transcription_service::status::now().0.to_string();
    scales(&scenario, "False", "FailedGetResourceMetric", &now);
    scenario.reconcile_service().await.unwrap();
    assert_eq!(degraded().1, "AsExpected", "that is normal at first");
    scales(
        &scenario,
        "False",
        "FailedGetResourceMetric",
        "2026-01-01T00:00:00Z",
    );
    scenario.reconcile_service().await.unwrap();
    assert_eq!(degraded(), ("True".into(), "MetricsUnavailable".into()));
    let ready = scenario.condition("transcriptionservices", "calls", "Ready");
    assert_eq!(ready.0, "True", "the pods serve");
    scenario.forget();
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty(), "at rest");
    scales(&scenario, "True", "ValidMetricFound", &now);
    scenario.reconcile_service().await.unwrap();
    assert_eq!(degraded(), ("False".into(), "AsExpected".into()));
}
