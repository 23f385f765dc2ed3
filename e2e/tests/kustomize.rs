//! The manifests for people without Helm: the same objects as the chart's, and taken by a real apiserver.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::collections::BTreeMap;
use std::process::Command;

use e2e::manifest::repository;
use serde::Deserialize;
use serde_json::Value;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(repository("."))
        .output()
        .unwrap_or_else(|e| panic!("failed to run {program}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The documents by kind and name, without the labels that Helm gives to what it installs.
fn objects(yaml: &str) -> BTreeMap<(String, String), Value> {
    let documents =
        serde_yaml::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).unwrap());
    let present = documents.filter(|document| !document.is_null());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    present
        .map(|mut document| {
            for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
                if let Some(labels) = document.pointer_mut(labels).and_then(Value::as_object_mut) {
                    labels.remove("helm.sh/chart");
                    labels.remove("app.kubernetes.io/managed-by");
                }
            }
            (
                (text(&document["kind"]), text(&document["metadata"]["name"])),
                document,
            )
        })
        .collect()
}

#[test]
#[ignore = "needs kubectl and helm: make e2e"]
fn the_base_holds_what_the_chart_renders_and_the_definitions() {
    let mut base = objects(&run("kubectl", &["kustomize", "deploy/kustomize/base"]));
    let chart = [
        "template",
        "parlance",
        "charts/parlance",
        "--namespace",
        "parlance-system",
    ];
    for (key, wanted) in objects(&run("helm", &chart)) {
        let found = base
            .remove(&key)
            .unwrap_or_else(|| panic!("the base lacks {key:?}: run `make generate`"));
        assert_eq!(found, wanted, "{key:?}: run `make generate`");
    }
    let left: Vec<_> = base.keys().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(
        left,
        [
            "CustomResourceDefinition",
            "CustomResourceDefinition",
            "Namespace"
        ]
    );
}

#[test]
#[ignore = "needs kubectl: make e2e"]
fn an_overlay_sets_registry_and_replicas() {
    let overlay = objects(&run(
        "kubectl",
        &["kustomize", "deploy/kustomize/overlays/own-registry"],
    ));
    let deployment = &overlay[&("Deployment".to_string(), "parlance".to_string())];
    assert_eq!(deployment["spec"]["replicas"], 2);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["image"],
        "registry.example.com/speech/parlance-operator:0.1.0"
    );
    let server = "--server-image=registry.example.com/speech/parlance-server:0.1.0";
    assert!(
        container["args"].as_array().unwrap().contains(&server.into()),
        "{container}"
    );
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn the_apiserver_takes_both() {
    for folder in ["deploy/kustomize/base", "deploy/kustomize/overlays/own-registry"] {
        let apply = [
            "apply",
            "-k",
            folder,
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
        ];
        let said = run("kubectl", &apply);
        assert!(
            said.contains("deployment.apps/parlance serverside-applied"),
            "{said}"
        );
    }
}
