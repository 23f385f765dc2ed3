//! What a ModelDeployment needs, and one test for each reason why there can be no plan.

use serde_json::{Value, json};

use super::*;
use crate::names::Kind;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

fn model(spec: Value, status: Value) -> ModelDeployment {
    serde_json::from_value(json!({
        "apiVersion": "parlance.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "digits", "namespace": "speech", "uid": "u-1", "generation": 1},
        "spec": spec, "status": status,
    }))
    .unwrap()
}

fn decide(model: &ModelDeployment, fetched: &Fetched) -> Result<Plan, Error> {
    plan(
        model,
        &Owner::of(Kind::ModelDeployment, &model.metadata),
        fetched,
        "server:1",
    )
}

fn bundled() -> Value {
    json!({"source": {"bundled": {"name": "nano"}}, "digest": "sha256:1"})
}

/// As `plan` first was, with its Job done and reporting.
fn done(plan: &Plan, digest: Option<&str>) -> Fetched {
    let job = json!({
        "metadata": {"name": "digits-fetch-1", "annotations": {VERIFIES: plan.job.verifies},
                     "ownerReferences": [plan.job.owner.reference()]},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]},
    });
    let report = |digest: &str| {
        let report = json!({"digest": digest, "sizeBytes": 5, "files": 2}).to_string();
        let ended = json!({"terminated": {"exitCode": 0, "message": report}});
        json!({
            "metadata": {"name": "p", "labels": {"batch.kubernetes.io/job-name": "digits-fetch-1"}},
            "status": {"containerStatuses": [{
                "name": "model", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": ended}]},
        })
    };
    let mut fetched = Fetched::default();
    fetched
        .observed
        .children
        .jobs
        .push(serde_json::from_value(job).unwrap());
    fetched
        .observed
        .pods
        .extend(digest.map(|digest| serde_json::from_value(report(digest)).unwrap()));
    fetched
}

#[test]
fn a_bundled_model_gets_a_claim_and_a_job() {
    let plan = decide(&model(bundled(), json!(null)), &Fetched::default()).unwrap();
    assert_eq!(plan.cache.unwrap().name, "digits-model");
    assert_eq!(plan.job.mount.contents, Contents::Bundled("nano".into()));
    assert_eq!(plan.job.mount.digest.as_deref(), Some("sha256:1"));
    assert_eq!(
        (plan.verified, plan.workload, plan.keep_serving),
        (None, None, true)
    );
    assert_eq!((plan.job.done_as, plan.job.again), (None, false));
}

#[test]
fn a_verified_model_is_served_from_its_claim() {
    let mut spec = bundled();
    spec["serving"] = json!({"profile": "nano"});
    let model = model(spec, json!(null));
    let first = decide(&model, &Fetched::default()).unwrap();
    assert_eq!(first.workload, None, "not before it is verified");
    let plan = decide(&model, &done(&first, Some("sha256:1"))).unwrap();
    let expected = ModelMount {
        claim: "digits-model".into(),
        contents: Contents::Folder("model".into()),
        digest: Some("sha256:1".into()),
        one_node: true,
    };
    let workload = plan.workload.unwrap();
    assert_eq!(
        (workload.name.as_str(), workload.model),
        ("digits-model", expected)
    );
    assert_eq!(
        (plan.keep_serving, plan.job.done_as.as_deref()),
        (false, Some("digits-fetch-1"))
    );
}

#[test]
fn a_job_without_its_pod_counts_when_the_status_knows_what_it_found() {
    let first = decide(&model(bundled(), json!(null)), &Fetched::default()).unwrap();
    let cached = |status: &str| {
        json!({"digest": "sha256:1", "sizeBytes": 5, "files": 2, "conditions": [{"type": "ModelCached", "status": status,
               "reason": "AsExpected", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
    };
    let known = decide(&model(bundled(), cached("True")), &done(&first, None)).unwrap();
    assert_eq!(known.verified.unwrap().digest, "sha256:1");
    let unknown = decide(&model(bundled(), cached("False")), &done(&first, None)).unwrap();
    assert_eq!((unknown.verified, unknown.job.again), (None, true));
}

#[test]
fn another_pin_is_verified_anew() {
    let first = decide(&model(bundled(), json!(null)), &Fetched::default()).unwrap();
    let mut spec = bundled();
    spec["digest"] = json!("sha256:2");
    let plan = decide(&model(spec, json!(null)), &done(&first, Some("sha256:1"))).unwrap();
    assert_eq!((plan.verified, plan.job.done_as), (None, None));
}

#[test]
fn the_claim_does_not_exist() {
    let spec = json!({"source": {"persistentVolumeClaim": {"claimName": "models", "path": "w"}}});
    let model = model(spec, json!(null));
    let error = decide(&model, &Fetched::default()).unwrap_err();
    assert_eq!(error, Error::ClaimNotFound("models".into()));
    assert_eq!(Finding::from(&error).reason, Reason::ClaimNotFound);
    let claim: PersistentVolumeClaim = serde_json::from_value(
        json!({"metadata": {"name": "models"}, "spec": {"accessModes": ["ReadWriteMany"]}}),
    )
    .unwrap();
    let plan = decide(
        &model,
        &Fetched {
            claim: Some(claim),
            ..Fetched::default()
        },
    )
    .unwrap();
    assert_eq!((plan.cache, plan.job.mount.one_node), (None, false));
}

#[test]
fn the_spec_cannot_be_followed_which_is_told_before_the_model_is_fetched() {
    let mut spec = bundled();
    spec["serving"] = json!({"transcription": {"timeout": "soon"}});
    let error = decide(&model(spec, json!(null)), &Fetched::default()).unwrap_err();
    assert_eq!(Finding::from(&error).reason, Reason::InvalidSpec);
    let no_source = decide(&model(json!({"source": {}}), json!(null)), &Fetched::default()).unwrap_err();
    assert_eq!(no_source, Error::Spec(SpecError::NoSource));
}
