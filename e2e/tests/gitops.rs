//! The health check of docs/gitops.md, run by the Lua that Argo CD runs it with.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::process::Command;

use e2e::manifest::repository;
use serde::Deserialize;
use serde_json::{Value, json};

/// The Lua of the page, as a person copies it.
fn script(kind: &str) -> String {
    let page = std::fs::read_to_string(repository("docs/gitops.md")).unwrap();
    let block = page
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let yaml = Value::deserialize(serde_yaml::Deserializer::from_str(block)).unwrap();
    let key = format!("resource.customizations.health.parlance.dev_{kind}");
    yaml["data"][key].as_str().unwrap().to_owned()
}

/// A value as Lua writes it; null is an absent field.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".into(),
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| format!("[{key:?}] = {}", lua(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

/// Argo CD's word for an object of this status, whose generation is 2, and the message.
fn health(status: Value) -> String {
    let object = json!({ "metadata": { "generation": 2 }, "status": status });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("health.lua");
    let check = script("TranscriptionService");
    let program = format!(
        "obj = {}\nlocal function check()\n{check}\nend\nlocal hs = check()\nprint(hs.status .. \": \" .. hs.message)\n",
        lua(&object)
    );
    std::fs::write(&file, program).unwrap();
    let output = Command::new("glua")
        .arg(&file)
        .output()
        .expect("failed to run glua: run the test with `make e2e`");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn status(generation: i64, conditions: &[(&str, &str)]) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(kind, status)| json!({ "type": kind, "status": status, "message": format!("of {kind}") }))
        .collect();
    json!({ "observedGeneration": generation, "message": "in short", "conditions": conditions })
}

#[test]
#[ignore = "needs glua: make e2e"]
fn argo_cd_is_told_the_truth() {
    let rolling = [("Ready", "False"), ("Progressing", "True"), ("Degraded", "False")];
    let fine = [("Ready", "True"), ("Progressing", "False"), ("Degraded", "False")];
    let limping = [("Ready", "True"), ("Degraded", "True")];
    assert_eq!(health(Value::Null), "Progressing: waits for the operator");
    assert_eq!(
        health(status(1, &fine)),
        "Progressing: waits for the operator",
        "that was the former spec"
    );
    assert_eq!(health(status(2, &rolling)), "Progressing: in short");
    assert_eq!(health(status(2, &fine)), "Healthy: in short");
    assert_eq!(health(status(2, &limping)), "Degraded: of Degraded");
}

#[test]
#[ignore = "runs with the end-to-end tests: make e2e"]
fn both_kinds_have_the_same_check() {
    assert_eq!(script("TranscriptionService"), script("ModelDeployment"));
}
