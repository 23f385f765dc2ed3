use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-01-01T01:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": reason, "message": message, "observedGeneration": 2,
            "lastTransitionTime": "2026-01-01T00:00:00Z" })
}

/// A service in its second generation, with conditions and a sentence about that one.
fn service(message: &str, conditions: Value) -> Value {
    json!({ "apiVersion": "parlance.dev/v1alpha1", "kind": "TranscriptionService",
        "metadata": { "name": "calls", "namespace": "speech", "uid": "u", "generation": 2 },
        "spec": {},
        "status": { "observedGeneration": 2, "message": message, "conditions": conditions } })
}

fn well() -> Value {
    let conditions = json!([
        condition("Ready", "True", "AsExpected", "2 of 2 pods serve"),
        condition("Degraded", "False", "AsExpected", "nothing is wrong"),
    ]);
    service("2 of 2 pods serve", conditions)
}

fn ill(reason: &str, message: &str) -> Value {
    let conditions = json!([
        condition("Ready", "False", reason, message),
        condition("Degraded", "True", reason, message),
    ]);
    service(message, conditions)
}

fn case_of(object: Value) -> Case {
    let object = match object["kind"].as_str() {
        Some("ModelDeployment") => Object::Model(serde_json::from_value(object).unwrap()),
        _ => Object::Service(serde_json::from_value(object).unwrap()),
    };
    Case {
        facts: Facts::bare(object, now()),
        last_words: Vec::new(),
        model: None,
    }
}

fn running() -> Operator {
    Operator::Installed(Box::new(Installed {
        namespace: "parlance-system".into(),
        name: "parlance".into(),
        version: Some("0.1.0".into()),
        ready: 1,
        wanted: 1,
        namespaces: Vec::new(),
        lease: Some(Held {
            name: "parlance".into(),
            holder: Some("parlance-abc".into()),
            renewed: Some(now()),
        }),
    }))
}

fn container(name: &str, ready: bool, restarts: i32, state: Value, last: Value) -> Value {
    json!({ "name": name, "image": "i", "imageID": "", "ready": ready, "restartCount": restarts, "state": state, "lastState": last })
}

fn pod(status: Value) -> k8s_openapi::api::core::v1::Pod {
    serde_json::from_value(json!({ "metadata": { "name": "calls-1" }, "status": status })).unwrap()
}

fn ended(code: i32, reason: &str) -> Value {
    json!({ "terminated": { "exitCode": code, "reason": reason, "finishedAt": "2026-01-01T00:58:00Z" } })
}

#[test]
fn what_is_well_is_said_to_be_well() {
    let (text, outcome) = paragraph(&case_of(well()), &running());
    assert_eq!(
        text,
        "TranscriptionService calls in namespace speech is healthy: 2 of 2 pods serve.\n"
    );
    assert_eq!(outcome, Outcome::Well);
}

#[test]
fn the_operators_words_are_the_cause_and_are_said_once() {
    let message = "container server ended with exit code 1 (3 restarts): the model cannot follow the server's options: unknown language \"xx\"";
    let mut case = case_of(ill("CrashLoop", message));
    let server = container(
        "server",
        false,
        3,
        json!({ "waiting": { "reason": "CrashLoopBackOff" } }),
        ended(1, "Error"),
    );
    case.facts.pods = vec![pod(json!({ "phase": "Running", "containerStatuses": [server] }))];
    let words = |last: &str| LastWords {
        pod: "calls-1".into(),
        container: "server".into(),
        lines: vec!["starting".into(), last.into()],
    };
    case.last_words = vec![words(
        "parlance-server: the model cannot follow the server's options: unknown language \"xx\"",
    )];
    let (text, outcome) = paragraph(&case, &running());
    assert_eq!(
        text,
        "TranscriptionService calls in namespace speech is not ready: container server ended with exit code 1 (3 restarts): \
         the model cannot follow the server's options: unknown language \"xx\" (CrashLoop). Container server of pod calls-1 ended with exit code 1, 2m ago, and was started \
         again 3 times. The pod is CrashLoopBackOff. The operator (0.1.0, led by parlance-abc) runs and has seen this spec.\n"
    );
    assert_eq!(outcome, Outcome::Wrong);

    case.last_words = vec![words("thread panicked at main.rs:7")];
    let (text, _) = paragraph(&case, &running());
    assert!(
        text.contains("The log of its container server ends: starting | thread panicked at main.rs:7."),
        "{text}"
    );
}

