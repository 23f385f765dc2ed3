//! What a canary needs, when it has failed, and that the others' plan is none of its business.

use serde_json::{Value, json};

use super::*;
use crate::names::Kind;
use crate::transcription_service::plan;
use crate::transcription_service::plan::Plan;

fn service(canary: Value, status: Value) -> TranscriptionService {
    serde_json::from_value(json!({
        "apiVersion": "parlance.dev/v1alpha1", "kind": "TranscriptionService",
        "metadata": {"name": "calls", "namespace": "speech", "uid": "u-1", "generation": 1},
        "spec": {"model": {"source": {"bundled": {"name": "nano"}}, "cache": {"reclaim": "Retain"}}, "replicas": 4,
                 "transcription": {"language": "en", "vad": {"threshold": 0.5, "minSpeech": "200ms"}}, "canary": canary},
        "status": {"canary": status},
    }))
    .unwrap()
}

fn decided(service: &TranscriptionService, fetched: &Fetched) -> Plan {
    let owner = Owner::of(Kind::TranscriptionService, &service.metadata);
    plan::plan(service, &owner, fetched, "server:1").unwrap()
}

fn canary(block: Value, fetched: &Fetched) -> Result<CanaryPlan, Error> {
    decided(&service(block, Value::Null), fetched)
        .canary
        .unwrap()
        .map(|plan| *plan)
}

/// A pod of the variant whose server is in this state.
fn pod(variant: &str, made: &str, server: Value) -> Value {
    let mut status =
        json!({"name": "server", "image": "server:2", "imageID": "", "ready": false, "restartCount": 0});
    status
        .as_object_mut()
        .unwrap()
        .extend(server.as_object().unwrap().clone());
    json!({"metadata": {"name": "calls-canary-1", "annotations": {VARIANT: variant}, "creationTimestamp": made},
           "spec": {"nodeName": "n", "containers": [{"name": "server"}]}, "status": {"phase": "Running", "containerStatuses": [status]}})
}

use crate::names::VARIANT;

/// Fetched at one o'clock, with this pod of the canary.
fn with_pod(pod: Value) -> Fetched {
    let mut fetched = Fetched::default();
    fetched.canary.pods = vec![serde_json::from_value(pod).unwrap()];
    fetched.canary.at = "2026-01-01T01:00:00Z".parse().unwrap();
    fetched
}

fn image(weight: i32) -> Value {
    json!({"weight": weight, "image": "server:2"})
}

#[test]
fn a_share_is_rounded_up_and_nothing_of_nothing() {
    let shares =
        [(10, 1), (10, 4), (10, 20), (10, 21), (50, 3), (10, 0)].map(|(weight, pods)| share(weight, pods));
    assert_eq!(shares, [1, 1, 2, 3, 2, 0]);
}

#[test]
fn what_it_does_otherwise_is_laid_over_what_the_service_does() {
    let block = json!({"transcription": {"beamSize": 2, "vad": {"threshold": 0.3}}});
    let plan = canary(block, &Fetched::default()).unwrap();
    let flags = &plan.workload.server;
    assert_eq!((flags.beam_size, flags.language.as_str()), (Some(2), "en"));
    let vad = flags.vad.as_ref().unwrap();
    assert_eq!(
        (vad.threshold, vad.min_speech),
        (Some(0.3), Some(Duration::from_millis(200)))
    );
    assert_eq!(plan.workload.image.reference, "server:1");
    assert_eq!(plan.cache, None, "the model is the others', on their volume");
    assert_eq!(plan.workload.model.claim.as_deref(), Some("calls-cache"));
    let refused = canary(
        json!({"transcription": {"beamSize": "many"}}),
        &Fetched::default(),
    )
    .unwrap_err();
    assert!(
        refused.to_string().starts_with("canary.transcription: "),
        "{refused}"
    );
}

#[test]
fn another_image_or_model_comes_to_a_volume_of_its_own_that_goes_with_it() {
    for block in [
        image(10),
        json!({"model": {"source": {"bundled": {"name": "other"}}}}),
    ] {
        let plan = canary(block, &Fetched::default()).unwrap();
        let cache = plan.cache.unwrap();
        assert_eq!(
            (cache.name.as_str(), cache.reclaim),
            ("calls-canary-cache", Reclaim::Delete)
        );
        assert_eq!(plan.workload.model.claim.as_deref(), Some("calls-canary-cache"));
        assert_eq!(
            plan.workload.model_name, "nano",
            "clients may name the model that they know"
        );
    }
}

