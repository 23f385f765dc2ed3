//! What a spec adds to the pods beyond what the operator knows: `podTemplate`.
//!
//! In: the block as it was written, and the labels by which pods are selected. Out: a pod template to merge, or why it cannot be
//! one. Pure. The merge itself is that of the API's own types: lists by their keys, everything else in place of what was there.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use serde_json::{Map, Value};

use super::settings::SpecError;

/// The template to merge.
pub fn read(
    written: &Map<String, Value>,
    selected_by: &BTreeMap<String, String>,
) -> Result<PodTemplateSpec, SpecError> {
    let refuse = |message: String| SpecError::PodTemplate { message };
    let written = Value::Object(written.clone());
    let template: PodTemplateSpec = serde_json::from_value(written.clone())
        .map_err(|error| refuse(format!("it cannot be read: {error}")))?;
    let understood = serde_json::to_value(&template).unwrap_or_default();
    if let Some(field) = lost("", &written, &understood) {
        return Err(refuse(format!("a pod template has no field {field}")));
    }
    let labels = template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    if let Some(label) = labels
        .into_iter()
        .flat_map(BTreeMap::keys)
        .find(|key| selected_by.contains_key(*key))
    {
        return Err(refuse(format!(
            "metadata.labels.{label} tells the pods of this object from others, and cannot be set"
        )));
    }
    let unnamed = |containers: &[Container]| containers.iter().any(|one| one.name.is_empty());
    if let Some(spec) = &template.spec
        && (unnamed(&spec.containers) || unnamed(spec.init_containers.as_deref().unwrap_or_default()))
    {
        return Err(refuse(
            "each container needs a name: server is the one that serves, model the one that brings the model"
                .into(),
        ));
    }
    Ok(template)
}

/// Path of the first field that was written and not understood.
fn lost(path: &str, written: &Value, understood: &Value) -> Option<String> {
    match (written, understood) {
        (Value::Object(written), understood) => written.iter().find_map(|(key, value)| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            match understood.get(key) {
                Some(known) => lost(&path, value, known),
                None if is_empty(value) => None,
                None => Some(path),
            }
        }),
        (Value::Array(written), Value::Array(understood)) => {
            let mut pairs = written.iter().zip(understood).enumerate();
            pairs.find_map(|(at, (written, understood))| lost(&format!("{path}[{at}]"), written, understood))
        }
        _ => None,
    }
}

/// What the API's types do not write out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(written: Value) -> Result<PodTemplateSpec, String> {
        let labels = BTreeMap::from([("parlance.dev/name".to_string(), "calls".to_string())]);
        read(written.as_object().unwrap(), &labels).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_pod_template_has_is_read() {
        let template = told(json!({
            "metadata": {"labels": {"team": "a"}, "annotations": {}},
            "spec": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}], "containers": [{"name": "server", "env": []}]},
        }));
        assert_eq!(template.unwrap().spec.unwrap().containers[0].name, "server");
        assert!(told(json!({})).is_ok());
    }

    #[test]
    fn what_it_has_not_is_refused_with_its_place() {
        for (written, words) in [
            (
                json!({"spec": {"contianers": []}, "x": 1}),
                "podTemplate: a pod template has no field x",
            ),
            (
                json!({"spec": {"containers": [{"name": "server", "evn": [{"name": "A"}]}]}}),
                "podTemplate: a pod template has no field spec.containers[0].evn",
            ),
            (
                json!({"spec": {"containers": "all"}}),
                "podTemplate: it cannot be read: ",
            ),
            (
                json!({"metadata": {"labels": {"parlance.dev/name": "calls"}}}),
                "podTemplate: metadata.labels.parlance.dev/name tells the pods of this object from others, and cannot be set",
            ),
            (
                json!({"spec": {"initContainers": [{"image": "a"}]}}),
                "podTemplate: each container needs a name",
            ),
        ] {
            let told = told(written.clone()).unwrap_err();
            assert!(told.starts_with(words), "{written}: {told}");
        }
    }
}
