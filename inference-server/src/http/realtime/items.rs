//! News of a stream in; events of the OpenAI Realtime API out: each utterance is an item. Pure.
//!
//! A delta can only add to what was told, so of words that may still change only those are told that two looks have found
//! alike, without the last of them; the completed transcript has the last word.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    pipeline::{Update, WindowResult},
    text,
};

/// The items of a session.
pub(super) struct Items {
    session: String,
    /// Whether the server ends utterances; else the client does.
    turns: bool,
    items: u64,
    previous: Option<String>,
    open: Option<Item>,
}

/// An utterance that is not complete.
struct Item {
    id: String,
    /// What the deltas so far say.
    told: String,
    /// The words that are final.
    text: String,
    begin: Duration,
}

impl Items {
    /// No utterance yet.
    pub(super) fn new(session: &str, turns: bool) -> Self {
        Items {
            session: session.to_owned(),
            turns,
            items: 0,
            previous: None,
            open: None,
        }
    }

    /// The events that tell it.
    pub(super) fn tell(&mut self, update: Update) -> Vec<Value> {
        match update {
            Update::SpeechStart(at) => {
                let id = self.item(at).id.clone();
                vec![json!({
                    "type": "input_audio_buffer.speech_started", "audio_start_ms": ms(at), "item_id": id,
                })]
            }
            Update::SpeechEnd(at) => {
                let id = self.item(at).id.clone();
                vec![json!({
                    "type": "input_audio_buffer.speech_stopped", "audio_end_ms": ms(at), "item_id": id,
                })]
            }
            Update::Interim { result, stable, .. } => {
                let item = self.item(result.end_offset);
                let sure = stable
                    .rsplit_once(char::is_whitespace)
                    .map_or("", |(sure, _)| sure);
                item.delta(text::join([item.text.as_str(), sure]))
            }
            Update::Final(result) => {
                let said = words(&result);
                if said.is_empty() && self.open.is_none() {
                    return vec![];
                }
                let turns = self.turns;
                let item = self.item(result.end_offset);
                item.text = text::join([item.text.as_str(), &said]);
                let mut events = item.delta(item.text.clone());
                if turns {
                    events.extend(self.complete(result.end_offset));
                }
                events
            }
            Update::Committed(at) => {
                self.item(at);
                self.complete(at)
            }
        }
    }

    /// The utterance that is open; a new one if none is.
    fn item(&mut self, at: Duration) -> &mut Item {
        let (items, session) = (&mut self.items, &self.session);
        self.open.get_or_insert_with(|| {
            *items += 1;
            Item {
                id: format!("item_{session}_{items}"),
                told: String::new(),
                text: String::new(),
                begin: at,
            }
        })
    }

    /// The utterance is over.
    fn complete(&mut self, at: Duration) -> Vec<Value> {
        let Some(Item { id, text, begin, .. }) = self.open.take() else {
            return vec![];
        };
        let previous = self.previous.replace(id.clone());
        let seconds = at.saturating_sub(begin).as_secs_f64();
        vec![
            json!({ "type": "input_audio_buffer.committed", "item_id": id, "previous_item_id": previous }),
            json!({
                "type": "conversation.item.added",
                "previous_item_id": previous,
                "item": {
                    "id": id, "object": "realtime.item", "type": "message", "role": "user", "status": "completed",
                    "content": [{ "type": "input_audio", "transcript": null }],
                },
            }),
            json!({
                "type": "conversation.item.input_audio_transcription.completed",
                "item_id": id, "content_index": 0, "transcript": text,
                "usage": { "type": "duration", "seconds": seconds },
            }),
        ]
    }
}

impl Item {
    /// Tells what is new, where it only adds to what was told.
    fn delta(&mut self, whole: String) -> Vec<Value> {
        match whole.strip_prefix(&self.told) {
            Some(delta) if !delta.is_empty() => {
                let event = json!({
                    "type": "conversation.item.input_audio_transcription.delta",
                    "item_id": self.id, "content_index": 0, "delta": delta,
                });
                self.told = whole;
                vec![event]
            }
            _ => vec![],
        }
    }
}

