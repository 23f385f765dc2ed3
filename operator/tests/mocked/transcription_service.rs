//! TranscriptionServices against the apiserver in memory.

use serde_json::{Value, json};

use crate::Scenario;

fn bundled() -> Value {
    json!({"model": {"source": {"bundled": {"name": "whisper-nano-digits"}}}, "profile": "nano"})
}

fn with(mut spec: Value, field: &str, value: Value) -> Value {
    spec[field] = value;
    spec
}

/// The Deployment's pods are up.
pub(crate) fn serve(scenario: &Scenario, replicas: i64) {
    scenario.world().edit("deployments", "calls", |deployment| {
        deployment["status"] = json!({
            "observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas,
            "availableReplicas": replicas, "conditions": [{"type": "Available", "status": "True"}],
        });
    });
}

#[tokio::test]
async fn the_first_reconcile_makes_every_child_the_pods_after_what_they_need() {
    let scenario = Scenario::with_service(with(bundled(), "replicas", json!(2)));
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.world().take_writes(),
        [
            "PATCH serviceaccounts/calls",
            "PATCH persistentvolumeclaims/calls-cache",
            "PATCH services/calls",
            "PATCH poddisruptionbudgets/calls",
            "PATCH deployments/calls",
            "PATCH transcriptionservices/calls/status",
        ]
    );
    assert_eq!(
        scenario.world().take_events(),
        [
            "Created: created ServiceAccount calls, PersistentVolumeClaim calls-cache, Service calls, PodDisruptionBudget calls, Deployment calls",
            "FetchingModel: the model is being put on its volume and verified",
        ]
    );
    let ready = scenario.condition("transcriptionservices", "calls", "Ready");
    assert_eq!(ready, ("False".into(), "FetchingModel".into()));
}

#[tokio::test]
async fn steady_state_writes_nothing_and_tells_nothing() {
    let scenario = Scenario::with_service(with(
        bundled(),
        "autoscaling",
        json!({"maxReplicas": 3, "targetCPUUtilization": 70}),
    ));
    scenario.reconcile_service().await.unwrap();
    serve(&scenario, 1);
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.world().get("transcriptionservices", "calls")["status"]["phase"],
        "Ready"
    );
    scenario.forget();
    for _ in 0..3 {
        scenario.reconcile_service().await.unwrap();
    }
    assert!(scenario.world().take_writes().is_empty());
    assert!(scenario.world().take_events().is_empty());
}

#[tokio::test]
async fn an_edited_child_is_put_back_and_told() {
    let scenario = Scenario::with_service(bundled());
    scenario.reconcile_service().await.unwrap();
    scenario.forget();
    scenario.world().edit("deployments", "calls", |deployment| {
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other:1");
    });
    scenario.reconcile_service().await.unwrap();
    assert_eq!(scenario.world().take_writes(), ["PATCH deployments/calls"]);
    assert_eq!(
        scenario.world().take_events(),
        [
            "Repaired: put back spec.template.spec.containers[server].image of Deployment calls, which had been edited"
        ]
    );
    let deployment = scenario.world().get("deployments", "calls").clone();
    assert_eq!(
        deployment["spec"]["template"]["spec"]["containers"][0]["image"],
        "server:1"
    );
}

#[tokio::test]
async fn a_deleted_child_is_put_back_and_told() {
    let scenario = Scenario::with_service(bundled());
    scenario.reconcile_service().await.unwrap();
    scenario.forget();
    scenario.world().delete("services", "calls");
    scenario.reconcile_service().await.unwrap();
    assert_eq!(scenario.world().take_writes(), ["PATCH services/calls"]);
    assert_eq!(
        scenario.world().take_events(),
        ["Repaired: put back Service calls, which had been deleted"]
    );
}

#[tokio::test]
async fn what_others_add_is_left_alone() {
    let scenario = Scenario::with_service(bundled());
    scenario.reconcile_service().await.unwrap();
    scenario.world().take_writes();
    scenario.world().edit("deployments", "calls", |deployment| {
        deployment["metadata"]["labels"]["team"] = json!("speech");
        deployment["spec"]["template"]["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/restartedAt": "now"});
    });
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty());
}

