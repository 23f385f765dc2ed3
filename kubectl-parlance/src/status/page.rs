//! What was found about an object in; one page out. Pure.

use std::fmt::Write;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use kube::ResourceExt;

use super::list;
use crate::age;
use crate::facts::{Facts, last_seen};
use crate::pods;
use crate::table::table;

/// How many Events are shown: the newest.
const EVENTS: usize = 10;

/// The page.
pub fn page(facts: &Facts) -> String {
    let mut out = head(facts);
    let mut section = |title: &str, head: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            let text = table(head, rows);
            let indented: String = text.lines().map(|line| format!("  {line}\n")).collect();
            let _ = write!(out, "\n{title}:\n{indented}");
        }
    };
    let now = facts.now;
    let conditions = facts.object.conditions().iter().map(|one| {
        let age = age::since(Some(&one.last_transition_time), now);
        vec![
            one.type_.clone(),
            one.status.clone(),
            one.reason.clone(),
            age,
            one.message.clone(),
        ]
    });
    section(
        "Conditions",
        &["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"],
        conditions.collect(),
    );
    section(
        "Pods",
        &["NAME", "READY", "STATUS", "RESTARTS", "NODE", "DEVICES", "AGE"],
        facts.pods.iter().map(|pod| pod_row(pod, facts)).collect(),
    );
    section(
        "Autoscaler",
        &["NAME", "PODS", "WANTED", "MIN", "MAX", "TARGETS", "STATE"],
        facts.autoscalers.iter().map(autoscaler_row).collect(),
    );
    section(
        "Claims",
        &["NAME", "STATUS", "SIZE", "CLASS", "VOLUME"],
        facts.claims.iter().map(claim_row).collect(),
    );
    let first = facts.events.len().saturating_sub(EVENTS);
    section(
        "Events",
        &["AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"],
        facts.events[first..]
            .iter()
            .map(|event| event_row(event, facts))
            .collect(),
    );
    if !facts.hidden.is_empty() {
        let hidden: Vec<&str> = facts.hidden.iter().map(String::as_str).collect();
        let _ = write!(
            out,
            "\nNot shown, because you may not list them: {}.\n",
            hidden.join(", ")
        );
    }
    out
}

fn head(facts: &Facts) -> String {
    let object = &facts.object;
    let (model, digest) = object.model();
    let model = [model, digest.unwrap_or_default()].join(" ");
    let endpoint = object
        .endpoint()
        .map(|one| format!("{} (gRPC), {}", one.grpc, one.http));
    let hosts = object
        .endpoint()
        .map(|one| one.hosts.join(", "))
        .unwrap_or_default();
    let observed = match (object.observed_generation(), object.meta().generation) {
        (Some(seen), Some(now)) if seen == now => String::new(),
        (seen, now) => format!(
            "the status is of generation {}, the spec of {}",
            seen.map_or_else(|| "none".to_owned(), |seen| seen.to_string()),
            now.unwrap_or_default()
        ),
    };
    let paused = match object.is_paused() {
        true => "the operator leaves it alone until the annotation parlance.dev/paused goes",
        false => "",
    };
    let lines = [
        ("Name", object.title()),
        ("Namespace", object.namespace()),
        ("Phase", object.phase().unwrap_or_else(|| "Unknown".to_owned())),
        ("Message", object.message().unwrap_or_default().to_owned()),
        ("Model", model.trim().to_owned()),
        ("Endpoint", endpoint.unwrap_or_default()),
        ("Hosts", hosts),
        ("Pods", list::pods(object)),
        (
            "Age",
            age::since(object.meta().creation_timestamp.as_ref(), facts.now),
        ),
        ("Paused", paused.to_owned()),
        ("Outdated", observed),
    ];
    let there = lines.iter().filter(|(_, value)| !value.is_empty());
    let line = |name: &str, value: &str| {
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{:<11}{value}\n", format!("{name}:"))
    };
    there.map(|(name, value)| line(name, value)).collect()
}

fn pod_row(pod: &Pod, facts: &Facts) -> Vec<String> {
    let containers = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_deref());
    let containers = containers.unwrap_or_default();
    let ready = containers.iter().filter(|one| one.ready).count();
    let all = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    vec![
        pod.name_any(),
        format!("{ready}/{all}"),
        pods::state(pod),
        pods::restarts(pod).to_string(),
        node.unwrap_or_default(),
        pods::devices(pod),
        age::since(pod.metadata.creation_timestamp.as_ref(), facts.now),
    ]
}

