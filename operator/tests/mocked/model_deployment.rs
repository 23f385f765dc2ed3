//! ModelDeployments against the apiserver in memory.

use serde_json::{Value, json};

use crate::Scenario;

const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";

fn bundled() -> Value {
    json!({"source": {"bundled": {"name": "whisper-nano-digits"}}})
}

fn job_name(scenario: &Scenario) -> String {
    let world = scenario.world();
    let jobs: Vec<&String> = world
        .objects
        .keys()
        .filter(|path| path.contains("/jobs/"))
        .collect();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs[0].rsplit('/').next().unwrap().to_string()
}

/// The Job is done, and its pod reports.
fn verify(scenario: &Scenario) {
    let name = job_name(scenario);
    let mut world = scenario.world();
    world.edit("jobs", &name, |job| {
        job["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1});
    });
    let mut labels = world.get("jobs", &name)["spec"]["template"]["metadata"]["labels"].clone();
    labels["batch.kubernetes.io/job-name"] = json!(name);
    let report = json!({"digest": DIGEST, "sizeBytes": 5_000_000, "files": 7}).to_string();
    let ended =
        json!({"terminated": {"exitCode": 0, "message": report, "finishedAt": "2026-01-01T00:00:00Z"}});
    world.put(
        "pods",
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "job-pod", "namespace": "speech", "labels": labels},
            "spec": {"nodeName": "n", "containers": []},
            "status": {"phase": "Succeeded", "containerStatuses": [{
                "name": "model", "image": "server:1", "imageID": "", "ready": false, "restartCount": 0, "state": ended}]},
        }),
    );
}

fn status(scenario: &Scenario) -> Value {
    scenario.world().get("modeldeployments", "digits")["status"].clone()
}

#[tokio::test]
async fn a_model_is_fetched_and_rests() {
    let scenario = Scenario::with_model(bundled());
    scenario.reconcile_model().await.unwrap();
    assert_eq!(status(&scenario)["phase"], "Downloading");
    let job = job_name(&scenario);
    assert_eq!(
        scenario.world().take_writes(),
        [
            "PATCH persistentvolumeclaims/digits-model".to_string(),
            format!("PATCH jobs/{job}"),
            "PATCH modeldeployments/digits/status".into(),
        ]
    );
    verify(&scenario);
    scenario.world().take_events();
    scenario.reconcile_model().await.unwrap();
    let status = status(&scenario);
    assert_eq!(
        (&status["phase"], &status["digest"]),
        (&json!("Available"), &json!(DIGEST))
    );
    assert_eq!(
        (&status["sizeBytes"], &status["files"]),
        (&json!(5_000_000), &json!(7))
    );
    assert_eq!(
        scenario.world().take_writes(),
        ["PATCH modeldeployments/digits/status"]
    );
    let told = scenario.world().take_events();
    assert!(
        told[0].starts_with("ModelCached: ") && told[1].starts_with("Ready: "),
        "{told:?}"
    );
    scenario.reconcile_model().await.unwrap();
    assert!(scenario.world().take_writes().is_empty());
}

#[tokio::test]
async fn the_digest_outlives_the_pod_that_reported_it() {
    let scenario = Scenario::with_model(bundled());
    scenario.reconcile_model().await.unwrap();
    verify(&scenario);
    scenario.reconcile_model().await.unwrap();
    scenario.world().delete("pods", "job-pod");
    scenario.world().take_writes();
    scenario.reconcile_model().await.unwrap();
    assert!(scenario.world().take_writes().is_empty());
    assert_eq!(status(&scenario)["digest"], DIGEST);
}

#[tokio::test]
async fn a_job_whose_finding_no_one_knows_runs_again() {
    let scenario = Scenario::with_model(bundled());
    scenario.reconcile_model().await.unwrap();
    verify(&scenario);
    scenario.world().delete("pods", "job-pod");
    scenario.world().take_writes();
    let job = job_name(&scenario);
    scenario.reconcile_model().await.unwrap();
    assert!(
        scenario
            .world()
            .take_writes()
            .contains(&format!("DELETE jobs/{job}"))
    );
    scenario.reconcile_model().await.unwrap();
    assert!(
        scenario
            .world()
            .take_writes()
            .contains(&format!("PATCH jobs/{job}"))
    );
}

