//! The gate before a model is served, against the apiserver in memory.

use serde_json::{Value, json};

use crate::{Scenario, object};

pub const OLD: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";
const NEW: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000002";

pub fn gated() -> Value {
    json!({"source": {"bundled": {"name": "nano"}}, "serving": {"profile": "nano"},
           "evaluation": {"samples": {"configMap": {"name": "digits"}}, "threshold": 0.15}})
}

/// The one Job of this kind that is there: `fetch` or `eval`.
pub fn job(scenario: &Scenario, kind: &str) -> String {
    let world = scenario.world();
    let part = format!("/jobs/digits-{kind}-");
    let jobs: Vec<&String> = world.objects.keys().filter(|path| path.contains(&part)).collect();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs[0].rsplit('/').next().unwrap().to_string()
}

/// That Job is done, and its pod reports.
pub fn ends(scenario: &Scenario, kind: &str, container: &str, report: Value) {
    let name = job(scenario, kind);
    let mut world = scenario.world();
    world.edit("jobs", &name, |job| {
        job["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1});
    });
    let mut labels = world.get("jobs", &name)["spec"]["template"]["metadata"]["labels"].clone();
    labels["batch.kubernetes.io/job-name"] = json!(name);
    let ended = json!({"terminated": {"exitCode": 0, "message": report.to_string(), "startedAt": "2026-01-01T00:00:00Z",
                                      "finishedAt": "2026-01-01T00:00:03Z"}});
    world.put(
        "pods",
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("{name}-pod"), "namespace": "speech", "labels": labels},
            "spec": {"nodeName": "n", "containers": [{"name": container}]},
            "status": {"phase": "Succeeded", "containerStatuses": [{
                "name": container, "image": "server:1", "imageID": "", "ready": false, "restartCount": 0, "state": ended}]},
        }),
    );
}

pub fn is_fetched(scenario: &Scenario, digest: &str) {
    ends(
        scenario,
        "fetch",
        "model",
        json!({"digest": digest, "sizeBytes": 5_000_000, "files": 7}),
    );
}

fn is_tried(scenario: &Scenario, value: f64) {
    let failing = json!([{"name": "a.wav", "expected": "one", "heard": "nine", "errors": 1}]);
    let report = json!({"metric": "wer", "value": value, "threshold": 0.15, "passed": value <= 0.15, "samples": 4,
                        "failing": failing});
    ends(scenario, "eval", "evaluation", report);
}

pub fn status(scenario: &Scenario) -> Value {
    scenario.world().get("modeldeployments", "digits")["status"].clone()
}

fn arguments(scenario: &Scenario, deployment: &str) -> Vec<String> {
    let world = scenario.world();
    let container = &world.get("deployments", deployment)["spec"]["template"]["spec"]["containers"][0];
    serde_json::from_value(container["args"].clone()).unwrap()
}

async fn deployed() -> Scenario {
    let scenario = Scenario::with_model(gated());
    scenario.reconcile_model().await.unwrap();
    is_fetched(&scenario, OLD);
    scenario.reconcile_model().await.unwrap();
    is_tried(&scenario, 0.0);
    scenario.reconcile_model().await.unwrap();
    scenario
}

/// The Deployment has as many pods as it wants, all serving.
pub fn is_rolled_out(scenario: &Scenario, name: &str) {
    scenario.world().edit("deployments", name, |deployment| {
        let replicas = deployment["spec"]["replicas"].clone();
        deployment["status"] = json!({
            "observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas,
            "availableReplicas": replicas, "conditions": [{"type": "Available", "status": "True"}]});
    });
}

