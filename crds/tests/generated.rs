//! What is committed is what `make generate` writes, and the examples follow the types.

use std::fs;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn committed_files_are_those_that_generate_writes() {
    for (path, content) in crds::generated::files().unwrap() {
        let committed = fs::read_to_string(root().join(&path)).unwrap_or_default();
        assert!(
            committed == content,
            "{path} differs from the types in crds/src: run `make generate` and commit it"
        );
    }
}

#[test]
fn every_field_has_a_description() {
    for (name, crd) in crds::all_crds() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        undescribed(name, &schema["openAPIV3Schema"]["properties"]);
    }
}

fn undescribed(path: &str, properties: &serde_json::Value) {
    for (name, field) in properties.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        assert!(field["description"].is_string(), "{path} has no description");
        undescribed(&path, &field["properties"]);
    }
}
