//! The apiserver's audit log: who wrote what, and what the operator asked for.

use std::fs::File;
use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::operator;

/// A request that the apiserver answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// User who asked for it.
    pub user: String,
    /// `create`, `patch`, `watch` and so on.
    pub verb: String,
    /// API group; empty for that of pods.
    pub group: String,
    /// Resource, with its subresource after a slash.
    pub resource: String,
    /// Namespace.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u64,
    /// Whether the user had no right to it.
    pub denied: bool,
}

/// Verbs that change nothing.
const READS: [&str; 3] = ["get", "list", "watch"];

/// The writes to a namespace's objects since the cluster came up, oldest first; none where there is no audit log.
///
/// # Panics
/// When `PARLANCE_AUDIT_LOG` names a file that cannot be read.
pub fn writes(namespace: &str) -> Option<Vec<Request>> {
    let all = writes_of_all()?;
    Some(all.filter(|write| write.namespace == namespace).collect())
}

/// The writes of a user to objects in namespaces whose names begin with `prefix`, oldest first; none where there is no audit log.
///
/// # Panics
/// As [`writes`].
pub fn writes_by(user: &str, prefix: &str) -> Vec<Request> {
    let wanted = |write: &Request| write.user == user && write.namespace.starts_with(prefix);
    writes_of_all().into_iter().flatten().filter(wanted).collect()
}

/// The operator's writes to a namespace's objects, oldest first; none where there is no audit log, which is said.
///
/// # Panics
/// As [`writes`].
pub fn operators_writes(namespace: &str) -> Option<Vec<Request>> {
    let Some(mut writes) = writes(namespace) else {
        eprintln!("no audit log on this cluster: PARLANCE_AUDIT_LOG is not set");
        return None;
    };
    let account = format!("system:serviceaccount:{}:", operator::NAMESPACE);
    writes.retain(|write| write.user.starts_with(&account));
    Some(writes)
}

/// All requests of a user, reads too if the cluster's policy has them logged; none where there is no audit log.
///
/// # Panics
/// As [`writes`].
pub fn requests_of(user: &str) -> Option<Vec<Request>> {
    Some(all()?.filter(|request| request.user == user).collect())
}

fn writes_of_all() -> Option<impl Iterator<Item = Request>> {
    Some(all()?.filter(|request| !READS.contains(&request.verb.as_str())))
}

fn all() -> Option<impl Iterator<Item = Request>> {
    let path = std::env::var("PARLANCE_AUDIT_LOG")
        .ok()
        .filter(|path| !path.is_empty())?;
    let file = File::open(&path).unwrap_or_else(|e| panic!("failed to read {path}: {e}"));
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    let entries = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    // A watch is only complete when it ends, and it may not have ended.
    let answered = entries.filter(|entry| {
        let watch = entry["verb"] == "watch" && entry["stage"] == "ResponseStarted";
        watch || entry["stage"] == "ResponseComplete"
    });
    Some(answered.map(|entry| {
        let object = &entry["objectRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let subresource = text(&object["subresource"]);
        let slash = if subresource.is_empty() { "" } else { "/" };
        Request {
            user: text(&entry["user"]["username"]),
            verb: text(&entry["verb"]),
            group: text(&object["apiGroup"]),
            resource: format!("{}{slash}{subresource}", text(&object["resource"])),
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
            code: entry["responseStatus"]["code"].as_u64().unwrap_or_default(),
            denied: entry["annotations"]["authorization.k8s.io/decision"] == "forbid",
        }
    }))
}