#[test]
fn a_model_that_is_not_there_yet_is_the_cause_of_its_service() {
    let mut case = case_of(ill("ModelNotReady", "ModelDeployment digits is not ready"));
    let model = json!({ "apiVersion": "parlance.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": { "name": "digits", "namespace": "speech", "generation": 2 },
        "spec": { "source": { "bundled": { "name": "x" } } },
        "status": { "observedGeneration": 2, "message": "m", "conditions": [
            condition("Ready", "False", "StorageClassNotFound", "StorageClass fast does not exist") ] } });
    let mut model = case_of(model);
    let claim = json!({ "metadata": { "name": "digits-model" }, "status": { "phase": "Pending" } });
    model.facts.claims = vec![serde_json::from_value(claim).unwrap()];
    case.model = Some(Box::new(model));
    let (text, _) = paragraph(&case, &running());
    assert!(
        text.contains("is not ready: it waits for ModelDeployment digits: StorageClass fast does not exist (StorageClassNotFound)."),
        "{text}"
    );
    assert!(text.contains("Claim digits-model is Pending."), "{text}");
}

#[test]
fn a_spec_that_nobody_follows_is_the_operators_fault_when_it_is_away() {
    let mut object = well();
    object["metadata"]["generation"] = json!(5);
    let case = case_of(object);
    let told = |operator: &Operator| paragraph(&case, operator).0;
    let text = told(&Operator::Absent);
    assert!(
        text.contains("nobody looks after it, its status is of generation 2, its spec of generation 5: no operator runs in this cluster"),
        "{text}"
    );
    assert!(!text.contains("so this may be old"), "{text}");
    assert!(told(&running()).contains("the operator has not followed its spec yet"));
    let change = |change: fn(&mut Installed)| {
        let Operator::Installed(mut installed) = running() else {
            unreachable!()
        };
        change(&mut installed);
        told(&Operator::Installed(installed))
    };
    assert!(change(|one| one.wanted = 0).contains("scale Deployment parlance-system/parlance up"));
    assert!(change(|one| one.ready = 0).contains("kubectl get pods -n parlance-system"));
    assert!(
        change(|one| one.namespaces = vec!["other".into()]).contains("only looks after the namespaces other")
    );
    let stale =
        change(|one| one.lease.as_mut().unwrap().renewed = Some("2026-01-01T00:50:00Z".parse().unwrap()));
    assert!(
        stale.contains("Lease parlance was last renewed 10m ago, by parlance-abc"),
        "{stale}"
    );
}

#[test]
fn what_the_operator_has_not_said_is_judged_as_it_would() {
    let mut object = well();
    object.as_object_mut().unwrap().remove("status");
    let mut case = case_of(object);
    let waits = json!({ "waiting": { "reason": "ErrImagePull", "message": "not found" } });
    let server = container("server", false, 0, waits, json!({}));
    case.facts.pods = vec![pod(json!({ "phase": "Pending", "containerStatuses": [server] }))];
    let (text, outcome) = paragraph(&case, &running());
    assert!(
        text.contains("cannot be pulled: not found; check image and imagePullSecrets (ImagePullFailed)"),
        "{text}"
    );
    assert!(text.contains("it has no status"), "{text}");
    assert_eq!(outcome, Outcome::Wrong);
}

