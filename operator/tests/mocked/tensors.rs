//! A model of format onnx: its gate by similarity, its pods, and a service that takes it for a Whisper; against the apiserver in memory.

use serde_json::{Value, json};

use crate::evaluation::{OLD, ends, is_fetched, is_rolled_out, job, status};
use crate::{Scenario, object};

fn gated() -> Value {
    json!({"format": "onnx", "source": {"http": {"files": [{"path": "model.onnx", "url": "http://models/model.onnx"}]}},
           "serving": {"profile": "nano"},
           "evaluation": {"samples": {"configMap": {"name": "tensors"}}, "metric": "similarity"}})
}

fn arguments(scenario: &Scenario, kind: &str, name: &str, containers: &str) -> Vec<String> {
    let world = scenario.world();
    let container = &world.get(kind, name)["spec"]["template"]["spec"][containers][0];
    serde_json::from_value(container["args"].clone()).unwrap()
}

fn is_tried(scenario: &Scenario, value: f64) {
    let failing = json!([{"name": "a", "output": "logits", "similarity": value}]);
    let report = json!({"metric": "similarity", "value": value, "threshold": 0.85, "passed": value >= 0.85, "samples": 2,
                        "failing": failing});
    ends(scenario, "eval", "evaluation", report);
}

async fn tried(value: f64) -> Scenario {
    let scenario = Scenario::with_model(gated());
    scenario.reconcile_model().await.unwrap();
    is_fetched(&scenario, OLD);
    scenario.reconcile_model().await.unwrap();
    is_tried(&scenario, value);
    scenario.reconcile_model().await.unwrap();
    scenario
}

#[tokio::test]
async fn tensors_that_are_alike_enough_are_served_by_pods_that_know_the_format() {
    let scenario = tried(0.97).await;
    let fetch = arguments(&scenario, "jobs", &job(&scenario, "fetch"), "containers");
    assert!(fetch.contains(&"--format=onnx".to_string()), "{fetch:?}");
    let evaluate = arguments(&scenario, "jobs", &job(&scenario, "eval"), "containers");
    assert!(
        evaluate.contains(&"--metric=similarity".to_string()),
        "{evaluate:?}"
    );
    // What nothing is said about is the server's to decide, and a language is a Whisper's.
    let other = |argument: &String| argument.starts_with("--threshold") || argument.starts_with("--language");
    assert!(!evaluate.iter().any(other), "{evaluate:?}");
    for containers in ["containers", "initContainers"] {
        let pods = arguments(&scenario, "deployments", "digits-model", containers);
        assert!(pods.contains(&"--format=onnx".to_string()), "{pods:?}");
    }
    is_rolled_out(&scenario, "digits-model");
    scenario.reconcile_model().await.unwrap();
    assert_eq!(status(&scenario)["phase"], "Deployed");
    assert_eq!(status(&scenario)["evaluation"]["value"], 0.97);
    scenario.world().take_writes();
    scenario.reconcile_model().await.unwrap();
    assert!(scenario.world().take_writes().is_empty());
}

#[tokio::test]
async fn tensors_that_are_not_alike_are_never_served_and_the_output_is_told() {
    let scenario = tried(0.5).await;
    let status = status(&scenario);
    assert_eq!(
        (&status["phase"], &status["digest"]),
        (&json!("Failed"), &Value::Null)
    );
    let said = status["message"].as_str().unwrap();
    assert!(
        said.contains("similarity is 0.5") && said.contains("below the threshold of 0.85"),
        "{said}"
    );
    assert!(said.contains("whose output logits is least alike"), "{said}");
    assert_eq!(status["evaluation"]["failing"][0]["similarity"], 0.5);
    let world = scenario.world();
    assert!(!world.objects.keys().any(|path| path.contains("/deployments/")));
}

#[tokio::test]
async fn a_service_for_speech_says_that_the_model_is_of_tensors() {
    let scenario = tried(0.97).await;
    let service = object(
        "TranscriptionService",
        "calls",
        json!({"modelRef": {"name": "digits"}}),
    );
    scenario.world().put("transcriptionservices", service);
    scenario.reconcile_service().await.unwrap();
    let ready = scenario.condition("transcriptionservices", "calls", "Ready");
    assert_eq!(ready, ("False".into(), "WrongModelFormat".into()));
    let said = scenario.world().get("transcriptionservices", "calls")["status"]["message"].clone();
    assert!(
        said.as_str().unwrap().contains("digits is of format onnx"),
        "{said}"
    );
}
