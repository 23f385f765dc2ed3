//! Canaries of TranscriptionServices against the apiserver in memory.

use serde_json::{Value, json};

use crate::Scenario;
use crate::transcription_service::serve;

fn spec(canary: Value) -> Value {
    json!({"model": {"source": {"bundled": {"name": "whisper-nano-digits"}}}, "profile": "nano", "replicas": 2, "canary": canary})
}

fn beams() -> Value {
    json!({"transcription": {"beamSize": 2}})
}

/// A service whose pods serve, and then this canary.
async fn serving(canary: Value) -> Scenario {
    let scenario = Scenario::with_service(spec(Value::Null));
    scenario.reconcile_service().await.unwrap();
    serve(&scenario, 2);
    scenario.reconcile_service().await.unwrap();
    scenario.forget();
    with_canary(&scenario, canary).await;
    scenario
}

async fn with_canary(scenario: &Scenario, canary: Value) {
    scenario.change_spec("transcriptionservices", "calls", |spec| spec["canary"] = canary);
    scenario.reconcile_service().await.unwrap();
}

/// The canary's pods are up, or are not.
fn canary_serves(scenario: &Scenario, ready: i64) {
    scenario.world().edit("deployments", "calls-canary", |deployment| {
        deployment["status"] = json!({
            "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": ready, "availableReplicas": ready,
            "conditions": [{"type": "Available", "status": "True"}],
        });
    });
}

/// A pod of the canary has ended with an error.
fn canary_crashes(scenario: &Scenario) {
    let template = scenario.world().get("deployments", "calls-canary")["spec"]["template"].clone();
    let ended = json!({"terminated": {"exitCode": 1, "message": "no such flag"}});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
        "metadata": {"name": "calls-canary-1", "namespace": "speech", "labels": template["metadata"]["labels"],
                     "annotations": template["metadata"]["annotations"]},
        "status": {"phase": "Running", "containerStatuses": [{
            "name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": ended}]},
    });
    scenario.world().put("pods", pod);
}

fn status(scenario: &Scenario) -> Value {
    scenario.world().get("transcriptionservices", "calls")["status"].clone()
}

fn replicas(scenario: &Scenario) -> Value {
    scenario.world().get("deployments", "calls-canary")["spec"]["replicas"].clone()
}

#[tokio::test]
async fn a_canary_comes_is_left_alone_is_put_back_and_goes() {
    let scenario = serving(beams()).await;
    assert_eq!(
        scenario.world().take_writes(),
        [
            "PATCH services/calls",
            "PATCH deployments/calls-canary",
            "PATCH transcriptionservices/calls/status"
        ],
        "and not the others' Deployment"
    );
    canary_serves(&scenario, 1);
    scenario.reconcile_service().await.unwrap();
    assert_eq!(status(&scenario)["canary"]["phase"], "Serving");
    assert_eq!(status(&scenario)["replicas"], 2);
    let events = scenario.world().take_events();
    assert!(
        events.contains(&"CanaryServing: 1 of 1 pods serve".into()),
        "{events:?}"
    );
    scenario.forget();
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty(), "at rest");

    scenario
        .world()
        .edit("deployments", "calls-canary", |deployment| {
            deployment["spec"]["replicas"] = json!(7);
        });
    scenario.reconcile_service().await.unwrap();
    assert_eq!(scenario.world().take_writes(), ["PATCH deployments/calls-canary"]);
    assert_eq!(replicas(&scenario), 1);
    scenario.world().delete("deployments", "calls-canary");
    scenario.reconcile_service().await.unwrap();
    let events = scenario.world().take_events();
    assert!(
        events.contains(&"Repaired: put back Deployment calls-canary, which had been deleted".into()),
        "{events:?}"
    );
    scenario.forget();

    with_canary(&scenario, Value::Null).await;
    assert_eq!(
        scenario.world().take_writes(),
        [
            "PATCH services/calls",
            "DELETE deployments/calls-canary",
            "PATCH transcriptionservices/calls/status"
        ],
        "clients are led away before its pods end"
    );
    assert_eq!(status(&scenario)["canary"], Value::Null);
}

