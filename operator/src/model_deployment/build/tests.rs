//! The Job of a plan, written out in full by hand.

use serde_json::json;

use super::super::plan::evaluation as evaluation_plan;
use super::*;
use crate::names::{Kind, Owner};
use crate::workload::{Contents, Image, ModelMount};
use crds::model::ModelFormat;

fn plan() -> JobPlan {
    JobPlan {
        owner: Owner {
            kind: Kind::ModelDeployment,
            namespace: "speech".into(),
            name: "digits".into(),
            uid: "u-1".into(),
        },
        mount: ModelMount {
            claim: Some("digits-model".into()),
            contents: Contents::Bundled("nano".into()),
            folder: "model-2".into(),
            keep: Some("model-1".into()),
            digest: Some("sha256:1".into()),
            format: ModelFormat::Whisper,
            one_node: true,
        },
        image: Image {
            reference: "server:1".into(),
            ..Image::default()
        },
        placement: Default::default(),
        verifies: "v".into(),
        done_as: None,
        again: false,
    }
}

#[test]
fn the_job_in_full() {
    let built = serde_json::to_value(job(&plan())).unwrap();
    let name = built["metadata"]["name"].as_str().unwrap().to_string();
    assert!(
        name.starts_with("digits-fetch-") && name.len() == "digits-fetch-".len() + 8,
        "{name}"
    );
    let labels = json!({
        "app.kubernetes.io/name": "parlance",
        "app.kubernetes.io/instance": "digits",
        "app.kubernetes.io/part-of": "parlance",
        "app.kubernetes.io/managed-by": "parlance-operator",
        "app.kubernetes.io/component": "model",
        "parlance.dev/kind": "ModelDeployment",
        "parlance.dev/name": "digits",
    });
    let mut pod_labels = labels.clone();
    pod_labels["parlance.dev/claim"] = json!("digits-model");
    let expected = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": "speech",
            "labels": labels,
            "annotations": {"parlance.dev/verifies": "v", "parlance.dev/folder": "model-2"},
            "ownerReferences": [{"apiVersion": "parlance.dev/v1alpha1", "kind": "ModelDeployment", "name": "digits",
                                 "uid": "u-1", "controller": true}],
        },
        "spec": {
            "backoffLimit": 1_000_000,
            "template": {
                "metadata": {"labels": pod_labels},
                "spec": {
                    "restartPolicy": "OnFailure",
                    "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
                        "labelSelector": {"matchLabels": {"parlance.dev/claim": "digits-model"}},
                        "topologyKey": "kubernetes.io/hostname",
                    }]}},
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                        "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{
                        "name": "model",
                        "image": "server:1",
                        "args": ["fetch", "--bundled=nano", "--to=/cache/model-2", "--keep=model-1", "--digest=sha256:1", "--report=/dev/termination-log"],
                        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                        },
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "volumeMounts": [{"name": "model", "mountPath": "/cache"}, {"name": "tmp", "mountPath": "/tmp"}],
                    }],
                    "volumes": [
                        {"name": "model", "persistentVolumeClaim": {"claimName": "digits-model"}},
                        {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
                    ],
                },
            },
        },
    });
    assert_eq!(built, expected);
}

#[test]
fn another_template_is_another_job_and_a_done_one_keeps_its_name() {
    let name = |plan: JobPlan| job(&plan).unwrap().metadata.name.unwrap();
    let image = Image {
        reference: "server:2".into(),
        ..Image::default()
    };
    assert_ne!(name(plan()), name(JobPlan { image, ..plan() }));
    assert_eq!(name(plan()), name(plan()));
    assert_eq!(
        name(JobPlan {
            done_as: Some("digits-fetch-old".into()),
            ..plan()
        }),
        "digits-fetch-old"
    );
}

#[test]
fn a_job_that_must_run_again_is_not_wanted_for_once() {
    assert_eq!(
        job(&JobPlan {
            again: true,
            ..plan()
        }),
        None
    );
}