#[test]
fn under_an_autoscaler_its_share_is_of_the_pods_that_there_are() {
    let mut service = service(image(20), Value::Null);
    service.spec.serving.replicas = None;
    service.spec.serving.autoscaling =
        serde_json::from_value(json!({"minReplicas": 2, "maxReplicas": 20, "targetCPUUtilization": 70}))
            .unwrap();
    let mut fetched = Fetched::default();
    let replicas = |fetched: &Fetched| {
        decided(&service, fetched)
            .canary
            .unwrap()
            .unwrap()
            .workload
            .replicas
    };
    assert_eq!(replicas(&fetched), Replicas::Fixed(1));
    let live =
        json!({"metadata": {"name": "calls"}, "spec": {"replicas": 11, "selector": {}, "template": {}}});
    fetched.observed.children.deployments = vec![serde_json::from_value(live).unwrap()];
    assert_eq!(replicas(&fetched), Replicas::Fixed(3));
}

#[test]
fn a_model_that_does_not_exist_is_the_canarys_trouble_alone() {
    let plan = decided(
        &service(json!({"modelRef": {"name": "better"}}), Value::Null),
        &Fetched::default(),
    );
    assert_eq!(plan.canary, Some(Err(Error::ModelNotFound("better".into()))));
    assert_eq!(plan.workload.replicas, Replicas::Fixed(4));
}

#[test]
fn more_pods_or_another_judgement_restart_none() {
    let plan = |block: Value| canary(block, &Fetched::default()).unwrap();
    let (one, more) = (
        plan(image(10)),
        plan(json!({"weight": 50, "image": "server:2", "analysis": {}})),
    );
    assert_eq!(one.variant, more.variant);
    assert_ne!(one.of, more.of, "but it is a new try");
    assert_eq!(more.duration, Some(Duration::from_secs(600)));
    assert_ne!(one.variant, plan(json!({"image": "server:3"})).variant);
}

fn failed(block: Value, server: Value, made: &str) -> Option<String> {
    let variant = canary(block.clone(), &Fetched::default()).unwrap().variant;
    let plan = canary(block, &with_pod(pod(&variant, made, server))).unwrap();
    let expected = Replicas::Fixed(if plan.failure.is_some() { 0 } else { 1 });
    assert_eq!(
        plan.workload.replicas, expected,
        "one that has failed has no pods"
    );
    plan.failure.map(|failure| failure.reason)
}

const NOW: &str = "2026-01-01T00:59:50Z";
const BEFORE: &str = "2026-01-01T00:58:00Z";

#[test]
fn a_server_that_ends_once_too_often_has_failed() {
    let crashed = json!({"state": {"terminated": {"exitCode": 1}}});
    let tolerant = json!({"image": "server:2", "analysis": {"maxRestarts": 1}});
    assert_eq!(
        failed(image(10), crashed.clone(), NOW).as_deref(),
        Some("CrashLoop")
    );
    assert_eq!(failed(tolerant.clone(), crashed, NOW), None);
    let again = json!({"restartCount": 1, "ready": true, "state": {"running": {}}});
    assert_eq!(
        failed(image(10), again.clone(), NOW).as_deref(),
        Some("CrashLoop"),
        "though it runs now"
    );
    assert_eq!(failed(tolerant.clone(), again, NOW), None);
    let thrice = json!({"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
    assert_eq!(failed(tolerant, thrice, NOW).as_deref(), Some("CrashLoop"));
    let well = json!({"ready": true, "state": {"running": {}}});
    assert_eq!(failed(image(10), well, BEFORE), None);
}

#[test]
fn an_image_that_does_not_come_has_a_minute() {
    let waits = json!({"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}});
    assert_eq!(failed(image(10), waits.clone(), NOW), None);
    assert_eq!(
        failed(image(10), waits, BEFORE).as_deref(),
        Some("ImagePullFailed")
    );
}

#[test]
fn pods_of_what_was_tried_before_tell_nothing_of_what_is_tried_now() {
    let crashed = json!({"state": {"terminated": {"exitCode": 1}}});
    let plan = canary(image(10), &with_pod(pod("another", BEFORE, crashed))).unwrap();
    assert_eq!(plan.failure, None);
}

#[test]
fn what_has_failed_stays_away_until_its_block_changes() {
    let of = canary(image(10), &Fetched::default()).unwrap().of;
    let status = json!({"phase": "Failed", "reason": "CrashLoop", "message": "it ended", "of": of});
    let again = |block: Value| {
        decided(&service(block, status.clone()), &Fetched::default())
            .canary
            .unwrap()
            .unwrap()
    };
    let plan = again(image(10));
    assert_eq!(plan.workload.replicas, Replicas::Fixed(0));
    assert_eq!(plan.failure.unwrap().message, "it ended");
    assert_eq!(again(image(11)).failure, None);
}
