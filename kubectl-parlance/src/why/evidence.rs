//! What is known of an object in; sentences that bear out the cause, or tell what it does not, out. Pure.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::last_words::{LastWords, failed};
use super::{Case, cause};
use crate::age;
use crate::facts::{Facts, last_seen};
use crate::object::Object;
use crate::pods;

/// Letters of a log or an Event that a paragraph bears.
const LONGEST: usize = 300;
/// So many letters at the end of a line tell that it is the same one.
const TELLING: usize = 60;
/// An Event that says no more than the states of the containers do.
const BACK_OFF: &str = "BackOff";
/// An Event that is older says little about now, in seconds.
const RECENT: i64 = 3600;

/// The sentences, the most telling first.
pub fn evidence(case: &Case) -> Vec<String> {
    let facts = &case.facts;
    let well = cause::is_well(&facts.object);
    let mut told: Vec<String> = Vec::new();
    told.extend(facts.pods.iter().filter_map(|pod| pod_sentence(pod, facts.now)));
    let unsaid = case
        .last_words
        .iter()
        .filter(|words| !is_said(&facts.object, words));
    told.extend(unsaid.map(last_words));
    if !well {
        told.extend(claims(facts));
        told.extend(warning(facts));
    }
    told.extend(facts.autoscalers.iter().filter_map(autoscaler));
    told
}

/// What a pod went through; nothing when it is well and always was.
fn pod_sentence(pod: &Pod, now: Timestamp) -> Option<String> {
    let name = pod.name_any();
    if let Some(text) = unschedulable(pod) {
        return Some(format!("Pod {name} has no node: {text}"));
    }
    let containers: Vec<&ContainerStatus> = pods::containers(pod).collect();
    let worst = containers.iter().find(|one| failed(one)).or_else(|| {
        let mut restarted = containers.iter().filter(|one| one.restart_count > 0);
        restarted.find(|one| ended(one).is_some())
    })?;
    let (how, at) = ended(worst)?;
    let at = at.map_or_else(String::new, |at| {
        let seconds = now.duration_since(at).as_secs();
        format!(", {} ago", age::span(seconds))
    });
    let times = match worst.restart_count {
        0 => String::new(),
        1 => ", and was started again once".to_owned(),
        many => format!(", and was started again {many} times"),
    };
    let is = match worst.ready {
        true => "It runs now".to_owned(),
        false => format!("The pod is {}", pods::state(pod)),
    };
    Some(format!(
        "Container {} of pod {name} {how}{at}{times}. {is}",
        worst.name
    ))
}

fn unschedulable(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|one| one.type_ == "PodScheduled")?;
    let text = scheduled.message.clone().or_else(|| scheduled.reason.clone())?;
    (scheduled.status == "False").then_some(text)
}

/// How a container ended the last time, if it ended badly.
fn ended(container: &ContainerStatus) -> Option<(String, Option<Timestamp>)> {
    let state = container.state.clone().unwrap_or_default();
    let before = container.last_state.clone().unwrap_or_default().terminated;
    let ended = state.terminated.or(before).filter(|ended| ended.exit_code != 0)?;
    let reason = match ended.reason.as_deref() {
        None | Some("Error") => String::new(),
        Some(reason) => format!(" ({reason})"),
    };
    let how = format!("ended with exit code {}{reason}", ended.exit_code);
    Some((how, ended.finished_at.map(|time| time.0)))
}

/// Whether the status has the end of the last line already.
fn is_said(object: &Object, words: &LastWords) -> bool {
    let last = words.lines.last().map(String::as_str).unwrap_or_default();
    let end = tail(last, TELLING);
    let messages = object.conditions().iter().map(|one| one.message.as_str());
    messages
        .chain(object.message())
        .any(|message| message.contains(end))
}

/// The last letters of a text.
fn tail(text: &str, letters: usize) -> &str {
    let start = text.char_indices().rev().nth(letters - 1).map_or(0, |(at, _)| at);
    &text[start..]
}

fn last_words(words: &LastWords) -> String {
    let text = words.lines.join(" | ");
    // The cause stands at the end.
    format!(
        "The log of its container {} ends: {}",
        words.container,
        tail(&text, LONGEST)
    )
}

fn claims(facts: &Facts) -> Option<String> {
    let pending = facts.claims.iter().find_map(|claim| {
        let phase = claim.status.as_ref()?.phase.clone()?;
        (phase != "Bound").then(|| (claim.name_any(), phase))
    });
    pending.map(|(name, phase)| format!("Claim {name} is {phase}"))
}

/// The newest warning, which is news only while it is recent.
fn warning(facts: &Facts) -> Option<String> {
    let warnings = facts
        .events
        .iter()
        .filter(|event| event.type_.as_deref() == Some("Warning"));
    let news = warnings.filter(|event| {
        let own = event.involved_object.uid == facts.object.meta().uid;
        // The object's own Events are the operator's words once more.
        !own && event.reason.as_deref() != Some(BACK_OFF)
    });
    let newest = news.max_by_key(|event| last_seen(event).map(|time| time.0))?;
    let at = last_seen(newest)?;
    let seconds = facts.now.duration_since(at.0).as_secs();
    let text: String = newest.message.as_deref()?.trim().chars().take(LONGEST).collect();
    let about = &newest.involved_object;
    let kind = about.kind.as_deref().unwrap_or("an object").to_lowercase();
    (seconds <= RECENT && !text.is_empty()).then(|| {
        format!(
            "The last warning, {} ago, about {kind} {}: {text}",
            age::span(seconds),
            about.name.as_deref().unwrap_or_default()
        )
    })
}

fn autoscaler(autoscaler: &HorizontalPodAutoscaler) -> Option<String> {
    let conditions = autoscaler.status.as_ref()?.conditions.as_ref()?;
    let is = |type_: &str, status: &str| {
        conditions
            .iter()
            .find(|one| one.type_ == type_ && one.status == status)
    };
    let text = |one: &k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerCondition| {
        one.message
            .clone()
            .or_else(|| one.reason.clone())
            .unwrap_or_default()
    };
    if let Some(wrong) = is("AbleToScale", "False").or_else(|| is("ScalingActive", "False")) {
        return Some(format!("Its autoscaler cannot scale: {}", text(wrong)));
    }
    let limited = is("ScalingLimited", "True")?;
    (limited.reason.as_deref() == Some("TooManyReplicas")).then(|| {
        let most = autoscaler.spec.max_replicas;
        format!("Its autoscaler wants more pods than autoscaling.maxReplicas, {most}")
    })
}