fn evaluation(samples: serde_json::Value) -> evaluation_plan::EvaluationJob {
    let JobPlan {
        owner,
        image,
        placement,
        ..
    } = plan();
    evaluation_plan::EvaluationJob {
        owner,
        mount: ModelMount::in_folder("digits-model", "model-2", Some("sha256:1".into()), true),
        image,
        resources: ResourceRequirements::default(),
        placement,
        asked: serde_json::from_value(json!({"samples": samples, "threshold": 0.15})).unwrap(),
        language: Some("en".into()),
        precision: Some("int8"),
        evaluates: "e".into(),
        done_as: None,
    }
}

#[test]
fn the_evaluation_reads_the_model_and_the_samples() {
    let built = |samples| serde_json::to_value(super::evaluation::job(&evaluation(samples))).unwrap();
    let job = built(json!({"persistentVolumeClaim": {"claimName": "speech", "path": "/calls/"}}));
    let name = job["metadata"]["name"].as_str().unwrap();
    assert!(
        name.starts_with("digits-eval-") && name.len() == "digits-eval-".len() + 8,
        "{name}"
    );
    assert_eq!(
        job["metadata"]["annotations"],
        json!({"parlance.dev/evaluates": "e"})
    );
    let pod = &job["spec"]["template"]["spec"];
    let fetch = serde_json::to_value(super::job(&plan())).unwrap();
    for same in [
        "restartPolicy",
        "affinity",
        "securityContext",
        "automountServiceAccountToken",
    ] {
        assert_eq!(pod[same], fetch["spec"]["template"]["spec"][same], "{same}");
    }
    assert_eq!(
        job["spec"]["template"]["metadata"]["labels"],
        fetch["spec"]["template"]["metadata"]["labels"]
    );
    let expected = json!({
        "name": "evaluation",
        "image": "server:1",
        "args": ["evaluate", "--model=/source/model-2", "--samples=/samples/calls", "--metric=wer", "--threshold=0.15",
                 "--digest=sha256:1", "--language=en", "--precision=int8", "--report-only", "--report=/dev/termination-log"],
        "resources": {},
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "model", "mountPath": "/source", "readOnly": true}, {"name": "tmp", "mountPath": "/tmp"},
            {"name": "samples", "mountPath": "/samples", "readOnly": true},
        ],
    });
    assert_eq!(pod["containers"], json!([expected]));
    assert_eq!(
        pod["volumes"][2],
        json!({"name": "samples", "persistentVolumeClaim": {"claimName": "speech", "readOnly": true}})
    );
    let map = built(json!({"configMap": {"name": "digits"}}));
    let pod = &map["spec"]["template"]["spec"];
    assert_eq!(
        pod["volumes"][2],
        json!({"name": "samples", "configMap": {"name": "digits"}})
    );
    assert_eq!(pod["containers"][0]["args"][2], "--samples=/samples");
    let bundled = built(json!({"bundled": {}}));
    let pod = &bundled["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"].as_array().unwrap().len(), 2);
    assert_eq!(pod["containers"][0]["args"][2], "--samples=bundled");
}

#[test]
fn a_model_in_an_image_is_mounted_as_such() {
    let image = serde_json::from_value(
        json!({"reference": "models/nano:1", "pullPolicy": "Never", "path": "a/nano"}),
    )
    .unwrap();
    let mount = ModelMount::of_image(&image, None);
    let job = serde_json::to_value(job(&JobPlan { mount, ..plan() })).unwrap();
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(
        pod["volumes"][0],
        json!({"name": "model", "image": {"reference": "models/nano:1", "pullPolicy": "Never"}})
    );
    assert_eq!(pod["affinity"], json!(null));
    assert_eq!(pod["containers"][0]["args"][1], "--from=/source/a/nano");
    assert_eq!(
        pod["containers"][0]["volumeMounts"][0],
        json!({"name": "model", "mountPath": "/source", "readOnly": true})
    );
    assert_eq!(
        job["spec"]["template"]["metadata"]["labels"]["parlance.dev/claim"],
        json!(null)
    );
    assert_eq!(
        job["metadata"]["annotations"],
        json!({"parlance.dev/verifies": "v"})
    );
}