#[tokio::test]
async fn a_verified_model_is_served_with_its_digest_and_then_kept_while_another_is_fetched() {
    let scenario = Scenario::with_model(json!({
        "source": {"bundled": {"name": "whisper-nano-digits"}}, "serving": {"profile": "nano"}
    }));
    scenario.reconcile_model().await.unwrap();
    assert!(
        !scenario
            .world()
            .take_writes()
            .iter()
            .any(|write| write.contains("deployments/digits-model"))
    );
    verify(&scenario);
    scenario.reconcile_model().await.unwrap();
    let arguments = scenario.world().get("deployments", "digits-model")["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    assert!(
        arguments
            .as_array()
            .unwrap()
            .contains(&json!(format!("--digest={DIGEST}"))),
        "{arguments}"
    );
    assert_eq!(status(&scenario)["phase"], "Deploying");

    let before = job_name(&scenario);
    scenario.world().take_writes();
    scenario.change_spec("modeldeployments", "digits", |spec| {
        spec["source"]["bundled"]["name"] = json!("whisper-other")
    });
    scenario.reconcile_model().await.unwrap();
    let writes = scenario.world().take_writes();
    assert!(writes.contains(&format!("DELETE jobs/{before}")), "{writes:?}");
    assert!(
        !writes
            .iter()
            .any(|write| write.contains("digits-model") && write.starts_with("DELETE")),
        "{writes:?}"
    );
    assert_ne!(job_name(&scenario), before);
    let status = status(&scenario);
    assert_eq!(
        (&status["digest"], &status["phase"]),
        (&json!(DIGEST), &json!("Downloading"))
    );
}

#[tokio::test]
async fn serving_that_is_no_longer_wanted_is_deleted() {
    let scenario = Scenario::with_model(json!({
        "source": {"bundled": {"name": "whisper-nano-digits"}}, "serving": {"profile": "nano"}
    }));
    scenario.reconcile_model().await.unwrap();
    verify(&scenario);
    scenario.reconcile_model().await.unwrap();
    scenario.world().take_writes();
    scenario.change_spec("modeldeployments", "digits", |spec| *spec = bundled());
    scenario.reconcile_model().await.unwrap();
    assert_eq!(
        scenario.world().take_writes(),
        [
            "DELETE deployments/digits-model",
            "DELETE services/digits-model",
            "DELETE serviceaccounts/digits-model",
            "PATCH modeldeployments/digits/status",
        ]
    );
}

#[tokio::test]
async fn a_new_image_verifies_a_bundled_model_anew_and_a_claims_not() {
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"accessModes": ["ReadWriteMany"]},
                       "metadata": {"name": "models", "namespace": "speech"}, "status": {"phase": "Bound"}});
    for (source, again) in [
        (json!({"bundled": {"name": "whisper-nano-digits"}}), true),
        (
            json!({"persistentVolumeClaim": {"claimName": "models", "path": "w"}}),
            false,
        ),
    ] {
        let scenario = Scenario::with_model(json!({"source": source, "serving": {"image": "server:1"}}));
        scenario.world().put("persistentvolumeclaims", claim.clone());
        scenario.reconcile_model().await.unwrap();
        verify(&scenario);
        scenario.reconcile_model().await.unwrap();
        let before = job_name(&scenario);
        scenario.change_spec("modeldeployments", "digits", |spec| {
            spec["serving"]["image"] = json!("server:2")
        });
        scenario.reconcile_model().await.unwrap();
        assert_eq!(job_name(&scenario) != before, again, "{source}");
    }
}

