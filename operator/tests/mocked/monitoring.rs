//! `spec.monitoring` against the apiserver in memory, with and without the kinds of the Prometheus operator.

use serde_json::{Value, json};

use crate::Scenario;

const GROUP: &str = "monitoring.coreos.com/v1";

fn watched() -> Value {
    json!({
        "model": {"source": {"bundled": {"name": "whisper-nano-digits"}}}, "profile": "nano",
        "monitoring": {"podMonitor": {"labels": {"release": "prom"}, "interval": "15s"}, "prometheusRule": {}},
    })
}

fn offer(scenario: &Scenario, kinds: &[&str]) {
    let kinds = kinds.iter().map(ToString::to_string).collect();
    scenario.world().offered.insert(GROUP.into(), kinds);
}

fn message(scenario: &Scenario) -> String {
    let message = scenario.world().get("transcriptionservices", "calls")["status"]["message"].clone();
    message.as_str().unwrap().to_string()
}

#[tokio::test]
async fn monitors_and_alerts_are_made_after_the_pods() {
    let scenario = Scenario::with_service(watched());
    offer(&scenario, &["PodMonitor", "PrometheusRule"]);
    scenario.reconcile_service().await.unwrap();
    let writes = scenario.world().take_writes();
    assert_eq!(
        writes[writes.len() - 4..],
        [
            "PATCH deployments/calls",
            "PATCH podmonitors/calls",
            "PATCH prometheusrules/calls",
            "PATCH transcriptionservices/calls/status",
        ]
    );
    let monitor = scenario.world().get("podmonitors", "calls").clone();
    assert_eq!(
        monitor["spec"],
        json!({
            "selector": {"matchLabels": {
                "app.kubernetes.io/component": "server", "parlance.dev/kind": "TranscriptionService", "parlance.dev/name": "calls",
            }},
            "podTargetLabels": ["parlance.dev/kind", "parlance.dev/name"],
            "podMetricsEndpoints": [{"port": "http", "path": "/metrics", "interval": "15s"}],
        })
    );
    assert_eq!(monitor["metadata"]["labels"]["release"], "prom");
    assert_eq!(
        monitor["metadata"]["ownerReferences"][0]["name"], "calls",
        "it goes with its service"
    );
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty(), "at rest");
}

#[tokio::test]
async fn without_the_kinds_the_service_is_made_all_the_same_and_says_what_is_missing() {
    let scenario = Scenario::with_service(watched());
    scenario.reconcile_service().await.unwrap();
    let writes = scenario.world().take_writes();
    assert!(writes.contains(&"PATCH deployments/calls".into()), "{writes:?}");
    assert!(
        !writes.iter().any(|write| write.contains("podmonitors")),
        "{writes:?}"
    );
    let degraded = scenario.condition("transcriptionservices", "calls", "Degraded");
    assert_eq!(degraded, ("True".into(), "MonitoringUnavailable".into()));
    let told = message(&scenario);
    assert!(told.contains("the cluster has no kind PodMonitor that the operator may use: install the Prometheus operator, or remove spec.monitoring.podMonitor"), "{told}");
    assert!(told.contains("remove spec.monitoring.prometheusRule"), "{told}");
    let ready = scenario.condition("transcriptionservices", "calls", "Ready");
    assert_eq!(
        ready,
        ("False".into(), "FetchingModel".into()),
        "what is awaited comes first"
    );

    crate::transcription_service::serve(&scenario, 1);
    scenario.reconcile_service().await.unwrap();
    let ready = scenario.condition("transcriptionservices", "calls", "Ready");
    assert_eq!(ready, ("True".into(), "AsExpected".into()));
    let phase = scenario.world().get("transcriptionservices", "calls")["status"]["phase"].clone();
    assert_eq!(phase, "Degraded");
}

#[tokio::test]
async fn when_the_kinds_come_the_objects_are_made_and_all_is_well() {
    let scenario = Scenario::with_service(watched());
    scenario.reconcile_service().await.unwrap();
    crate::transcription_service::serve(&scenario, 1);
    scenario.reconcile_service().await.unwrap();
    scenario.forget();
    offer(&scenario, &["PodMonitor", "PrometheusRule"]);
    let scenario = scenario.restarted("server:1");
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.world().take_writes(),
        [
            "PATCH podmonitors/calls",
            "PATCH prometheusrules/calls",
            "PATCH transcriptionservices/calls/status",
        ]
    );
    assert_eq!(
        scenario.world().take_events(),
        ["Created: created PodMonitor calls, PrometheusRule calls"]
    );
    let phase = scenario.world().get("transcriptionservices", "calls")["status"]["phase"].clone();
    assert_eq!(phase, "Ready");
}

#[tokio::test]
async fn a_monitor_that_is_edited_or_deleted_is_put_back_and_one_that_is_not_wanted_goes() {
    let scenario = Scenario::with_service(watched());
    offer(&scenario, &["PodMonitor", "PrometheusRule"]);
    scenario.reconcile_service().await.unwrap();
    crate::transcription_service::serve(&scenario, 1);
    scenario.reconcile_service().await.unwrap();
    scenario.forget();

    scenario.world().edit("podmonitors", "calls", |monitor| {
        monitor["spec"]["podMetricsEndpoints"][0]["path"] = json!("/other");
    });
    scenario.world().delete("prometheusrules", "calls");
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.world().take_writes(),
        ["PATCH podmonitors/calls", "PATCH prometheusrules/calls"]
    );
    assert_eq!(
        scenario.world().take_events(),
        [
            "Repaired: put back spec.podMetricsEndpoints[0].path of PodMonitor calls, which had been edited",
            "Repaired: put back PrometheusRule calls, which had been deleted",
        ]
    );

    scenario.change_spec("transcriptionservices", "calls", |spec| {
        spec["monitoring"] = json!({"prometheusRule": {}})
    });
    scenario.reconcile_service().await.unwrap();
    let writes = scenario.world().take_writes();
    assert!(writes.contains(&"DELETE podmonitors/calls".into()), "{writes:?}");
    assert!(
        !writes.iter().any(|write| write.contains("prometheusrules")),
        "{writes:?}"
    );
}

#[tokio::test]
async fn annotations_are_put_on_pods_only_when_they_are_asked_for() {
    for (monitoring, expected) in [
        (Value::Null, Value::Null),
        (json!({}), Value::Null),
        (
            json!({"annotations": true}),
            json!({"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "prometheus.io/path": "/metrics"}),
        ),
    ] {
        let mut spec = watched();
        spec["monitoring"] = monitoring;
        let scenario = Scenario::with_service(spec);
        scenario.reconcile_service().await.unwrap();
        let deployment = scenario.world().get("deployments", "calls").clone();
        assert_eq!(
            deployment["spec"]["template"]["metadata"]["annotations"],
            expected
        );
    }
}

#[tokio::test]
async fn a_models_serving_pods_are_watched_too_and_the_field_is_named_as_it_is_there() {
    let scenario = Scenario::with_model(json!({
        "source": {"bundled": {"name": "whisper-nano-digits"}},
        "serving": {"profile": "nano", "monitoring": {"podMonitor": {}}},
    }));
    scenario.reconcile_model().await.unwrap();
    let message = scenario.world().get("modeldeployments", "digits")["status"]["message"].clone();
    assert!(
        message
            .as_str()
            .unwrap()
            .contains("remove spec.serving.monitoring.podMonitor"),
        "{message}"
    );
}
