//! What a TranscriptionService needs, and one test for each reason why there can be no plan.

use serde_json::{Value, json};

use super::*;
use crate::names::Kind;
use crate::workload::Replicas;
use crds::model::ModelFormat;

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
        claim: Some("calls-cache".into()),
        contents: Contents::Bundled("nano".into()),
        folder: "model".into(),
        keep: None,
        digest: Some(DIGEST.into()),
        format: ModelFormat::Whisper,
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
        claim: Some("models".into()),
        contents: Contents::Folder("w".into()),
        folder: "model".into(),
        keep: None,
        digest: None,
        format: ModelFormat::Whisper,
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
            claim: Some(claim_name.into()),
            contents: Contents::Folder(folder.into()),
            folder: "model".into(),
            keep: None,
            digest: Some(DIGEST.into()),
            format: ModelFormat::Whisper,
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

#[test]
fn a_model_that_is_to_be_evaluated_is_not_served_before_and_one_that_is_served_goes_on() {
    let gate = json!({"samples": {"bundled": {}}, "threshold": 0.15});
    let condition = |status: &str, generation: i64| {
        json!({"type": "EvaluationPassed", "status": status, "reason": "x", "message": "",
               "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation})
    };
    let judged = |verdict: serde_json::Value| {
        let mut model = serde_json::to_value(model(json!({"bundled": {"name": "nano"}}), 2, 2)).unwrap();
        model["spec"]["evaluation"] = gate.clone();
        model["status"]["conditions"]
            .as_array_mut()
            .unwrap()
            .push(verdict);
        model["status"]["location"] =
            json!({"persistentVolumeClaim": {"claimName": "digits-model", "path": "model-0"}});
        Fetched {
            model: Some(serde_json::from_value(model).unwrap()),
            claim: Some(claim("ReadWriteOnce")),
            ..Fetched::default()
        }
    };
    let shared = || json!({"modelRef": {"name": "digits"}});
    for verdict in [
        condition("Unknown", 2),
        condition("False", 2),
        condition("True", 1),
    ] {
        let mut fetched = judged(verdict);
        let error = decide(shared(), &fetched).unwrap_err();
        assert_eq!(Finding::from(&error).reason, Reason::ModelNotReady);
        let deployment = |digest: &str| {
            json!({"metadata": {"name": "calls"}, "spec": {"selector": {}, "template": {"spec": {
                "containers": [{"name": "server", "args": [format!("--digest={digest}")]}]}}}})
        };
        let live = &mut fetched.observed.children.deployments;
        *live = vec![serde_json::from_value(deployment("sha256:another")).unwrap()];
        assert!(
            decide(shared(), &fetched).is_err(),
            "it does not change over to it"
        );
        fetched.observed.children.deployments = vec![serde_json::from_value(deployment(DIGEST)).unwrap()];
        let kept = decide(shared(), &fetched).unwrap();
        assert_eq!(
            kept.workload.model,
            ModelMount::in_folder("digits-model", "model-0", Some(DIGEST.into()), true)
        );
        assert!(
            kept.older
                .unwrap()
                .ends_with("has another that is good: being fetched")
        );
    }
    let good = decide(shared(), &judged(condition("True", 2))).unwrap();
    assert_eq!(good.older, None);
}

#[test]
fn a_model_in_an_image_is_mounted_as_it_is() {
    let image = json!({"reference": "models/nano:1"});
    let own = decide(
        json!({"model": {"source": {"image": image}}}),
        &Fetched::default(),
    )
    .unwrap();
    let image = serde_json::from_value(image).unwrap();
    assert_eq!(
        (own.cache, own.workload.model),
        (None, ModelMount::of_image(&image, None))
    );
    let mut shared = model(json!({"image": image}), 1, 1);
    shared.status.as_mut().unwrap().location = Some(crds::model::ModelLocation {
        image: Some(image.clone()),
        ..Default::default()
    });
    let fetched = Fetched {
        model: Some(shared),
        ..Fetched::default()
    };
    let plan = decide(json!({"modelRef": {"name": "digits"}}), &fetched).unwrap();
    assert_eq!(
        plan.workload.model,
        ModelMount::of_image(&image, Some(DIGEST.into()))
    );
}
