//! The data of a server-sent event in; what it means out. Pure.

use serde::Deserialize;
use serde_json::Value;

/// What the server says while it transcribes.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// So much of the audio is transcribed, in seconds.
    Heard(f64),
    /// All of it: the object that `verbose_json` gives.
    Done(Value),
    /// It failed on the way.
    Failed(Failure),
    /// Something that needs no answer.
    Other,
}

/// The error object of the OpenAI API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Failure {
    /// What was wrong, in words.
    #[serde(default)]
    pub message: String,
    /// What was wrong, in a word.
    #[serde(default)]
    pub code: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    error: Failure,
}

/// The event of the data.
///
/// # Errors
/// When it is no JSON, or a last event without the transcript.
pub fn event(data: &str) -> Result<Event, String> {
    let value: Value =
        serde_json::from_str(data).map_err(|e| format!("it sent an event that is no JSON: {e}"))?;
    if let Some(failure) = failure(data) {
        return Ok(Event::Failed(failure));
    }
    Ok(match value["type"].as_str() {
        Some("transcript.text.segment") => Event::Heard(value["end"].as_f64().unwrap_or_default()),
        Some("transcript.text.done") => match value.get("verbose") {
            Some(verbose) => Event::Done(verbose.clone()),
            None => return Err("its last event holds no transcript".to_owned()),
        },
        _ => Event::Other,
    })
}

/// The error that a body holds, if it holds one.
pub fn failure(body: &str) -> Option<Failure> {
    serde_json::from_str::<Body>(body).ok().map(|body| body.error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_progress_the_whole_or_an_error() {
        assert_eq!(
            event(r#"{"type":"transcript.text.segment","id":"seg_0","start":0.1,"end":2.5,"text":"x"}"#),
            Ok(Event::Heard(2.5))
        );
        assert_eq!(
            event(r#"{"type":"transcript.text.delta","delta":"x"}"#),
            Ok(Event::Other)
        );
        assert_eq!(
            event(r#"{"type":"transcript.text.done","text":"x","verbose":{"text":"x"}}"#),
            Ok(Event::Done(json!({ "text": "x" })))
        );
        let failed =
            event(r#"{"error":{"message":"no","type":"server_error","param":null,"code":"unavailable"}}"#);
        assert_eq!(
            failed,
            Ok(Event::Failed(Failure {
                message: "no".into(),
                code: Some("unavailable".into())
            }))
        );
        assert!(event("{").is_err() && event(r#"{"type":"transcript.text.done"}"#).is_err());
    }
}