#[tokio::test]
async fn a_good_model_is_evaluated_and_then_served_and_each_step_is_told() {
    let scenario = Scenario::with_model(gated());
    scenario.reconcile_model().await.unwrap();
    assert_eq!(status(&scenario)["phase"], "Downloading");
    is_fetched(&scenario, OLD);
    scenario.reconcile_model().await.unwrap();
    let evaluating = status(&scenario);
    assert_eq!(
        (&evaluating["phase"], &evaluating["digest"]),
        (&json!("Evaluating"), &Value::Null)
    );
    assert_eq!(evaluating["candidate"]["digest"], OLD);
    let passed = |scenario: &Scenario| scenario.condition("modeldeployments", "digits", "EvaluationPassed");
    assert_eq!(passed(&scenario), ("Unknown".into(), "Evaluating".into()));
    scenario.world().take_writes();
    scenario.reconcile_model().await.unwrap();
    assert!(
        scenario.world().take_writes().is_empty(),
        "nothing is written while it is evaluated"
    );

    is_tried(&scenario, 0.05);
    scenario.reconcile_model().await.unwrap();
    let deploying = status(&scenario);
    assert_eq!(
        (&deploying["phase"], &deploying["digest"]),
        (&json!("Deploying"), &json!(OLD))
    );
    assert_eq!(
        (&deploying["candidate"], &deploying["evaluation"]["value"]),
        (&Value::Null, &json!(0.05))
    );
    assert_eq!(passed(&scenario), ("True".into(), "AsExpected".into()));
    is_rolled_out(&scenario, "digits-model");
    scenario.reconcile_model().await.unwrap();
    assert_eq!(status(&scenario)["phase"], "Deployed");
    let told = scenario.world().take_events();
    let told: Vec<&str> = told.iter().filter_map(|one| one.split(':').next()).collect();
    assert_eq!(
        told,
        [
            "Created",
            "FetchingModel",
            "Created",
            "ModelCached",
            "Evaluating",
            "Created",
            "EvaluationPassed",
            "Deploying",
            "Ready",
        ]
    );
    let metrics = scenario.context.metrics.text();
    for metric in [
        "model_evaluation_duration_seconds_sum",
        "time_to_ready_seconds_count",
    ] {
        assert!(
            metrics.contains(&format!("{metric}{{kind=\"ModelDeployment\"}}")),
            "{metric} in {metrics}"
        );
    }
    assert!(
        metrics.contains("model_evaluation_duration_seconds_sum{kind=\"ModelDeployment\"} 3.0"),
        "{metrics}"
    );

    let evaluation = job(&scenario, "eval");
    {
        let mut world = scenario.world();
        world.take_writes();
        world.delete("jobs", &evaluation);
        world.delete("pods", &format!("{evaluation}-pod"));
    }
    scenario.reconcile_model().await.unwrap();
    assert!(
        scenario.world().take_writes().is_empty(),
        "what is known is not tried again"
    );
}

#[tokio::test]
async fn a_model_that_fails_is_never_served() {
    let scenario = Scenario::with_model(gated());
    scenario.world().put(
        "transcriptionservices",
        object(
            "TranscriptionService",
            "calls",
            json!({"modelRef": {"name": "digits"}}),
        ),
    );
    scenario.reconcile_model().await.unwrap();
    is_fetched(&scenario, OLD);
    scenario.reconcile_model().await.unwrap();
    scenario.forget();
    is_tried(&scenario, 0.4);
    scenario.reconcile_model().await.unwrap();
    assert_eq!(
        scenario.world().take_writes(),
        ["PATCH modeldeployments/digits/status"]
    );
    let failed = status(&scenario);
    assert_eq!(
        (&failed["phase"], &failed["digest"]),
        (&json!("Failed"), &Value::Null)
    );
    assert_eq!(
        (
            &failed["evaluation"]["passed"],
            &failed["evaluation"]["failing"][0]["heard"]
        ),
        (&json!(false), &json!("nine"))
    );
    for (type_, expected) in [
        ("EvaluationPassed", "False"),
        ("Degraded", "True"),
        ("Ready", "False"),
    ] {
        let condition = scenario.condition("modeldeployments", "digits", type_);
        assert_eq!(condition, (expected.into(), "EvaluationFailed".into()), "{type_}");
    }
    let told = scenario.world().take_events();
    assert!(
        told.len() == 1 && told[0].starts_with("EvaluationFailed: the model is not good enough: wer is 0.4"),
        "{told:?}"
    );
    scenario.reconcile_service().await.unwrap();
    let message = scenario.world().get("transcriptionservices", "calls")["status"]["message"].to_string();
    assert!(message.contains("not good enough"), "{message}");
    assert!(
        !scenario
            .world()
            .objects
            .keys()
            .any(|path| path.contains("/deployments/"))
    );
    scenario.forget();
    scenario.reconcile_model().await.unwrap();
    scenario.reconcile_service().await.unwrap();
    assert!(scenario.world().take_writes().is_empty() && scenario.world().take_events().is_empty());
}

