//! Whose an object is.
//!
//! In: an owner, and the metadata of a live object of the name that a child should have. Out: who else it belongs to. Pure.

use kube::api::ObjectMeta;

use crate::names::{KIND, MANAGER, NAME, Owner};

/// Whose an object is when it is not `owner`'s.
pub fn foreign_holder(owner: &Owner, live: &ObjectMeta) -> Option<String> {
    let references = live.owner_references.as_deref().unwrap_or_default();
    if let Some(controller) = references
        .iter()
        .find(|reference| reference.controller == Some(true))
    {
        return match controller {
            one if one.uid == owner.uid => None,
            one if one.kind == owner.kind.as_str() && one.name == owner.name => Some(format!(
                "belongs to an earlier {} of this name, which is being deleted",
                one.kind
            )),
            one => Some(format!("belongs to {} {}", one.kind, one.name)),
        };
    }
    let label = |key: &str| {
        live.labels
            .as_ref()
            .and_then(|labels| labels.get(key))
            .map(String::as_str)
    };
    let ours = label("app.kubernetes.io/managed-by") == Some(MANAGER)
        && label(KIND) == Some(owner.kind.as_str())
        && label(NAME) == Some(owner.name.as_str());
    (!ours).then(|| format!("was not made by {MANAGER}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::names;

    fn owner() -> Owner {
        Owner {
            kind: names::Kind::TranscriptionService,
            namespace: "speech".into(),
            name: "calls".into(),
            uid: "u-1".into(),
        }
    }

    fn holder(meta: Value) -> Option<String> {
        foreign_holder(&owner(), &serde_json::from_value(meta).unwrap())
    }

    #[test]
    fn what_we_control_or_once_made_is_ours() {
        let reference = serde_json::to_value(owner().reference()).unwrap();
        assert_eq!(holder(json!({"ownerReferences": [reference]})), None);
        assert_eq!(
            holder(json!({"labels": owner().labels(names::Component::Model)})),
            None
        );
    }

    #[test]
    fn what_others_control_or_made_is_not() {
        let reference = |kind: &str, name: &str| {
            json!({"ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": name, "uid": "u-2", "controller": true}],
                   "labels": owner().labels(names::Component::Server)})
        };
        assert_eq!(
            holder(reference("Application", "calls")).unwrap(),
            "belongs to Application calls"
        );
        assert!(
            holder(reference("TranscriptionService", "calls"))
                .unwrap()
                .contains("earlier")
        );
        assert_eq!(holder(json!({})).unwrap(), "was not made by parlance-operator");
        let other = Owner {
            name: "other".into(),
            ..owner()
        };
        assert!(holder(json!({"labels": other.labels(names::Component::Server)})).is_some());
    }
}
