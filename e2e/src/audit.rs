//! The apiserver's audit log: who wrote what.

use std::fs;

use serde_json::Value;

/// A write that the apiserver took or refused.
#[derive(Clone, Debug)]
pub struct Write {
    /// User who asked for it.
    pub user: String,
    /// `create`, `update`, `patch` or `delete`.
    pub verb: String,
    /// Resource, with its subresource after a slash.
    pub resource: String,
    /// Namespace.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

/// The writes to a namespace's objects since the cluster came up, oldest first; none where there is no audit log.
///
/// # Panics
/// When `PARLANCE_AUDIT_LOG` names a file that cannot be read.
pub fn writes(namespace: &str) -> Option<Vec<Write>> {
    let path = std::env::var("PARLANCE_AUDIT_LOG")
        .ok()
        .filter(|path| !path.is_empty())?;
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("failed to read {path}: {e}"));
    let entries = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let complete = entries.filter(|entry| entry["stage"] == "ResponseComplete");
    let writes = complete.map(|entry| {
        let object = &entry["objectRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let subresource = text(&object["subresource"]);
        let slash = if subresource.is_empty() { "" } else { "/" };
        Write {
            user: text(&entry["user"]["username"]),
            verb: text(&entry["verb"]),
            resource: format!("{}{slash}{subresource}", text(&object["resource"])),
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
        }
    });
    Some(
        writes
            .filter(|w| w.namespace == namespace && !["get", "list", "watch"].contains(&w.verb.as_str()))
            .collect(),
    )
}
