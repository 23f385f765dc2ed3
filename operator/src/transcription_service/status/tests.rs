//! Statuses of a TranscriptionService, from what was found and done.

use serde_json::{Value, json};

use super::*;
use crate::observe::Observed;
use crate::transcription_service::{build, plan};

fn service(status: Value) -> TranscriptionService {
    serde_json::from_value(json!({
        "apiVersion": "parlance.dev/v1alpha1", "kind": "TranscriptionService",
        "metadata": {"name": "calls", "namespace": "speech", "uid": "u-1", "generation": 4},
        "spec": {"model": {"source": {"bundled": {"name": "nano"}}}, "profile": "nano", "replicas": 2},
        "status": status,
    }))
    .unwrap()
}

fn deployment(ready: i32) -> Deployment {
    let available = if ready > 0 { "True" } else { "False" };
    serde_json::from_value(json!({
        "metadata": {"name": "calls", "generation": 1}, "spec": {"replicas": 2, "selector": {}, "template": {}},
        "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": ready,
                   "availableReplicas": ready, "conditions": [{"type": "Available", "status": available}]},
    }))
    .unwrap()
}

/// Fetched with these pods.
fn fetched(pods: Value) -> Fetched {
    let observed = Observed {
        pods: serde_json::from_value(pods).unwrap(),
        ..Observed::default()
    };
    Fetched {
        observed,
        ..Fetched::default()
    }
}