#[tokio::test]
async fn a_canary_that_fails_is_taken_away_until_its_block_changes() {
    let scenario = serving(beams()).await;
    canary_crashes(&scenario);
    scenario.forget();
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.world().take_writes(),
        [
            "PATCH deployments/calls-canary",
            "PATCH transcriptionservices/calls/status"
        ]
    );
    assert_eq!(replicas(&scenario), 0);
    let events = scenario.world().take_events();
    let told = events
        .iter()
        .filter(|event| event.starts_with("CanaryFailed: CrashLoop: "))
        .count();
    assert_eq!(told, 1, "{events:?}");
    assert_eq!(
        scenario.condition("transcriptionservices", "calls", "Ready"),
        ("True".into(), "AsExpected".into())
    );
    assert_eq!(
        scenario.condition("transcriptionservices", "calls", "Degraded"),
        ("True".into(), "CanaryFailed".into())
    );
    let healthy = || scenario.condition("transcriptionservices", "calls", "CanaryHealthy");
    assert_eq!(healthy(), ("False".into(), "CrashLoop".into()));

    // Its pods are gone, and with them what they told.
    scenario.world().delete("pods", "calls-canary-1");
    scenario.forget();
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty(), "at rest");
    assert!(scenario.world().take_events().is_empty());
    assert_eq!(healthy(), ("False".into(), "CrashLoop".into()));

    with_canary(&scenario, json!({"transcription": {"beamSize": 3}})).await;
    assert_eq!(replicas(&scenario), 1);
    assert_eq!(healthy().0, "Unknown");
}

#[tokio::test]
async fn a_canary_that_cannot_be_made_keeps_nothing_else_from_being_made() {
    let scenario = serving(json!({"modelRef": {"name": "better"}})).await;
    let healthy = || scenario.condition("transcriptionservices", "calls", "CanaryHealthy");
    assert_eq!(healthy(), ("False".into(), "ModelNotFound".into()));
    assert_eq!(
        scenario.condition("transcriptionservices", "calls", "Ready").0,
        "True"
    );

    let foreign = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "calls-canary", "namespace": "speech"}, "spec": {}});
    scenario.world().put("deployments", foreign);
    scenario.change_spec("transcriptionservices", "calls", |spec| {
        spec["canary"] = beams();
        spec["threads"] = json!(2);
    });
    scenario.reconcile_service().await.unwrap_err();
    assert_eq!(healthy(), ("False".into(), "NameConflict".into()));
    let writes = scenario.world().take_writes();
    assert!(writes.contains(&"PATCH deployments/calls".into()), "{writes:?}");
    assert!(
        !writes.contains(&"PATCH deployments/calls-canary".into()),
        "{writes:?}"
    );
}

#[tokio::test]
async fn a_canary_waits_for_its_model_and_is_refused_with_one_that_failed() {
    let scenario = serving(json!({"modelRef": {"name": "better"}})).await;
    let healthy = || scenario.condition("transcriptionservices", "calls", "CanaryHealthy");
    let model = |degraded: &str, cached: &str| {
        let condition = |type_: &str, status: &str| {
            json!({"type": type_, "status": status, "reason": "EvaluationFailed", "message": "", "observedGeneration": 1,
                   "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let digest = match cached {
            "True" => json!("sha256:2"),
            _ => Value::Null,
        };
        json!({
            "apiVersion": "parlance.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": "better", "namespace": "speech", "uid": "u-2", "generation": 1},
            "spec": {"source": {"bundled": {"name": "other"}}},
            "status": {"digest": digest, "message": "so it is",
                       "conditions": [condition("Degraded", degraded), condition("ModelCached", cached)]},
        })
    };
    scenario.world().put("modeldeployments", model("False", "False"));
    scenario.reconcile_service().await.unwrap();
    assert_eq!(healthy(), ("Unknown".into(), "ModelNotReady".into()));
    scenario.world().put("modeldeployments", model("True", "False"));
    scenario.reconcile_service().await.unwrap();
    assert_eq!(healthy(), ("False".into(), "ModelNotReady".into()));
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "better-model", "namespace": "speech"},
        "spec": {"accessModes": ["ReadWriteMany"]}, "status": {"phase": "Bound"}});
    scenario.world().put("persistentvolumeclaims", claim);
    scenario.world().put("modeldeployments", model("False", "True"));
    scenario.reconcile_service().await.unwrap();
    assert_eq!(healthy().0, "Unknown", "it heals by itself, and its pods start");
    let canary = scenario.world().get("deployments", "calls-canary").clone();
    let pod = &canary["spec"]["template"]["spec"];
    assert_eq!(
        pod["volumes"][0]["persistentVolumeClaim"]["claimName"],
        "better-model"
    );
    assert!(
        pod["containers"][0]["args"]
            .as_array()
            .unwrap()
            .contains(&json!("--digest=sha256:2"))
    );
    let others = scenario.world().get("deployments", "calls").clone();
    assert_eq!(
        others["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"],
        "calls-cache"
    );
}
