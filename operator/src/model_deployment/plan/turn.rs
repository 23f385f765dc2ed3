//! Decides whether a model may be deployed now, or as many of its namespace are as the operator allows.
//!
//! In: the model, the ModelDeployments of its namespace, the limit. Out: why it waits, if it does. Pure. What is deployed stays so;
//! of those that wait the oldest comes first.

use crds::ModelDeployment;
use crds::condition::Reason;
use kube::{Resource, ResourceExt};

use crate::health::Finding;

/// Why `model`, which is not deployed, waits; nothing when it is its turn.
pub fn waits(model: &ModelDeployment, all: &[ModelDeployment], limit: usize) -> Option<Finding> {
    let others = all.iter().filter(|other| {
        let goes = other.meta().deletion_timestamp.is_some();
        other.uid() != model.uid() && other.spec.serving.is_some() && !goes
    });
    let first = |other: &&ModelDeployment| is_deployed(other) || order(other) < order(model);
    let mut before: Vec<String> = others.filter(first).map(ResourceExt::name_any).collect();
    if before.len() < limit {
        return None;
    }
    before.sort();
    let message = format!(
        "the operator deploys at most {limit} models of a namespace (maxDeployedModels), and {} are or come first; it goes on when one \
         of them is deleted or no longer has serving",
        names(&before)
    );
    Some(Finding::new(Reason::MaxDeployedReached, message))
}

fn names(all: &[String]) -> String {
    const TOLD: usize = 5;
    match all.len().checked_sub(TOLD) {
        Some(more) if more > 0 => format!("{} and {more} more", all[..TOLD].join(", ")),
        _ => all.join(", "),
    }
}

/// Its Service exists, so its pods do or did.
fn is_deployed(model: &ModelDeployment) -> bool {
    model
        .status
        .as_ref()
        .is_some_and(|status| status.endpoint.is_some())
}

fn order(model: &ModelDeployment) -> (Option<k8s_openapi::jiff::Timestamp>, String) {
    let created = model.creation_timestamp().map(|time| time.0);
    (created, model.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn model(name: &str, second: u32, serving: Value, endpoint: Value) -> ModelDeployment {
        serde_json::from_value(json!({
            "apiVersion": "parlance.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": name, "uid": name, "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
            "spec": {"source": {"bundled": {"name": "nano"}}, "serving": serving},
            "status": {"endpoint": endpoint},
        }))
        .unwrap()
    }

    #[test]
    fn the_oldest_come_first_and_what_is_deployed_stays() {
        let deployed = json!({"grpc": "a:1", "http": "http://a:2"});
        let (old, young, rests) = (
            model("b-old", 1, json!({}), Value::Null),
            model("a-young", 2, json!({}), Value::Null),
            model("rests", 0, Value::Null, Value::Null),
        );
        let all = [old.clone(), young.clone(), rests];
        assert_eq!(waits(&old, &all, 1), None);
        let waiting = waits(&young, &all, 1).unwrap();
        assert_eq!(waiting.reason, Reason::MaxDeployedReached);
        assert!(
            waiting.message.contains("at most 1 models") && waiting.message.contains("b-old"),
            "{}",
            waiting.message
        );
        assert_eq!(waits(&young, &all, 2), None);

        let serves = model("c-younger", 3, json!({}), deployed);
        let all = [old.clone(), young, serves.clone()];
        assert!(
            waits(&old, &all, 1).unwrap().message.contains("c-younger"),
            "it is deployed and stays so"
        );
        assert_eq!(waits(&old, std::slice::from_ref(&old), 1), None);
        let mut going = serves;
        going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
        assert_eq!(waits(&old, &[old.clone(), going], 1), None);
        assert!(waits(&old, &[], 0).is_some());
    }

    #[test]
    fn a_long_list_is_cut() {
        let all: Vec<String> = (0..8).map(|at| format!("m{at}")).collect();
        assert_eq!(names(&all), "m0, m1, m2, m3, m4 and 3 more");
        assert_eq!(names(&all[..5]), "m0, m1, m2, m3, m4");
    }
}
