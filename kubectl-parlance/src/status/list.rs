//! Objects in; one row each out. Pure.

use crds::condition::READY;
use k8s_openapi::jiff::Timestamp;

use crate::age;
use crate::find::Scope;
use crate::object::Object;
use crate::table::table;

/// Digits of a digest that tell two models apart at a glance.
const DIGITS: usize = 12;
/// Letters of a message in a row.
const LETTERS: usize = 100;

/// The table.
pub fn list(objects: &[Object], scope: Scope, now: Timestamp) -> String {
    let mut head = vec![
        "NAME", "PHASE", "READY", "PODS", "MODEL", "DIGEST", "ENDPOINT", "AGE", "MESSAGE",
    ];
    if scope == Scope::All {
        head.insert(0, "NAMESPACE");
    }
    let rows = objects.iter().map(|object| {
        let mut cells = row(object, now);
        if scope == Scope::All {
            cells.insert(0, object.namespace());
        }
        cells
    });
    table(&head, rows)
}

fn row(object: &Object, now: Timestamp) -> Vec<String> {
    let (model, digest) = object.model();
    let ready = object.condition(READY).map(|ready| ready.status.clone());
    let mut phase = object.phase().unwrap_or_else(|| "Unknown".to_owned());
    if object.is_paused() {
        phase.push_str(" (paused)");
    }
    vec![
        object.title(),
        phase,
        ready.unwrap_or_else(|| "Unknown".to_owned()),
        pods(object),
        model,
        digest.as_deref().map(short_digest).unwrap_or_default(),
        object
            .endpoint()
            .map(|endpoint| endpoint.grpc.clone())
            .unwrap_or_default(),
        age::since(object.meta().creation_timestamp.as_ref(), now),
        cut(object.message().unwrap_or_default()),
    ]
}

/// The beginning of a message: `status NAME` has all of it.
fn cut(message: &str) -> String {
    match message.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", message[..end].trim_end()),
        None => message.to_owned(),
    }
}

/// Pods that serve of those that exist; nothing for a model that rests.
pub fn pods(object: &Object) -> String {
    let (ready, all) = object.replicas();
    match object.serving() {
        Some(_) => format!("{ready}/{all}"),
        None => String::new(),
    }
}

/// The first digits, without the name of the algorithm.
fn short_digest(digest: &str) -> String {
    let digits = digest.rsplit(':').next().unwrap_or(digest);
    digits.chars().take(DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects() -> Vec<Object> {
        let service = json!({ "apiVersion": "parlance.dev/v1alpha1", "kind": "TranscriptionService",
            "metadata": { "name": "calls", "namespace": "speech", "creationTimestamp": "2026-01-01T00:00:00Z",
                          "annotations": { "parlance.dev/paused": "true" } },
            "spec": {},
            "status": { "phase": "Degraded", "message": "1 of 2 pods serve",
                "conditions": [{ "type": "Ready", "status": "False", "reason": "CrashLoop", "message": "m",
                                 "lastTransitionTime": "2026-01-01T00:00:00Z" }],
                "model": { "name": "digits", "digest": "sha256:0123456789abcdef" },
                "endpoint": { "grpc": "calls.speech.svc:50051", "http": "http://calls.speech.svc:8080" },
                "replicas": 2, "readyReplicas": 1 } });
        let model = json!({ "apiVersion": "parlance.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": { "name": "digits", "namespace": "speech", "creationTimestamp": "2026-01-01T00:00:30Z" },
            "spec": { "source": { "bundled": { "name": "x" } } } });
        vec![
            Object::Service(serde_json::from_value(service).unwrap()),
            Object::Model(serde_json::from_value(model).unwrap()),
        ]
    }

    #[test]
    fn a_row_has_what_a_person_looks_for() {
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        let text = list(&objects(), Scope::Namespace, now);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| {
                line.split("   ")
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(
            rows[1],
            [
                "tsvc/calls",
                "Degraded (paused)",
                "False",
                "1/2",
                "digits",
                "0123456789ab",
                "calls.speech.svc:50051",
                "60s",
                "1 of 2 pods serve"
            ]
        );
        assert_eq!(
            rows[2],
            [
                "mdl/digits",
                "Unknown",
                "Unknown",
                "-",
                "digits",
                "-",
                "-",
                "30s",
                "-"
            ]
        );
        assert!(list(&objects(), Scope::All, now).starts_with("NAMESPACE   NAME"));
    }
}
