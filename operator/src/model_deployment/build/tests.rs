//! The Job of a plan, written out in full by hand.

use serde_json::json;

use super::*;
use crate::names::{Kind, Owner};
use crate::workload::{Contents, Image, ModelMount};

fn plan() -> JobPlan {
    JobPlan {
        owner: Owner {
            kind: Kind::ModelDeployment,
            namespace: "speech".into(),
            name: "digits".into(),
            uid: "u-1".into(),
        },
        mount: ModelMount {
            claim: "digits-model".into(),
            contents: Contents::Bundled("nano".into()),
            digest: Some("sha256:1".into()),
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
            "annotations": {"parlance.dev/verifies": "v"},
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
                        "args": ["fetch", "--bundled=nano", "--to=/cache/model", "--digest=sha256:1", "--report=/dev/termination-log"],
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