#[test]
fn a_pause_is_named_with_its_end() {
    let mut object = well();
    object["metadata"]["annotations"] = json!({ "parlance.dev/paused": "true" });
    let (text, outcome) = paragraph(&case_of(object.clone()), &running());
    assert!(
        text.contains("is healthy") && text.contains("It is paused: "),
        "{text}"
    );
    assert_eq!(outcome, Outcome::Well);
    object["metadata"]["generation"] = json!(3);
    let (text, outcome) = paragraph(&case_of(object), &running());
    assert!(
        text.contains("`kubectl annotate tsvc/calls parlance.dev/paused- -n speech`"),
        "{text}"
    );
    assert_eq!(outcome, Outcome::Wrong);
}

#[test]
fn pods_without_a_node_and_recent_warnings_bear_the_cause_out() {
    let mut case = case_of(ill(
        "Unschedulable",
        "no node takes pod calls-1: 0/3 nodes are available: 3 Insufficient cpu.",
    ));
    case.facts.pods = vec![pod(json!({ "phase": "Pending", "conditions": [
        { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient cpu." }] }))];
    let event = |reason: &str, message: &str, at: &str| {
        serde_json::from_value(
            json!({ "metadata": {}, "type": "Warning", "reason": reason, "message": message, "lastTimestamp": at,
            "involvedObject": { "kind": "Pod", "name": "calls-1" } }),
        )
        .unwrap()
    };
    case.facts.events = vec![event("Failed", "an hour ago and more", "2025-12-31T23:00:00Z")];
    let (text, _) = paragraph(&case, &running());
    assert_eq!(text.matches("Insufficient cpu").count(), 1, "{text}");
    assert!(!text.contains("an hour ago and more"), "{text}");
    case.facts
        .events
        .push(event("FailedCreate", "quota exceeded", "2026-01-01T00:59:00Z"));
    let back_off = event("BackOff", "Back-off restarting", "2026-01-01T00:59:30Z");
    case.facts.events.push(back_off);
    let (text, _) = paragraph(&case, &running());
    assert!(
        text.contains("The last warning, 60s ago, about pod calls-1: quota exceeded."),
        "{text}"
    );
}

#[test]
fn what_serves_may_still_have_something_to_tell() {
    let mut case = case_of(well());
    let server = container(
        "server",
        true,
        2,
        json!({ "running": {} }),
        ended(137, "OOMKilled"),
    );
    case.facts.pods = vec![pod(json!({ "phase": "Running", "containerStatuses": [server] }))];
    let autoscaler = json!({ "metadata": { "name": "calls" },
        "spec": { "maxReplicas": 4, "scaleTargetRef": { "kind": "Deployment", "name": "calls" } },
        "status": { "desiredReplicas": 4, "conditions": [
            { "type": "AbleToScale", "status": "True" },
            { "type": "ScalingActive", "status": "False", "message": "no metrics" }] } });
    case.facts.autoscalers = vec![serde_json::from_value(autoscaler).unwrap()];
    case.facts.hidden.insert("events".into());
    let (text, outcome) = paragraph(&case, &Operator::Absent);
    for part in [
        "is healthy: 2 of 2 pods serve.",
        "Container server of pod calls-1 ended with exit code 137 (OOMKilled), 2m ago, and was started again 2 times. It runs now.",
        "Its autoscaler cannot scale: no metrics.",
        "Nobody looks after it now, so this may be old: no operator runs in this cluster",
        "More may stand in what you may not list: events.",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert_eq!((outcome, text.lines().count()), (Outcome::Well, 1));
}

#[test]
fn something_that_goes_is_not_well() {
    let mut object = well();
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:55:00Z");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let (text, outcome) = paragraph(&case_of(object), &running());
    assert!(
        text.contains("is being deleted since 5m; it waits for its finalizers example.com/hold."),
        "{text}"
    );
    assert_eq!(outcome, Outcome::Wrong);
}
