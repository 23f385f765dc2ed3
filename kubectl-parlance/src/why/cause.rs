//! What is known of an object in; the root cause in one sentence out. Pure.
//!
//! The operator's own words come first: it has seen more. Where it has not spoken of the spec as it is, its own judgement
//! (`operator::health`) is asked here.

use crds::condition::{DEGRADED, READY, Reason};
use kube::ResourceExt;
use operator::health::{self, Symptoms};
use operator::names::PAUSED;

use super::{Case, Operator};
use crate::facts::Facts;
use crate::object::Object;

/// Whether all is well as far as the status tells, and the status is of the spec as it is.
pub fn is_well(object: &Object) -> bool {
    object.is_ready()
        && object.is_observed()
        && !object.is_degraded()
        && object.meta().deletion_timestamp.is_none()
}

/// Why it is not well.
pub fn cause(case: &Case, operator: &Operator) -> String {
    let object = &case.facts.object;
    if !object.is_observed() {
        return unobserved(&case.facts, operator);
    }
    let wrong = [DEGRADED, READY].into_iter().find_map(|type_| {
        let bad = if type_ == DEGRADED { "True" } else { "False" };
        object.condition(type_).filter(|one| one.status == bad)
    });
    let Some(wrong) = wrong else {
        let message = object.message().unwrap_or("its status does not tell");
        return message.to_owned();
    };
    match &case.model {
        Some(model) if wrong.reason == Reason::ModelNotReady.as_str() && !is_well(&model.facts.object) => {
            format!(
                "it waits for {}: {}",
                model.facts.object.words(),
                cause(model, operator)
            )
        }
        _ => format!("{} ({})", wrong.message.trim_end_matches('.'), wrong.reason),
    }
}

/// Why the status does not speak of the spec as it is.
fn unobserved(facts: &Facts, operator: &Operator) -> String {
    let object = &facts.object;
    let generation = object.meta().generation.unwrap_or_default();
    if object.is_paused() {
        return format!(
            "it is paused, so generation {generation} of its spec is not followed; end that with \
             `kubectl annotate {} {PAUSED}- -n {}`",
            object.title(),
            object.namespace()
        );
    }
    let behind = match object.observed_generation() {
        Some(seen) => format!("its status is of generation {seen}, its spec of generation {generation}"),
        None => "it has no status".to_owned(),
    };
    if let Some(trouble) = operator.trouble(&object.namespace(), facts.now) {
        return format!("nobody looks after it, {behind}: {trouble}");
    }
    match finding(facts) {
        Some(finding) => format!("{finding} (the operator has not said so yet: {behind})"),
        None => format!(
            "the operator has not followed its spec yet: {behind}; if that lasts, read the operator's log"
        ),
    }
}

/// What the operator would say of the children.
fn finding(facts: &Facts) -> Option<String> {
    let name = facts.object.name();
    let deployment = facts
        .deployments
        .iter()
        .find(|one| one.name_any().starts_with(&name));
    let warnings: Vec<_> = facts
        .events
        .iter()
        .filter(|event| event.type_.as_deref() == Some("Warning"))
        .cloned()
        .collect();
    let symptoms = Symptoms {
        deployment,
        job: facts.jobs.first(),
        pods: facts.pods.iter().collect(),
        claims: facts.claims.iter().collect(),
        warnings: &warnings,
        gpu: facts.object.gpu(),
        ..Symptoms::default()
    };
    let first = health::findings(&symptoms).into_iter().next()?;
    Some(format!(
        "{} ({})",
        first.message.trim_end_matches('.'),
        first.reason.as_str()
    ))
}
