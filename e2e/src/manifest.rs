//! The repository's own YAML, and services written in a test.

use std::fs;
use std::path::PathBuf;

use crds::{ModelDeployment, TranscriptionService};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Deserialize;
use serde_json::{Value, json};

/// A path from the repository's root.
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Every document of an example.
///
/// # Panics
/// When the file cannot be read or is not YAML.
pub fn example(name: &str) -> Vec<Value> {
    let path = repository("examples").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("failed to read {}: {e}", path.display()));
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap_or_else(|e| panic!("{name}: {e}")))
        .collect()
}

/// A service of the bundled model with the given additions to its spec.
///
/// # Panics
/// When the additions do not fit the type.
pub fn service(name: &str, additions: Value) -> TranscriptionService {
    let mut spec = json!({
        "model": { "source": { "bundled": { "name": "whisper-nano-digits" } } },
        "profile": "nano",
        "transcription": { "language": "en" }
    });
    merge(&mut spec, additions);
    object("TranscriptionService", name, spec)
}

/// A ModelDeployment of the bundled model with the given additions to its spec.
///
/// # Panics
/// When the additions do not fit the type.
pub fn model(name: &str, additions: Value) -> ModelDeployment {
    let mut spec =
        json!({ "source": { "bundled": { "name": "whisper-nano-digits" } }, "cache": { "size": "128Mi" } });
    merge(&mut spec, additions);
    object("ModelDeployment", name, spec)
}

fn object<K: for<'a> Deserialize<'a>>(kind: &str, name: &str, spec: Value) -> K {
    let object = json!({
        "apiVersion": "parlance.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec
    });
    serde_json::from_value(object).unwrap_or_else(|e| panic!("{kind} {name}: {e}"))
}

/// Lays `additions` over `base`, where null takes a field away (JSON merge patch).
pub fn merge(base: &mut Value, additions: Value) {
    match (base, additions) {
        (Value::Object(base), Value::Object(additions)) => {
            for (key, value) in additions {
                if value.is_null() {
                    base.remove(&key);
                } else {
                    merge(base.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (base, additions) => *base = additions,
    }
}

/// Whether a condition of the type has the status, and the reason if one is given; otherwise what it is.
///
/// # Errors
/// What the conditions are instead.
pub fn has(conditions: &[Condition], type_: &str, status: &str, reason: Option<&str>) -> Result<(), String> {
    let found = conditions.iter().find(|c| c.type_ == type_);
    match found {
        Some(c) if c.status == status && reason.is_none_or(|r| c.reason == r) => Ok(()),
        Some(c) => Err(format!("{type_}={} {}: {}", c.status, c.reason, c.message)),
        None => Err(format!("no condition {type_} among {conditions:?}")),
    }
}

/// Whether the service is Ready for its present spec.
///
/// # Errors
/// Its Ready condition.
pub fn ready(service: &TranscriptionService) -> Result<(), String> {
    let status = service.status.as_ref().ok_or("no status")?;
    if status.observed_generation != service.metadata.generation {
        return Err(format!("observedGeneration {:?}", status.observed_generation));
    }
    has(&status.conditions, "Ready", "True", None)
}
