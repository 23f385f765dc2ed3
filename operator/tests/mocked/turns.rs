//! How many models are served at once, and those that are served by no pods, against the apiserver in memory.

use serde_json::json;

use crate::evaluation::{OLD, gated, is_fetched, is_rolled_out, status};
use crate::{Scenario, object};

#[tokio::test]
async fn a_model_over_the_limit_waits_and_goes_on_when_another_goes() {
    let mut scenario = Scenario::with_model(
        json!({"source": {"bundled": {"name": "nano"}}, "serving": {"profile": "nano"}}),
    );
    std::sync::Arc::get_mut(&mut scenario.context)
        .unwrap()
        .max_deployed = 1;
    let mut other = object("ModelDeployment", "another", gated());
    other["status"] = json!({"endpoint": {"grpc": "a:1", "http": "http://a:2"}});
    scenario.world().put("modeldeployments", other);
    scenario.reconcile_model().await.unwrap();
    is_fetched(&scenario, OLD);
    scenario.reconcile_model().await.unwrap();
    let waiting = status(&scenario);
    assert_eq!(
        (&waiting["phase"], &waiting["digest"]),
        (&json!("Pending"), &json!(OLD)),
        "it is verified meanwhile"
    );
    assert_eq!(
        scenario.condition("modeldeployments", "digits", "Ready"),
        ("False".into(), "MaxDeployedReached".into())
    );
    scenario.forget();
    scenario.reconcile_model().await.unwrap();
    assert!(scenario.world().take_writes().is_empty());
    scenario.world().delete("modeldeployments", "another");
    scenario.reconcile_model().await.unwrap();
    assert_eq!(status(&scenario)["phase"], "Deploying");
    let told = scenario.world().take_events();
    assert!(
        told[0].starts_with("Created: created ServiceAccount digits-model"),
        "{told:?}"
    );
}

#[tokio::test]
async fn no_pods_are_idle() {
    let scenario =
        Scenario::with_model(json!({"source": {"bundled": {"name": "nano"}}, "serving": {"replicas": 0}}));
    scenario.reconcile_model().await.unwrap();
    is_fetched(&scenario, OLD);
    scenario.reconcile_model().await.unwrap();
    is_rolled_out(&scenario, "digits-model");
    scenario.reconcile_model().await.unwrap();
    assert_eq!(status(&scenario)["phase"], "Idle");
    scenario.world().put(
        "transcriptionservices",
        object(
            "TranscriptionService",
            "calls",
            json!({"modelRef": {"name": "digits"}, "replicas": 0}),
        ),
    );
    scenario.reconcile_service().await.unwrap();
    is_rolled_out(&scenario, "calls");
    scenario.reconcile_service().await.unwrap();
    assert_eq!(
        scenario.world().get("transcriptionservices", "calls")["status"]["phase"],
        "Idle"
    );
}