#[tokio::test]
async fn a_changed_model_that_fails_leaves_the_old_one_served_and_looked_after() {
    let scenario = deployed().await;
    scenario.world().put(
        "transcriptionservices",
        object(
            "TranscriptionService",
            "calls",
            json!({"modelRef": {"name": "digits"}}),
        ),
    );
    scenario.reconcile_service().await.unwrap();
    for name in ["calls", "digits-model"] {
        is_rolled_out(&scenario, name);
    }
    scenario.reconcile_model().await.unwrap();
    scenario.reconcile_service().await.unwrap();
    let before = (
        arguments(&scenario, "digits-model"),
        arguments(&scenario, "calls"),
    );
    let old_folder = status(&scenario)["location"]["persistentVolumeClaim"]["path"].clone();
    scenario.change_spec("modeldeployments", "digits", |spec| {
        spec["source"]["bundled"]["name"] = json!("other")
    });
    scenario.reconcile_model().await.unwrap();
    let fetch = job(&scenario, "fetch");
    let fetch: Vec<String> = serde_json::from_value(
        scenario.world().get("jobs", &fetch)["spec"]["template"]["spec"]["containers"][0]["args"].clone(),
    )
    .unwrap();
    assert!(
        fetch.contains(&format!("--keep={}", old_folder.as_str().unwrap())),
        "{fetch:?}"
    );
    is_fetched(&scenario, NEW);
    scenario.reconcile_model().await.unwrap();
    assert_eq!(status(&scenario)["phase"], "Evaluating");
    is_tried(&scenario, 0.9);
    scenario.reconcile_model().await.unwrap();
    let failed = status(&scenario);
    assert_eq!(
        (&failed["digest"], &failed["candidate"]["digest"]),
        (&json!(OLD), &json!(NEW))
    );
    assert_eq!(
        (
            &failed["location"]["persistentVolumeClaim"]["path"],
            &failed["readyReplicas"]
        ),
        (&old_folder, &json!(1))
    );
    scenario.forget();

    // Both are scaled and repaired as ever, on the old model.
    scenario.change_spec("modeldeployments", "digits", |spec| {
        spec["serving"]["replicas"] = json!(2)
    });
    scenario.reconcile_model().await.unwrap();
    scenario.change_spec("transcriptionservices", "calls", |spec| {
        spec["replicas"] = json!(3)
    });
    scenario.world().delete("services", "calls");
    scenario.reconcile_service().await.unwrap();
    {
        let world = scenario.world();
        assert_eq!(world.get("deployments", "digits-model")["spec"]["replicas"], 2);
        assert_eq!(world.get("deployments", "calls")["spec"]["replicas"], 3);
        assert_eq!(world.get("services", "calls")["kind"], "Service");
    }
    assert_eq!(
        (
            arguments(&scenario, "digits-model"),
            arguments(&scenario, "calls")
        ),
        before
    );
    is_rolled_out(&scenario, "calls");
    scenario.reconcile_service().await.unwrap();
    let message = scenario.world().get("transcriptionservices", "calls")["status"]["message"].to_string();
    assert!(
        message.contains("3 of 3 pods serve") && message.contains("not good enough"),
        "{message}"
    );

    // A threshold that it passes is another evaluation; then both change over.
    scenario.change_spec("modeldeployments", "digits", |spec| {
        spec["evaluation"]["threshold"] = json!(1)
    });
    let evaluated = job(&scenario, "eval");
    scenario.reconcile_model().await.unwrap();
    assert_ne!(job(&scenario, "eval"), evaluated);
    is_tried(&scenario, 0.1);
    scenario.reconcile_model().await.unwrap();
    scenario.reconcile_service().await.unwrap();
    for name in ["digits-model", "calls"] {
        let arguments = arguments(&scenario, name);
        assert!(arguments.contains(&format!("--digest={NEW}")), "{arguments:?}");
        assert!(
            !arguments.contains(&format!("--model=/source/{}", old_folder.as_str().unwrap())),
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn an_evaluation_that_is_asked_for_later_takes_nothing_down() {
    let scenario = deployed().await;
    scenario.change_spec("modeldeployments", "digits", |spec| {
        spec["evaluation"]["threshold"] = json!(0.01)
    });
    scenario.forget();
    scenario.reconcile_model().await.unwrap();
    is_tried(&scenario, 0.9);
    scenario.reconcile_model().await.unwrap();
    let writes = scenario.world().take_writes();
    assert!(
        !writes.iter().any(|write| write.contains("digits-model")),
        "{writes:?}"
    );
    assert_eq!(status(&scenario)["digest"], OLD);
    assert_eq!(
        scenario.condition("modeldeployments", "digits", "EvaluationPassed"),
        ("False".into(), "EvaluationFailed".into())
    );
}

#[tokio::test]
async fn samples_that_are_not_there_are_told() {
    let scenario = Scenario::with_model(gated());
    scenario.reconcile_model().await.unwrap();
    is_fetched(&scenario, OLD);
    scenario.reconcile_model().await.unwrap();
    let report = json!({"reason": "SamplesNotFound", "message": "/samples holds no samples"});
    ends(&scenario, "eval", "evaluation", report);
    let name = job(&scenario, "eval");
    {
        let mut world = scenario.world();
        world.edit("jobs", &name, |job| job["status"] = json!({"active": 1}));
        world.edit("pods", &format!("{name}-pod"), |pod| {
            pod["status"]["phase"] = json!("Running");
            pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] = json!(1);
        });
    }
    scenario.reconcile_model().await.unwrap();
    assert_eq!(status(&scenario)["phase"], "Pending");
    let condition = |type_: &str| scenario.condition("modeldeployments", "digits", type_);
    assert_eq!(condition("Degraded"), ("True".into(), "SamplesNotFound".into()));
    assert_eq!(
        condition("EvaluationPassed"),
        ("Unknown".into(), "SamplesNotFound".into())
    );
}