fn words(result: &WindowResult) -> String {
    text::join(result.segments.iter().map(|segment| segment.text.as_str()))
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Segment;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn result(text: &str, end: u64) -> WindowResult {
        let segment = Segment {
            start: at(0),
            end: at(end),
            channel: None,
            seek: 0,
            text: text.to_owned(),
            tokens: vec![],
            words: vec![],
            temperature: 0.0,
            avg_logprob: 0.0,
            compression_ratio: 1.0,
            no_speech_prob: 0.0,
        };
        WindowResult {
            segments: if text.is_empty() { vec![] } else { vec![segment] },
            language: "en".to_owned(),
            end_offset: at(end),
        }
    }

    fn interim(text: &str, stable: &str) -> Update {
        Update::Interim {
            result: result(text, 2),
            stable: stable.to_owned(),
            stability: 0.5,
        }
    }

    fn told(events: &[Value]) -> Vec<String> {
        let tell = |event: &Value| {
            let kind = event["type"]
                .as_str()
                .unwrap()
                .rsplit('.')
                .next()
                .unwrap()
                .to_owned();
            let words = event["delta"]
                .as_str()
                .or(event["transcript"].as_str())
                .unwrap_or_default();
            format!("{kind} {words}").trim_end().to_owned()
        };
        events.iter().map(tell).collect()
    }

    #[test]
    fn an_utterance_is_an_item_whose_deltas_add_up_to_its_transcript() {
        let mut items = Items::new("s", true);
        assert_eq!(told(&items.tell(Update::SpeechStart(at(1)))), ["speech_started"]);
        assert!(items.tell(interim("Seven three", "")).is_empty());
        assert_eq!(
            told(&items.tell(interim("Seven three one.", "Seven three"))),
            ["delta Seven"]
        );
        assert!(items.tell(interim("Seven three one.", "Seven")).is_empty());
        let stopped = items.tell(Update::SpeechEnd(at(3)));
        assert_eq!(stopped[0]["item_id"], "item_s_1");
        let end = items.tell(Update::Final(result("Seven three one.", 3)));
        assert_eq!(
            told(&end),
            [
                "delta  three one.",
                "committed",
                "added",
                "completed Seven three one."
            ]
        );
        assert_eq!(end[1]["previous_item_id"], Value::Null);
        items.tell(Update::SpeechStart(at(5)));
        let next = items.tell(Update::Final(result("", 6)));
        assert_eq!(
            told(&next),
            ["committed", "added", "completed"],
            "noise that was taken for speech"
        );
        assert_eq!(next[0]["previous_item_id"], "item_s_1");
        assert!(
            items.tell(Update::Final(result("", 40))).is_empty(),
            "silence is no utterance"
        );
    }

    #[test]
    fn words_that_changed_are_told_by_the_transcript_alone() {
        let mut items = Items::new("s", true);
        items.tell(interim("Nine two", "Nine two"));
        let end = items.tell(Update::Final(result("Five two.", 3)));
        assert_eq!(told(&end), ["committed", "added", "completed Five two."]);
    }

    #[test]
    fn without_turns_the_client_says_when_an_utterance_is_over() {
        let mut items = Items::new("s", false);
        assert_eq!(
            told(&items.tell(Update::Final(result("One.", 30)))),
            ["delta One."]
        );
        assert_eq!(
            told(&items.tell(Update::Final(result("Two.", 40)))),
            ["delta  Two."]
        );
        let end = items.tell(Update::Committed(at(40)));
        assert_eq!(told(&end), ["committed", "added", "completed One. Two."]);
        assert_eq!(
            told(&items.tell(Update::Committed(at(41)))),
            ["committed", "added", "completed"]
        );
    }
}