#[tokio::test]
async fn an_object_of_someone_else_is_not_touched() {
    let scenario = Scenario::with_service(bundled());
    let foreign = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "calls", "namespace": "speech"}, "spec": {}});
    scenario.world().put("services", foreign);
    let error = scenario.reconcile_service().await.unwrap_err();
    assert_eq!(error.category(), "conflict");
    assert!(
        !scenario
            .world()
            .take_writes()
            .iter()
            .any(|write| write.contains("services/calls") && !write.contains("status"))
    );
    let degraded = scenario.condition("transcriptionservices", "calls", "Degraded");
    assert_eq!(degraded, ("True".into(), "NameConflict".into()));
    assert_eq!(
        scenario.world().get("transcriptionservices", "calls")["status"]["phase"],
        "Failed"
    );
}

#[tokio::test]
async fn children_that_are_no_longer_wanted_are_deleted() {
    let scenario = Scenario::with_service(with(
        bundled(),
        "autoscaling",
        json!({"minReplicas": 2, "maxReplicas": 3, "targetCPUUtilization": 70}),
    ));
    scenario.reconcile_service().await.unwrap();
    scenario.forget();
    scenario.change_spec("transcriptionservices", "calls", |spec| {
        *spec = with(bundled(), "replicas", json!(1))
    });
    scenario.reconcile_service().await.unwrap();
    let writes = scenario.world().take_writes();
    assert!(
        writes.contains(&"DELETE horizontalpodautoscalers/calls".into()),
        "{writes:?}"
    );
    assert!(
        writes.contains(&"DELETE poddisruptionbudgets/calls".into()),
        "{writes:?}"
    );
    let events = scenario.world().take_events();
    assert!(
        events.contains(
            &"Pruned: deleted, as no longer wanted: HorizontalPodAutoscaler calls, PodDisruptionBudget calls"
                .into()
        ),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_retained_cache_stays_and_is_taken_up_again() {
    let retained =
        json!({"source": {"bundled": {"name": "whisper-nano-digits"}}, "cache": {"reclaim": "Retain"}});
    let scenario = Scenario::with_service(with(bundled(), "model", retained.clone()));
    scenario.reconcile_service().await.unwrap();
    let claim = scenario
        .world()
        .get("persistentvolumeclaims", "calls-cache")
        .clone();
    assert_eq!(claim["metadata"]["ownerReferences"], Value::Null);

    let external = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"accessModes": ["ReadWriteMany"]},
                          "metadata": {"name": "models", "namespace": "speech"}, "status": {"phase": "Bound"}});
    scenario.world().put("persistentvolumeclaims", external);
    let elsewhere = json!({"source": {"persistentVolumeClaim": {"claimName": "models", "path": "whisper"}}});
    scenario.change_spec("transcriptionservices", "calls", |spec| spec["model"] = elsewhere);
    scenario.reconcile_service().await.unwrap();
    scenario.world().get("persistentvolumeclaims", "calls-cache");
    scenario.world().get("persistentvolumeclaims", "models");

    // A service of the same name and another uid finds it again.
    scenario.change_spec("transcriptionservices", "calls", |spec| spec["model"] = retained);
    for (plural, name) in [
        ("deployments", "calls"),
        ("services", "calls"),
        ("serviceaccounts", "calls"),
    ] {
        scenario.world().delete(plural, name);
    }
    scenario
        .world()
        .edit("transcriptionservices", "calls", |service| {
            service["metadata"]["uid"] = json!("uid-of-another")
        });
    scenario.reconcile_service().await.unwrap();
}

#[tokio::test]
async fn a_cache_that_is_to_go_with_its_service_is_deleted_with_its_use() {
    let scenario = Scenario::with_service(bundled());
    scenario.reconcile_service().await.unwrap();
    scenario.world().take_writes();
    let external = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"accessModes": ["ReadWriteMany"]},
                          "metadata": {"name": "models", "namespace": "speech"}, "status": {"phase": "Bound"}});
    scenario.world().put("persistentvolumeclaims", external);
    let elsewhere = json!({"source": {"persistentVolumeClaim": {"claimName": "models", "path": ""}}});
    scenario.change_spec("transcriptionservices", "calls", |spec| spec["model"] = elsewhere);
    scenario.reconcile_service().await.unwrap();
    let deleted: Vec<String> = scenario
        .world()
        .take_writes()
        .into_iter()
        .filter(|write| write.starts_with("DELETE"))
        .collect();
    assert_eq!(deleted, ["DELETE persistentvolumeclaims/calls-cache"]);
}

