//! What is known of an object and of the operator in; one paragraph out. Pure.

use super::cause::{cause, is_well};
use super::evidence::evidence;
use super::{Case, Operator};
use crate::age;
use crate::run::Outcome;

/// So many letters of a sentence tell that another one says the same.
const TELLING: usize = 60;

/// The paragraph, and whether all is well.
pub fn paragraph(case: &Case, operator: &Operator) -> (String, Outcome) {
    let facts = &case.facts;
    let object = &facts.object;
    let well = is_well(object);
    let mut told = vec![opening(case, operator)];
    if object.is_paused() && object.is_observed() {
        told.push("It is paused: nothing of it is changed or repaired until the annotation parlance.dev/paused goes".to_owned());
    }
    let more = evidence(case).into_iter();
    let of_model = case
        .model
        .iter()
        .filter(|model| !well && !is_well(&model.facts.object));
    for sentence in more.chain(of_model.flat_map(|model| evidence(model))) {
        if !says(&told, &sentence) {
            told.push(sentence);
        }
    }
    match (operator.trouble(&object.namespace(), facts.now), operator.words()) {
        (Some(trouble), _) if !says(&told, &trouble) => {
            told.push(format!(
                "Nobody looks after it now, so this may be old: {trouble}"
            ));
        }
        (None, Some(words)) if !well && object.is_observed() => {
            told.push(format!("The operator ({words}) runs and has seen this spec"));
        }
        _ => {}
    }
    if !facts.hidden.is_empty() {
        let hidden: Vec<&str> = facts.hidden.iter().map(String::as_str).collect();
        told.push(format!(
            "More may stand in what you may not list: {}",
            hidden.join(", ")
        ));
    }
    let sentences: Vec<String> = told.iter().map(|text| sentence(text)).collect();
    let outcome = if well { Outcome::Well } else { Outcome::Wrong };
    (sentences.join(" ") + "\n", outcome)
}

fn opening(case: &Case, operator: &Operator) -> String {
    let object = &case.facts.object;
    let place = format!("{} in namespace {}", object.words(), object.namespace());
    if let Some(since) = &object.meta().deletion_timestamp {
        let finalizers = object.meta().finalizers.clone().unwrap_or_default();
        let waits = match finalizers.is_empty() {
            true => String::new(),
            false => format!("; it waits for its finalizers {}", finalizers.join(", ")),
        };
        return format!(
            "{place} is being deleted since {}{waits}",
            age::since(Some(since), case.facts.now)
        );
    }
    if is_well(object) {
        let message = object.message().unwrap_or("it is as its spec asks");
        return format!("{place} is healthy: {message}");
    }
    let cause = cause(case, operator);
    match object.is_ready() && object.is_observed() {
        true => format!("{place} serves, but something is wrong: {cause}"),
        false => format!("{place} is not ready: {cause}"),
    }
}

/// Whether one of the sentences holds what another one is about: what stands after its colon.
fn says(told: &[String], sentence: &str) -> bool {
    let core = sentence.split_once(": ").map_or(sentence, |(_, core)| core);
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let core: String = plain(core).trim_end_matches('.').chars().take(TELLING).collect();
    told.iter().any(|one| plain(one).contains(&core))
}

/// One line that ends with a full stop.
fn sentence(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.ends_with(['.', '!', '?', '…']) {
        true => text,
        false => text + ".",
    }
}