fn verified_pods() -> Value {
    let report = json!({"digest": "sha256:1", "sizeBytes": 5, "files": 2}).to_string();
    let ended =
        json!({"terminated": {"exitCode": 0, "message": report, "finishedAt": "2026-01-01T00:00:00Z"}});
    json!([{"metadata": {"name": "calls-1"}, "spec": {"nodeName": "n", "containers": []}, "status": {"phase": "Running",
        "initContainerStatuses": [{"name": "model", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": ended}]}}])
}

fn crashing_pods() -> Value {
    let mut pods = verified_pods();
    pods[0]["status"]["containerStatuses"] = json!([{
        "name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 2,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1, "message": "no such flag"}}}]);
    pods
}

fn applied(service: &TranscriptionService, fetched: &Fetched, ready: i32) -> Outcome {
    let owner = Owner::of(KIND, &service.metadata);
    let plan = plan::plan(service, &owner, fetched, "server:1").unwrap();
    let services = build::build(&plan).services;
    let applied = Resources {
        services,
        deployments: vec![deployment(ready)],
        ..Resources::default()
    };
    Outcome::Applied {
        plan,
        applied: Box::new(applied),
        canary: Ok(None),
        changes: Vec::new(),
    }
}

fn told(status: &TranscriptionServiceStatus) -> (ServicePhase, String) {
    (status.phase.unwrap(), status.message.clone().unwrap())
}

#[test]
fn ready_in_full() {
    let (service, fetched) = (service(json!(null)), fetched(verified_pods()));
    let status = status(&service, &fetched, &applied(&service, &fetched, 2), now());
    assert_eq!(told(&status), (ServicePhase::Ready, "2 of 2 pods serve".into()));
    assert_eq!(status.observed_generation, Some(4));
    assert_eq!((status.replicas, status.ready_replicas), (2, 2));
    let endpoint = status.endpoint.unwrap();
    assert_eq!(
        (endpoint.grpc.as_str(), endpoint.http.as_str()),
        ("calls.speech.svc:50051", "http://calls.speech.svc:8080")
    );
    let model = status.model.unwrap();
    assert_eq!(
        (model.name.as_str(), model.digest.as_deref()),
        ("nano", Some("sha256:1"))
    );
    assert!(
        status
            .conditions
            .iter()
            .all(|condition| condition.observed_generation == Some(4))
    );
    assert_eq!(
        status.selector.unwrap(),
        "app.kubernetes.io/component=server,parlance.dev/kind=TranscriptionService,parlance.dev/name=calls"
    );
}

#[test]
fn pods_are_being_started() {
    let (service, none) = (service(json!(null)), fetched(json!([])));
    let status_of = |fetched: &Fetched, ready| {
        told(&status(
            &service,
            fetched,
            &applied(&service, fetched, ready),
            now(),
        ))
    };
    assert_eq!(
        status_of(&none, 0),
        (
            ServicePhase::Deploying,
            "the model is being put on its volume and verified".into()
        )
    );
    let verified = fetched(verified_pods());
    let expected = "1 of 2 pods serve; pods are being started or replaced";
    assert_eq!(
        status_of(&verified, 1),
        (ServicePhase::Deploying, expected.into())
    );
}

#[test]
fn something_is_wrong_and_some_or_none_serve() {
    let (service, fetched) = (service(json!(null)), fetched(crashing_pods()));
    let phase = |ready| {
        told(&status(
            &service,
            &fetched,
            &applied(&service, &fetched, ready),
            now(),
        ))
        .0
    };
    assert_eq!(phase(1), ServicePhase::Degraded);
    assert_eq!(phase(0), ServicePhase::Failed);
}

#[test]
fn a_refusal_says_why_and_keeps_counting_the_pods() {
    let service = service(json!(null));
    let mut fetched = fetched(verified_pods());
    let refused = || Outcome::Refused(plan::Error::ModelNotFound("digits".into()));
    let pending = status(&service, &fetched, &refused(), now());
    assert_eq!(told(&pending).0, ServicePhase::Pending);
    fetched.observed.children.deployments.push(deployment(2));
    let degraded = status(&service, &fetched, &refused(), now());
    assert_eq!(
        (told(&degraded).0, degraded.ready_replicas),
        (ServicePhase::Degraded, 2)
    );
}

#[test]
fn a_model_that_is_not_ready_is_awaited_and_nothing_is_wrong() {
    let (service, fetched) = (service(json!(null)), fetched(json!([])));
    let refused = Outcome::Refused(plan::Error::ModelNotReady {
        name: "digits".into(),
        message: "being fetched".into(),
    });
    let status = status(&service, &fetched, &refused, now());
    assert_eq!(told(&status).0, ServicePhase::Pending);
    let short: Vec<String> = status
        .conditions
        .iter()
        .map(|one| format!("{}={} {}", one.type_, one.status, one.reason))
        .collect();
    assert_eq!(
        short,
        [
            "Ready=False ModelNotReady",
            "Progressing=True ModelNotReady",
            "Degraded=False AsExpected",
            "ModelCached=False ModelNotReady",
            "WorkloadAvailable=Unknown ModelNotReady",
        ]
    );
}

#[test]
fn a_conflict_says_whose_the_name_is() {
    let (service, fetched) = (service(json!(null)), fetched(json!([])));
    let Outcome::Applied { plan, .. } = applied(&service, &fetched, 0) else {
        unreachable!()
    };
    let error = apply::Error::Conflict {
        kind: "Service".into(),
        name: "calls".into(),
        holder: "belongs to Application x".into(),
    };
    let (phase, message) = told(&status(
        &service,
        &fetched,
        &Outcome::Failed { plan, error },
        now(),
    ));
    assert_eq!(phase, ServicePhase::Failed);
    assert!(
        message.starts_with("Service calls exists already and belongs to Application x"),
        "{message}"
    );
}

#[test]
fn a_digest_is_remembered_for_the_same_model_only() {
    let digest = |before: Value| {
        let (service, fetched) = (service(before), fetched(json!([])));
        status(&service, &fetched, &applied(&service, &fetched, 0), now())
            .model
            .unwrap()
            .digest
    };
    assert_eq!(
        digest(json!({"model": {"name": "nano", "digest": "sha256:1"}})).as_deref(),
        Some("sha256:1")
    );
    assert_eq!(
        digest(json!({"model": {"name": "other", "digest": "sha256:1"}})),
        None
    );
}