#[tokio::test]
async fn an_autoscaler_takes_over_without_a_dip() {
    let scenario = Scenario::with_service(with(bundled(), "replicas", json!(4)));
    scenario.reconcile_service().await.unwrap();
    scenario.world().take_writes();
    scenario.change_spec("transcriptionservices", "calls", |spec| {
        *spec = with(
            bundled(),
            "autoscaling",
            json!({"minReplicas": 2, "maxReplicas": 6, "targetCPUUtilization": 70}),
        );
    });
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.world().get("deployments", "calls")["spec"]["replicas"],
        4,
        "a dip"
    );
    let handover = scenario
        .world()
        .writes
        .iter()
        .find(|write| write.manager == "parlance-operator-handover")
        .cloned()
        .unwrap();
    assert_eq!(handover.body["spec"], json!({"replicas": 4}));
    let main = scenario
        .world()
        .writes
        .iter()
        .find(|write| write.manager == "parlance-operator" && write.path.ends_with("deployments/calls"))
        .cloned()
        .unwrap();
    assert_eq!(main.body["spec"].get("replicas"), None);

    // The autoscaler's number is its own from now on.
    scenario.world().edit("deployments", "calls", |deployment| {
        deployment["spec"]["replicas"] = json!(6)
    });
    scenario.world().take_writes();
    scenario.reconcile_service().await.unwrap();
    let writes = scenario.world().take_writes();
    assert!(
        !writes.iter().any(|write| write.contains("deployments/calls")),
        "{writes:?}"
    );
    assert_eq!(
        scenario.world().get("deployments", "calls")["spec"]["replicas"],
        6
    );

    // And back: the spec's number counts again.
    scenario.change_spec("transcriptionservices", "calls", |spec| {
        *spec = with(bundled(), "replicas", json!(3))
    });
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.world().get("deployments", "calls")["spec"]["replicas"],
        3
    );
}

#[tokio::test]
async fn an_autoscaler_that_takes_over_no_pods_starts_from_its_least_number() {
    let scenario = Scenario::with_service(with(bundled(), "replicas", json!(0)));
    scenario.reconcile_service().await.unwrap();
    scenario.change_spec("transcriptionservices", "calls", |spec| {
        *spec = with(
            bundled(),
            "autoscaling",
            json!({"minReplicas": 2, "maxReplicas": 6, "targetCPUUtilization": 70}),
        );
    });
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.world().get("deployments", "calls")["spec"]["replicas"],
        2
    );
}

#[tokio::test]
async fn a_model_that_does_not_exist_is_told_once_and_makes_nothing() {
    let scenario = Scenario::with_service(json!({"modelRef": {"name": "digits"}}));
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.world().take_writes(),
        ["PATCH transcriptionservices/calls/status"]
    );
    assert_eq!(
        scenario.world().take_events(),
        ["ModelNotFound: ModelDeployment digits does not exist; create it, or change modelRef"]
    );
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty());
    assert!(scenario.world().take_events().is_empty());
}

#[tokio::test]
async fn a_refused_child_is_told_and_tried_again() {
    let scenario = Scenario::with_service(bundled());
    let quota = "persistentvolumeclaims \"calls-cache\" is forbidden: exceeded quota";
    scenario.world().refuse = Some(("/persistentvolumeclaims/".into(), 403, quota.into()));
    let error = scenario.reconcile_service().await.unwrap_err();
    assert_eq!(error.category(), "apply");
    let degraded = scenario.condition("transcriptionservices", "calls", "Degraded");
    assert_eq!(degraded, ("True".into(), "ApplyFailed".into()));
    let message = scenario.world().get("transcriptionservices", "calls")["status"]["message"].clone();
    assert!(message.as_str().unwrap().contains(quota), "{message}");
    scenario.world().refuse = None;
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.condition("transcriptionservices", "calls", "Degraded").0,
        "False"
    );
}

#[tokio::test]
async fn a_namespace_that_goes_is_no_failure() {
    let scenario = Scenario::with_service(bundled());
    let going = "unable to create new content in namespace speech because it is being terminated";
    scenario.world().refuse = Some(("/serviceaccounts/".into(), 403, going.into()));
    scenario.reconcile_service().await.unwrap();
    assert_eq!(scenario.world().take_writes(), ["PATCH serviceaccounts/calls"]);
    assert!(scenario.world().take_events().is_empty());
}

#[tokio::test]
async fn a_service_that_was_deleted_meanwhile_is_no_failure() {
    let scenario = Scenario::with_service(bundled());
    scenario.world().refuse = Some(("/status".into(), 404, "not found".into()));
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_events().is_empty());
}

#[tokio::test]
async fn a_paused_service_is_left_alone() {
    let scenario = Scenario::with_service(bundled());
    scenario
        .world()
        .edit("transcriptionservices", "calls", |service| {
            service["metadata"]["annotations"] = json!({"parlance.dev/paused": "true"});
        });
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty());
}
