//! The text of `/metrics`, and the page that describes it.

use kube::runtime::reflector::store;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::*;

fn service(status: Value) -> TranscriptionService {
    serde_json::from_value(json!({
        "apiVersion": "parlance.dev/v1alpha1", "kind": "TranscriptionService",
        "metadata": {"name": "calls", "namespace": "speech"}, "spec": {}, "status": status,
    }))
    .unwrap()
}

/// Metrics of an operator that has met everything once.
fn everything() -> Metrics {
    let metrics = Metrics::default();
    metrics.waits();
    metrics.begins();
    metrics.reconciled(Kind::TranscriptionService, Instant::now(), "ok");
    metrics.failed(Kind::ModelDeployment, "api");
    metrics.fetched(Kind::ModelDeployment, Duration::from_secs(3));
    metrics.evaluated(Kind::ModelDeployment, Duration::from_secs(3));
    metrics.became_ready(Kind::ModelDeployment, Duration::from_secs(9));
    metrics.wrote("Deployment");
    metrics.leads(true);
    let (reader, mut writer) = store();
    metrics.count_services(reader);
    writer.apply_watcher_event(&Event::Apply(service(json!({
        "phase": "Degraded",
        "conditions": [{"type": "Ready", "status": "False", "reason": "CrashLoop", "message": "m",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }))));
    metrics
}

#[test]
fn the_text_names_every_metric() {
    let text = everything().text();
    for line in [
        "parlance_operator_reconcile_duration_seconds_count{kind=\"TranscriptionService\"} 1",
        "parlance_operator_reconciles_total{kind=\"TranscriptionService\",result=\"ok\"} 1",
        "parlance_operator_reconcile_errors_total{kind=\"ModelDeployment\",category=\"api\"} 1",
        "parlance_operator_reconciles_running 0",
        "parlance_operator_reconciles_waiting 0",
        "parlance_operator_model_fetch_duration_seconds_sum{kind=\"ModelDeployment\"} 3.0",
        "parlance_operator_patches_total{kind=\"Deployment\"} 1",
        "parlance_operator_leader 1",
        "parlance_operator_objects{kind=\"TranscriptionService\",phase=\"Ready\"} 0",
        "parlance_operator_objects{kind=\"TranscriptionService\",phase=\"Degraded\"} 1",
        "parlance_operator_objects{kind=\"ModelDeployment\",phase=\"Available\"} 0",
        "parlance_operator_object_phase{kind=\"TranscriptionService\",object_namespace=\"speech\",object_name=\"calls\",phase=\"Degraded\"} 1",
        "parlance_operator_object_condition{kind=\"TranscriptionService\",object_namespace=\"speech\",object_name=\"calls\",condition=\"Ready\",status=\"False\",reason=\"CrashLoop\"} 1",
    ] {
        assert!(
            text.lines().any(|one| one == line),
            "{line} is missing in\n{text}"
        );
    }
}

#[test]
fn an_object_that_is_gone_or_better_leaves_nothing_behind() {
    let metrics = Metrics::default();
    let (reader, mut writer) = store();
    metrics.count_services(reader);
    writer.apply_watcher_event(&Event::Apply(service(json!({"phase": "Failed"}))));
    assert!(
        metrics
            .text()
            .contains("object_name=\"calls\",phase=\"Failed\"} 1")
    );
    writer.apply_watcher_event(&Event::Apply(service(json!({"phase": "Ready"}))));
    let text = metrics.text();
    assert!(!text.contains("object_name=\"calls\",phase=\"Failed\""), "{text}");
    assert!(
        text.contains("object_name=\"calls\",phase=\"Ready\"} 1"),
        "{text}"
    );
    writer.apply_watcher_event(&Event::Delete(service(json!({}))));
    assert!(!metrics.text().contains("object_name"));
}

/// Kind and name of each metric that is described in a section of docs/observability.md, as `counter parlance_x_total`.
fn described(section: &str) -> Vec<String> {
    let page = include_str!("../../../docs/observability.md");
    let (_, rest) = page.split_once(section).unwrap();
    let rest = rest.split("\n## ").next().unwrap();
    let rows = rest.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut found: Vec<String> = rows
        .map(|row| {
            let name = row.split(['`', '{']).next().unwrap();
            let kind = row.split('|').nth(1).unwrap().trim();
            format!("{kind} {name}")
        })
        .collect();
    found.sort();
    found
}

#[test]
fn the_page_describes_every_metric_and_no_other() {
    let text = everything().text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut exported: Vec<String> = types
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            let total = if kind == "counter" { "_total" } else { "" };
            format!("{kind} {name}{total}")
        })
        .collect();
    exported.sort();
    assert_eq!(exported, described("## Metrics of the operator"));
}
