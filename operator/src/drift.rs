//! Whether a live object is still as it was meant.
//!
//! In: the desired object and the live one, as JSON. Out: the first field that differs. Pure. Only fields that the desired
//! object holds count: what others add beside them (defaults, injected labels, further containers) is theirs, as
//! server-side apply has it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::names::{self, APPLIED};
use crate::quantity;

/// Lists whose elements the API tells apart by keys, as server-side apply merges them. All others count as one value.
const KEYED: [(&str, &[&str]); 12] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("resourceClaims", &["name"]),
    ("hostAliases", &["ip"]),
    ("imagePullSecrets", &["name"]),
    ("ownerReferences", &["uid"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("ports", &["containerPort", "port", "protocol"]),
];

/// Fields whose members are quantities.
const QUANTITIES: [&str; 6] = [
    "requests",
    "limits",
    "sizeLimit",
    "minAllowed",
    "maxAllowed",
    "averageValue",
];

/// Objects that the API takes as one value (`x-kubernetes-map-type: atomic`): a member too many is a difference too.
const ATOMIC: [&str; 4] = ["selector", "matchLabels", "nodeSelector", "podSelector"];

/// Rules of a NetworkPolicy. Each counts to the letter: an empty list or object in them stands for everything, and whatever is
/// added lets more in.
const EXACT: [&str; 2] = ["ingress", "egress"];

/// Whether a live object was last applied as it is wanted now. What others have changed since then is not looked at.
pub fn was_applied_as<K: ResourceExt + Serialize>(live: &K, wanted: &K) -> bool {
    live.annotations().get(APPLIED) == Some(&applied_hash(&as_json(wanted)))
}

/// What the annotation [`APPLIED`] holds of an object that is applied as `body`.
pub fn applied_hash(body: &Value) -> String {
    names::hash(body.to_string().as_bytes())
}

/// The object as it goes over the wire. The generated types are made of maps with text keys, which JSON can always hold.
pub fn as_json<K: Serialize>(object: &K) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// Path of the first field of `desired` that `live` does not hold as desired; nothing when it holds them all.
pub fn first_difference(desired: &Value, live: &Value) -> Option<String> {
    compare("", "", desired, live).map(|path| path.trim_start_matches('.').to_string())
}

fn compare(path: &str, field: &str, desired: &Value, live: &Value) -> Option<String> {
    if EXACT.contains(&field) && !desired.is_null() {
        return (desired != live).then(|| path.to_string());
    }
    if is_empty(desired) && is_empty(live) {
        return None;
    }
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => compare_objects(path, field, desired, live),
        (Value::Array(desired), Value::Array(live)) => compare_lists(path, field, desired, live),
        (desired, live) if desired == live => None,
        (Value::String(desired), Value::String(live))
            if QUANTITIES.contains(&field)
                && quantity::parse(desired).is_some()
                && quantity::parse(desired) == quantity::parse(live) =>
        {
            None
        }
        _ => Some(path.to_string()),
    }
}

fn compare_objects(
    path: &str,
    field: &str,
    desired: &Map<String, Value>,
    live: &Map<String, Value>,
) -> Option<String> {
    if ATOMIC.contains(&field)
        && let Some(added) = live.keys().find(|key| !desired.contains_key(*key))
    {
        return Some(format!("{path}.{added}"));
    }
    desired.iter().find_map(|(key, wanted)| {
        let found = live.get(key).unwrap_or(&Value::Null);
        // The members of `requests` and `limits` are named after resources, so they keep their parent's name.
        let name = if QUANTITIES.contains(&field) { field } else { key };
        compare(&format!("{path}.{key}"), name, wanted, found)
    })
}