fn autoscaler_row(autoscaler: &HorizontalPodAutoscaler) -> Vec<String> {
    let spec = autoscaler.spec.clone();
    let status = autoscaler.status.clone().unwrap_or_default();
    let current = |name: &str| {
        let metrics = status.current_metrics.iter().flatten();
        let resources = metrics.filter_map(|metric| metric.resource.as_ref());
        resources
            .filter(|resource| resource.name == name)
            .find_map(|resource| resource.current.average_utilization)
    };
    let targets = spec.metrics.iter().flatten().filter_map(|metric| {
        let resource = metric.resource.as_ref()?;
        let target = resource.target.average_utilization?;
        let current = current(&resource.name).map_or_else(|| "?".to_owned(), |percent| format!("{percent}%"));
        Some(format!("{} {current} of {target}%", resource.name))
    });
    let conditions = status.conditions.iter().flatten();
    let wrong = conditions.filter(|one| {
        ["ScalingActive", "AbleToScale"].contains(&one.type_.as_str()) && one.status == "False"
    });
    let wrong: Vec<String> = wrong
        .map(|one| {
            one.message
                .clone()
                .or_else(|| one.reason.clone())
                .unwrap_or_default()
        })
        .collect();
    vec![
        autoscaler.name_any(),
        status.current_replicas.unwrap_or(0).to_string(),
        status.desired_replicas.to_string(),
        spec.min_replicas.unwrap_or(1).to_string(),
        spec.max_replicas.to_string(),
        targets.collect::<Vec<_>>().join(", "),
        match wrong.is_empty() {
            true => "active".to_owned(),
            false => wrong.join("; "),
        },
    ]
}

fn claim_row(claim: &PersistentVolumeClaim) -> Vec<String> {
    let spec = claim.spec.clone().unwrap_or_default();
    let status = claim.status.clone().unwrap_or_default();
    let storage = |quantities: Option<std::collections::BTreeMap<_, _>>| quantities?.remove("storage");
    let asked = spec.resources.and_then(|resources| storage(resources.requests));
    let size: Option<k8s_openapi::apimachinery::pkg::api::resource::Quantity> =
        storage(status.capacity).or(asked);
    vec![
        claim.name_any(),
        status.phase.unwrap_or_default(),
        size.map(|size| size.0).unwrap_or_default(),
        spec.storage_class_name.unwrap_or_default(),
        spec.volume_name.unwrap_or_default(),
    ]
}

fn event_row(event: &Event, facts: &Facts) -> Vec<String> {
    let about = &event.involved_object;
    let kind = about.kind.clone().unwrap_or_default().to_lowercase();
    vec![
        age::since(last_seen(event).as_ref(), facts.now),
        event.type_.clone().unwrap_or_default(),
        event.reason.clone().unwrap_or_default(),
        format!("{kind}/{}", about.name.as_deref().unwrap_or_default()),
        event.message.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::Object;

    fn facts() -> Facts {
        let service = json!({ "apiVersion": "parlance.dev/v1alpha1", "kind": "TranscriptionService",
            "metadata": { "name": "calls", "namespace": "speech", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": {},
            "status": { "phase": "Deploying", "observedGeneration": 2, "message": "pods are being started",
                "conditions": [{ "type": "Ready", "status": "False", "reason": "RollingOut", "message": "wait",
                                 "lastTransitionTime": "2026-01-01T00:00:30Z" }] } });
        let object = Object::Service(serde_json::from_value(service).unwrap());
        Facts::bare(object, "2026-01-01T00:01:00Z".parse().unwrap())
    }

    #[test]
    fn a_page_shows_what_is_there_and_nothing_else() {
        let text = page(&facts());
        assert!(
            text.starts_with("Name:      tsvc/calls\nNamespace: speech\nPhase:     Deploying\n"),
            "{text}"
        );
        assert!(
            text.contains("Outdated:  the status is of generation 2, the spec of 3\n"),
            "{text}"
        );
        assert!(text.contains("\nConditions:\n  TYPE    STATUS   REASON       SINCE   MESSAGE\n  Ready   False    RollingOut   30s     wait\n"), "{text}");
        for absent in [
            "Events",
            "Claims",
            "Autoscaler",
            "Paused",
            "Endpoint",
            "Not shown",
        ] {
            assert!(!text.contains(absent), "{absent} in\n{text}");
        }
    }

    #[test]
    fn an_autoscaler_that_cannot_measure_says_so() {
        let mut facts = facts();
        let autoscaler = json!({ "metadata": { "name": "calls" },
            "spec": { "scaleTargetRef": { "kind": "Deployment", "name": "calls" }, "minReplicas": 1, "maxReplicas": 4,
                "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 70 } } }] },
            "status": { "currentReplicas": 2, "desiredReplicas": 3,
                "conditions": [{ "type": "ScalingActive", "status": "False", "message": "no metrics" }] } });
        facts.autoscalers = vec![serde_json::from_value(autoscaler).unwrap()];
        facts.hidden.insert("events".into());
        let text = page(&facts);
        assert!(
            text.contains("calls   2      3        1     4     cpu ? of 70%   no metrics"),
            "{text}"
        );
        assert!(
            text.ends_with("Not shown, because you may not list them: events.\n"),
            "{text}"
        );
    }
}