#[tokio::test]
async fn a_model_from_elsewhere_tells_its_source_and_a_new_image_downloads_nothing() {
    let source = json!({"huggingFace": {"repo": "me/tiny", "tokenSecretRef": {"name": "hub"}}});
    let scenario = Scenario::with_model(json!({"source": source, "serving": {"image": "server:1"}}));
    scenario.reconcile_model().await.unwrap();
    let job = job_name(&scenario);
    let container = scenario.world().get("jobs", &job)["spec"]["template"]["spec"]["containers"][0].clone();
    assert_eq!(container["args"][1], "--hugging-face=me/tiny");
    assert_eq!(container["env"][0]["valueFrom"]["secretKeyRef"]["name"], "hub");

    verify(&scenario);
    let report = json!({
        "digest": DIGEST, "sizeBytes": 9, "files": 7, "source": "https://hub/me/tiny/tree/c0ffee", "resolvedRevision": "c0ffee"
    });
    scenario.world().edit("pods", "job-pod", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = json!(report.to_string());
    });
    for pod_is_there in [true, false] {
        scenario.reconcile_model().await.unwrap();
        let status = status(&scenario);
        assert_eq!(
            status["source"], "https://hub/me/tiny/tree/c0ffee",
            "pod: {pod_is_there}"
        );
        assert_eq!(status["revision"], "c0ffee");
        if pod_is_there {
            scenario.world().delete("pods", "job-pod");
        }
    }
    let change = |spec: &mut Value| {
        spec["serving"]["image"] = json!("server:2");
        spec["source"]["huggingFace"]["tokenSecretRef"]["name"] = json!("another");
    };
    scenario.change_spec("modeldeployments", "digits", change);
    scenario.reconcile_model().await.unwrap();
    assert_eq!(
        job_name(&scenario),
        job,
        "neither the image nor the token is another model"
    );
    let change = |spec: &mut Value| spec["source"]["huggingFace"]["revision"] = json!("v2");
    scenario.change_spec("modeldeployments", "digits", change);
    scenario.reconcile_model().await.unwrap();
    assert_ne!(job_name(&scenario), job);
}

#[tokio::test]
async fn a_claim_that_does_not_exist_is_told() {
    let scenario = Scenario::with_model(
        json!({"source": {"persistentVolumeClaim": {"claimName": "models", "path": "w"}}}),
    );
    scenario.reconcile_model().await.unwrap();
    assert_eq!(
        scenario.condition("modeldeployments", "digits", "Degraded"),
        ("True".into(), "ClaimNotFound".into())
    );
    assert_eq!(status(&scenario)["phase"], "Pending");
}

#[tokio::test]
async fn a_volume_grows_and_does_not_shrink_and_its_model_stays_verified() {
    let sized =
        |size: &str| json!({"source": {"bundled": {"name": "whisper-nano-digits"}}, "cache": {"size": size}});
    let scenario = Scenario::with_model(sized("1Gi"));
    scenario.reconcile_model().await.unwrap();
    verify(&scenario);
    scenario.reconcile_model().await.unwrap();
    let job = job_name(&scenario);
    let requested = || {
        let world = scenario.world();
        let claim = world.get("persistentvolumeclaims", "digits-model");
        claim["spec"]["resources"]["requests"]["storage"].clone()
    };
    scenario.world().take_writes();
    scenario.change_spec("modeldeployments", "digits", |spec| *spec = sized("4Gi"));
    scenario.reconcile_model().await.unwrap();
    assert_eq!(requested(), "4Gi");
    let writes = scenario.world().take_writes();
    assert_eq!(
        writes,
        [
            "PATCH persistentvolumeclaims/digits-model",
            "PATCH modeldeployments/digits/status"
        ]
    );
    assert_eq!(
        (status(&scenario)["phase"].as_str(), job_name(&scenario)),
        (Some("Available"), job)
    );
    // The schema refuses this where the size stood in the spec before; where it did not, the larger one stays.
    scenario.change_spec("modeldeployments", "digits", |spec| *spec = sized("2Gi"));
    scenario.reconcile_model().await.unwrap();
    assert_eq!(requested(), "4Gi");
}