fn compare_lists(path: &str, field: &str, desired: &[Value], live: &[Value]) -> Option<String> {
    if let Some((_, keys)) = KEYED.iter().find(|(name, _)| *name == field)
        && desired.iter().all(Value::is_object)
    {
        return desired.iter().find_map(|wanted| {
            let found = live.iter().find(|found| same_keys(keys, wanted, found));
            let name = keys
                .iter()
                .find_map(|key| wanted.get(*key)?.as_str())
                .unwrap_or("");
            let path = format!("{path}[{name}]");
            match found {
                Some(found) => compare(&path, "", wanted, found),
                None => Some(path),
            }
        });
    }
    if desired.len() != live.len() {
        return Some(path.to_string());
    }
    let mut pairs = desired.iter().zip(live).enumerate();
    pairs.find_map(|(at, (wanted, found))| compare(&format!("{path}[{at}]"), "", wanted, found))
}

/// Whether two elements of a list stand for the same thing. A key that the desired one leaves out is one with a default.
fn same_keys(keys: &[&str], desired: &Value, live: &Value) -> bool {
    keys.iter()
        .all(|key| desired.get(*key).is_none() || desired.get(*key) == live.get(*key))
}

/// Values that the API does not tell from an absent one.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether `manager` owns the field at `path` by having applied it.
pub fn applied_by(managed_fields: &[ManagedFieldsEntry], manager: &str, path: &[&str]) -> bool {
    let ours = managed_fields.iter().filter(|entry| {
        entry.manager.as_deref() == Some(manager)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    });
    let mut fields = ours.filter_map(|entry| entry.fields_v1.as_ref());
    fields.any(|fields| {
        path.iter()
            .try_fold(&fields.0, |at, part| at.get(format!("f:{part}")))
            .is_some()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_that_selects_more_narrowly_is_drift() {
        let desired = json!({"spec": {"selector": {"a": "1"}}});
        let live = json!({"spec": {"selector": {"a": "1", "b": "2"}}});
        assert_eq!(
            first_difference(&desired, &live).as_deref(),
            Some("spec.selector.b")
        );
    }

    #[test]
    fn a_network_policy_that_lets_more_in_is_drift() {
        let rules = json!([{"from": [{"podSelector": {}}], "ports": [{"port": 80, "protocol": "TCP"}]}]);
        let desired = json!({"spec": {"ingress": rules, "podSelector": {"matchLabels": {"a": "1"}}}});
        assert_eq!(first_difference(&desired, &desired), None);
        for (pointer, wider) in [
            (
                "/spec/ingress/0/ports",
                json!([{"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}]),
            ),
            (
                "/spec/ingress/0/from/0",
                json!({"podSelector": {}, "namespaceSelector": {}}),
            ),
            ("/spec/ingress/0/from", json!([])),
        ] {
            let mut live = desired.clone();
            *live.pointer_mut(pointer).unwrap() = wider;
            let found = first_difference(&desired, &live);
            assert_eq!(found.as_deref(), Some("spec.ingress"), "{pointer}");
        }
        let mut live = desired.clone();
        live["spec"]["podSelector"]["matchExpressions"] = json!([{"key": "b", "operator": "Exists"}]);
        let found = first_difference(&desired, &live);
        assert_eq!(found.as_deref(), Some("spec.podSelector.matchExpressions"));
    }

    #[test]
    fn defaults_and_additions_by_others_are_no_drift() {
        let desired = json!({
            "metadata": {"labels": {"a": "1"}, "ownerReferences": [{"uid": "u", "kind": "T"}]},
            "spec": {"containers": [{"name": "server", "args": ["serve"], "resources": {"limits": {"cpu": "1000m"}}}]},
        });
        let live = json!({
            "metadata": {"labels": {"a": "1", "b": "2"}, "resourceVersion": "7",
                         "ownerReferences": [{"uid": "x"}, {"uid": "u", "kind": "T"}]},
            "spec": {"dnsPolicy": "ClusterFirst", "containers": [
                {"name": "sidecar"},
                {"name": "server", "args": ["serve"], "imagePullPolicy": "Always", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]},
        });
        assert_eq!(first_difference(&desired, &live), None);
    }

    #[test]
    fn an_edited_field_is_named() {
        let cases = [
            (
                json!({"spec": {"replicas": 2}}),
                json!({"spec": {"replicas": 5}}),
                "spec.replicas",
            ),
            (
                json!({"spec": {"containers": [{"name": "server", "image": "a"}]}}),
                json!({"spec": {"containers": [{"name": "server", "image": "b"}]}}),
                "spec.containers[server].image",
            ),
            (
                json!({"spec": {"containers": [{"name": "server"}]}}),
                json!({"spec": {"containers": [{"name": "other"}]}}),
                "spec.containers[server]",
            ),
            (json!({"args": ["a", "b"]}), json!({"args": ["a"]}), "args"),
            (
                json!({"args": ["a", "b"]}),
                json!({"args": ["b", "a"]}),
                "args[0]",
            ),
            (json!({"a": {"b": "c"}}), json!({}), "a"),
            (json!({"a": false}), json!({}), "a"),
            (
                json!({"limits": {"cpu": "1"}}),
                json!({"limits": {"cpu": "2"}}),
                "limits.cpu",
            ),
            (
                json!({"ports": [{"name": "grpc", "port": 50051, "targetPort": "grpc"}]}),
                json!({"ports": [{"name": "grpc", "port": 50051, "protocol": "TCP", "targetPort": "http"}]}),
                "ports[].targetPort",
            ),
        ];
        for (desired, live, path) in cases {
            assert_eq!(first_difference(&desired, &live).as_deref(), Some(path));
        }
    }

    #[test]
    fn quantities_are_compared_as_quantities_and_other_text_is_not() {
        let quantities = (
            json!({"requests": {"storage": "1Gi"}}),
            json!({"requests": {"storage": "1024Mi"}}),
        );
        assert_eq!(first_difference(&quantities.0, &quantities.1), None);
        let text = (json!({"value": "1Gi"}), json!({"value": "1024Mi"}));
        assert_eq!(first_difference(&text.0, &text.1).as_deref(), Some("value"));
        let size = (
            json!({"emptyDir": {"sizeLimit": "0.25Gi"}}),
            json!({"emptyDir": {"sizeLimit": "256Mi"}}),
        );
        assert_eq!(first_difference(&size.0, &size.1), None);
    }

    #[test]
    fn empty_values_equal_absent_ones() {
        let desired = json!({"a": null, "b": [], "c": {}, "d": {"e": {}}, "f": ""});
        assert_eq!(first_difference(&desired, &json!({})), None);
        assert_eq!(first_difference(&json!({}), &desired), None);
        assert_eq!(
            first_difference(&json!({"args": []}), &json!({"args": ["x"]})).as_deref(),
            Some("args")
        );
    }

    #[test]
    fn a_field_is_ours_only_when_we_applied_it() {
        let entry = |manager: &str, operation: &str, fields: Value| -> ManagedFieldsEntry {
            serde_json::from_value(json!({
                "manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields
            }))
            .unwrap()
        };
        let fields = json!({"f:spec": {"f:replicas": {}}});
        let path = ["spec", "replicas"];
        assert!(applied_by(&[entry("us", "Apply", fields.clone())], "us", &path));
        assert!(!applied_by(&[entry("us", "Update", fields.clone())], "us", &path));
        assert!(!applied_by(&[entry("them", "Apply", fields)], "us", &path));
        assert!(!applied_by(
            &[entry("us", "Apply", json!({"f:spec": {}}))],
            "us",
            &path
        ));
    }

    proptest::proptest! {
        #[test]
        fn an_object_never_differs_from_itself(text in "[a-z]{0,3}", number in 0i64..9, flag: bool) {
            let object = json!({"a": [{"name": text, "n": number}], "ports": [{"port": number}], "b": {"c": flag}});
            proptest::prop_assert_eq!(first_difference(&object, &object), None);
        }

        #[test]
        fn a_changed_leaf_is_always_found(number in 0i64..9, other in 10i64..19) {
            let desired = json!({"spec": {"template": {"containers": [{"name": "x", "n": [number]}]}}});
            let live = json!({"spec": {"template": {"containers": [{"name": "x", "n": [other]}]}}});
            proptest::prop_assert!(first_difference(&desired, &live).is_some());
        }
    }
}
