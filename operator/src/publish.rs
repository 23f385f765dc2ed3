//! Tells the world what became of an object: its status, and Events.
//!
//! In: the object, its status before and after, what was written. Out: one patch when the status differs in more than its
//! times, and Events for what is new. What the status says is decided in each kind's `status`.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::apply::Change;
use crate::context::Context;
use crate::events;
use crate::names::MANAGER;

/// A status before and after, as far as publishing cares.
pub struct Transition<'a, S> {
    /// The status that the object has.
    pub before: Option<&'a S>,
    /// The status that it should have.
    pub after: &'a S,
    /// The conditions in `before`.
    pub conditions_before: &'a [Condition],
    /// The conditions in `after`.
    pub conditions_after: &'a [Condition],
}

/// Writes the status when it is new, and tells what is new.
pub async fn publish<K, S>(
    object: &K,
    transition: Transition<'_, S>,
    changes: &[Change],
    context: &Context,
) -> Result<(), kube::Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    let Transition {
        before,
        after,
        conditions_before,
        conditions_after,
    } = transition;
    let status = serde_json::to_value(after).map_err(kube::Error::SerdeError)?;
    let same = before
        .and_then(|before| serde_json::to_value(before).ok())
        .is_some_and(|before| without_times(before) == without_times(status.clone()));
    if !same {
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": { "name": object.name_any(), "uid": object.uid() },
            "status": status,
        });
        let api = Api::<K>::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
        context.metrics.wrote(&K::kind(&()));
        let params = PatchParams::apply(MANAGER).force();
        match api
            .patch_status(&object.name_any(), &params, &Patch::Apply(&body))
            .await
        {
            // The object is gone, and with it whoever might read its status.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            patched => patched?,
        };
    }
    let told = events::announcements(conditions_before, conditions_after, changes);
    let about = object.object_ref(&());
    events::publish(&context.client, &about, &context.identity, told, &context.events).await;
    Ok(())
}

fn without_times(mut status: Value) -> Value {
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if let Some(fields) = condition.as_object_mut() {
            fields.remove("lastTransitionTime");
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_are_left_out_of_the_comparison() {
        let status = |time: &str, reason: &str| {
            without_times(
                json!({"phase": "Ready", "conditions": [{"type": "Ready", "reason": reason, "lastTransitionTime": time}]}),
            )
        };
        assert_eq!(status("1", "a"), status("2", "a"));
        assert_ne!(status("1", "a"), status("1", "b"));
        assert_eq!(without_times(json!({"phase": "Ready"}))["phase"], "Ready");
    }
}
