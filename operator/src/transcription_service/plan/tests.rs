//! What a TranscriptionService needs, and one test for each reason why there can be no plan.

use serde_json::{Value, json};

use super::*;
use crate::names::Kind;
use crate::workload::Replicas;

const DIGEST: &str = "sha256:1";

fn service(spec: Value) -> TranscriptionService {
    serde_json::from_value(json!({
        "apiVersion": "parlance.dev/v1alpha1", "kind": "TranscriptionService",
        "metadata": {"name": "calls", "namespace": "speech", "uid": "u-1", "generation": 1},
        "spec": spec,
    }))
    .unwrap()
}

/// A ModelDeployment that verified its model in this generation, while its spec is in that one.
fn model(source: Value, verified_in: i64, spec_in: i64) -> ModelDeployment {
    let cached = json!({"type": "ModelCached", "status": "True", "reason": "AsExpected", "message": "",
                        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": verified_in});
    serde_json::from_value(json!({
        "apiVersion": "parlance.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "digits", "namespace": "speech", "generation": spec_in},
        "spec": {"source": source},
        "status": {"digest": DIGEST, "conditions": [cached], "message": "being fetched"},
    }))
    .unwrap()
}

fn claim(mode: &str) -> PersistentVolumeClaim {
    serde_json::from_value(json!({"metadata": {"name": "c"}, "spec": {"accessModes": [mode]}})).unwrap()
}

fn decide(spec: Value, fetched: &Fetched) -> Result<Plan, Error> {
    let service = service(spec);
    let owner = Owner::of(Kind::TranscriptionService, &service.metadata);
    plan(&service, &owner, fetched, "server:1")
}

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

#[test]
fn a_bundled_model_gets_a_cache_of_its_own() {
    let spec = json!({"model": {"source": {"bundled": {"name": "nano"}}, "digest": DIGEST}, "profile": "medium", "image": "mine:2"});
    let plan = decide(spec, &Fetched::default()).unwrap();
    let cache = plan.cache.unwrap();
    assert_eq!(
        (cache.name.as_str(), cache.size.0.as_str()),
        ("calls-cache", "8Gi")
    );
    let expected = ModelMount {
        claim: "calls-cache".into(),
        contents: Contents::Bundled("nano".into()),
        digest: Some(DIGEST.into()),
        one_node: true,
    };
    assert_eq!(plan.workload.model, expected);
    assert_eq!(plan.workload.image.reference, "mine:2");
    assert_eq!(plan.workload.replicas, Replicas::Fixed(1));
    assert_eq!(plan.workload.model_name, "nano");
}

#[test]
fn a_claims_model_needs_no_cache() {
    let spec = json!({"model": {"source": {"persistentVolumeClaim": {"claimName": "models", "path": "w"}}}});
    let fetched = Fetched {
        claim: Some(claim("ReadWriteMany")),
        ..Fetched::default()
    };
    let plan = decide(spec, &fetched).unwrap();
    assert_eq!(plan.cache, None);
    let expected = ModelMount {
        claim: "models".into(),
        contents: Contents::Folder("w".into()),
        digest: None,
        one_node: false,
    };
    assert_eq!(plan.workload.model, expected);
    assert_eq!(plan.workload.model_name, "models");
}

#[test]
fn a_shared_model_is_mounted_from_its_claim_and_pinned_to_its_digest() {
    for (source, claim_name, folder) in [
        (json!({"bundled": {"name": "nano"}}), "digits-model", "model"),
        (
            json!({"persistentVolumeClaim": {"claimName": "models", "path": "w"}}),
            "models",
            "w",
        ),
    ] {
        let model = Some(model(source, 1, 1));
        let fetched = Fetched {
            model,
            claim: Some(claim("ReadWriteOnce")),
            ..Fetched::default()
        };
        let plan = decide(json!({"modelRef": {"name": "digits"}}), &fetched).unwrap();
        let expected = ModelMount {
            claim: claim_name.into(),
            contents: Contents::Folder(folder.into()),
            digest: Some(DIGEST.into()),
            one_node: true,
        };
        assert_eq!(plan.workload.model, expected);
        assert_eq!((plan.cache, plan.workload.model_name.as_str()), (None, "digits"));
    }
}

#[test]
fn the_model_does_not_exist() {
    let error = decide(json!({"modelRef": {"name": "digits"}}), &Fetched::default()).unwrap_err();
    assert_eq!(error, Error::ModelNotFound("digits".into()));
    assert_eq!(Finding::from(&error).reason, Reason::ModelNotFound);
}

#[test]
fn the_model_is_not_verified_as_its_spec_now_is() {
    let model = Some(model(json!({"bundled": {"name": "nano"}}), 1, 2));
    let fetched = Fetched {
        model,
        claim: Some(claim("ReadWriteOnce")),
        ..Fetched::default()
    };
    let error = decide(json!({"modelRef": {"name": "digits"}}), &fetched).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ModelDeployment digits is not available yet: being fetched"
    );
    assert_eq!(Finding::from(&error).reason, Reason::ModelNotReady);
}

#[test]
fn the_claim_does_not_exist() {
    let spec = json!({"model": {"source": {"persistentVolumeClaim": {"claimName": "models", "path": "w"}}}});
    let error = decide(spec, &Fetched::default()).unwrap_err();
    assert_eq!(error, Error::ClaimNotFound("models".into()));
    assert_eq!(Finding::from(&error).reason, Reason::ClaimNotFound);
}

#[test]
fn the_spec_cannot_be_followed() {
    let spec =
        json!({"model": {"source": {"bundled": {"name": "nano"}}}, "transcription": {"timeout": "soon"}});
    let error = decide(spec, &Fetched::default()).unwrap_err();
    assert!(
        matches!(error, Error::Spec(SpecError::Duration { .. })),
        "{error}"
    );
    assert_eq!(Finding::from(&error).reason, Reason::InvalidSpec);
    assert_eq!(
        decide(json!({}), &Fetched::default()).unwrap_err(),
        Error::Spec(SpecError::NoSource)
    );
    let no_source = decide(json!({"model": {"source": {}}}), &Fetched::default()).unwrap_err();
    assert_eq!(no_source, Error::Spec(SpecError::NoSource));
}
