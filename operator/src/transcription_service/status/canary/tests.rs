//! What the status says of a canary while it starts, serves, has passed and has failed.

use serde_json::{Value, json};

use super::*;
use crate::conditions::find;
use crate::names::{Kind, Owner};
use crate::resources::Resources;
use crate::transcription_service::plan;
use crate::transcription_service::status;
use kube::Resource;

fn service(status: Value) -> TranscriptionService {
    let canary = json!({"image": "server:2", "analysis": {"duration": "10m"}});
    serde_json::from_value(json!({
        "apiVersion": "parlance.dev/v1alpha1", "kind": "TranscriptionService",
        "metadata": {"name": "calls", "namespace": "speech", "uid": "u-1", "generation": 4},
        "spec": {"model": {"source": {"bundled": {"name": "nano"}}}, "canary": canary},
        "status": {"canary": status},
    }))
    .unwrap()
}

fn deployment(name: &str, ready: i32) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": name, "generation": 1}, "spec": {"replicas": 1, "selector": {}, "template": {}},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": ready,
                   "availableReplicas": ready, "conditions": [{"type": "Available", "status": "True"}]},
    }))
    .unwrap()
}

fn at(time: &str) -> Time {
    Time(time.parse().unwrap())
}

/// The status a moment later, with so many pods of the canary that serve.
fn next(
    service: &TranscriptionService,
    ready: i32,
    now: &str,
) -> crds::transcription_service::TranscriptionServiceStatus {
    let fetched = Fetched::default();
    let owner = Owner::of(Kind::TranscriptionService, service.meta());
    let plan = plan::plan(service, &owner, &fetched, "server:1").unwrap();
    let applied = Resources {
        deployments: vec![deployment("calls", 1)],
        ..Resources::default()
    };
    let outcome = Outcome::Applied {
        plan,
        applied: Box::new(applied),
        canary: Ok(Some(Box::new(deployment("calls-canary", ready)))),
        changes: Vec::new(),
    };
    status::status(service, &fetched, &outcome, at(now))
}

fn told(status: &crds::transcription_service::TranscriptionServiceStatus) -> String {
    let canary = status.canary.as_ref().unwrap();
    let condition = find(&status.conditions, "CanaryHealthy").unwrap();
    let ready = find(&status.conditions, "Ready").unwrap();
    assert_eq!(ready.status, "True", "the others serve, whatever the canary does");
    format!(
        "{:?} {}/{} {}={}",
        canary.phase, canary.ready_replicas, canary.replicas, condition.status, condition.reason
    )
}

fn later(status: &crds::transcription_service::TranscriptionServiceStatus) -> TranscriptionService {
    service(serde_json::to_value(&status.canary).unwrap())
}

#[test]
fn it_starts_serves_and_has_passed_when_its_time_is_over() {
    let first = next(&service(Value::Null), 0, "2026-01-01T00:00:00Z");
    assert_eq!(told(&first), "Progressing 0/1 Unknown=FetchingModel");
    let serving = next(&later(&first), 1, "2026-01-01T00:01:00Z");
    assert_eq!(told(&serving), "Serving 1/1 True=CanaryServing");
    let broken_off = next(&later(&serving), 0, "2026-01-01T00:05:00Z");
    assert_eq!(told(&broken_off), "Progressing 0/1 Unknown=FetchingModel");
    let again = next(&later(&broken_off), 1, "2026-01-01T00:06:00Z");
    let waits = next(&later(&again), 1, "2026-01-01T00:15:59Z");
    assert_eq!(
        told(&waits),
        "Serving 1/1 True=CanaryServing",
        "the break does not count"
    );
    assert_eq!(waits.canary, again.canary, "nothing to write");
    let passed = next(&later(&waits), 1, "2026-01-01T00:16:00Z");
    assert_eq!(told(&passed), "Passed 1/1 True=CanaryPassed");
    let moved = next(&later(&passed), 0, "2026-01-01T00:20:00Z");
    assert_eq!(told(&moved), "Passed 0/1 True=CanaryPassed");
}

#[test]
fn it_is_looked_at_when_its_time_is_over() {
    let service = service(Value::Null);
    let status = next(&service, 1, "2026-01-01T00:00:00Z").canary.unwrap();
    let owner = Owner::of(Kind::TranscriptionService, service.meta());
    let plan = plan::plan(&service, &owner, &Fetched::default(), "server:1").unwrap();
    let plan = plan.canary.unwrap().unwrap();
    let left = |now: &str| passes_in(&plan, &status, &at(now));
    assert_eq!(left("2026-01-01T00:04:00Z"), Some(Duration::from_secs(360)));
    assert_eq!(left("2026-01-01T00:40:00Z"), Some(Duration::ZERO));
}

#[test]
fn one_that_has_failed_is_told_and_the_service_is_ready() {
    let first = next(&service(Value::Null), 0, "2026-01-01T00:00:00Z")
        .canary
        .unwrap();
    let failed = CanaryStatus {
        phase: CanaryPhase::Failed,
        reason: "CrashLoop".into(),
        message: "it ended".into(),
        ..first
    };
    let service = service(serde_json::to_value(&failed).unwrap());
    let status = next(&service, 0, "2026-01-01T00:10:00Z");
    assert_eq!(told(&status), "Failed 0/1 False=CrashLoop");
    let degraded = find(&status.conditions, "Degraded").unwrap();
    assert_eq!(
        (degraded.status.as_str(), degraded.reason.as_str()),
        ("True", "CanaryFailed")
    );
    assert_eq!(
        status.message.unwrap(),
        "1 of 1 pods serve. Also: the canary has failed (CrashLoop) and the other pods serve as before: it ended; change or remove canary"
    );
    assert_eq!(status.replicas, 1, "its pods are not the service's");
}
