//! A service's answer in; the text of a file in each format out. Pure.

use std::time::Duration;

use serde_json::json;

use crate::{
    pipeline::{Segment, Task, Transcript, Word},
    proto,
    render::{self, Format},
};

/// What a service heard.
#[derive(Debug)]
pub struct Heard {
    transcript: Transcript,
    model: Option<proto::ModelInfo>,
}

impl Heard {
    /// Length of the audio.
    pub fn audio(&self) -> Duration {
        self.transcript.audio_duration
    }

    /// The content of a file.
    pub fn written(&self, format: Format, task: Option<Task>) -> String {
        match format {
            Format::Json => self.json(task),
            other => render::render(&self.transcript, other),
        }
    }

    /// OpenAI's `verbose_json`, with the model and without what the answer does not tell.
    fn json(&self, task: Option<Task>) -> String {
        let mut json = render::verbose(&self.transcript, task.unwrap_or_default(), true);
        if task.is_none()
            && let Some(all) = json.as_object_mut()
        {
            all.remove("task");
        }
        for segment in json["segments"].as_array_mut().into_iter().flatten() {
            if let Some(segment) = segment.as_object_mut() {
                segment.remove("seek");
            }
        }
        if let Some(proto::ModelInfo { name, digest }) = &self.model {
            json["model"] = json!({ "name": name, "digest": digest });
        }
        json.to_string() + "\n"
    }
}

impl From<proto::TranscribeResponse> for Heard {
    fn from(response: proto::TranscribeResponse) -> Heard {
        let proto::TranscribeResponse {
            text,
            segments,
            language,
            audio_duration,
            model,
        } = response;
        let transcript = Transcript {
            text,
            segments: segments.into_iter().map(segment).collect(),
            language,
            audio_duration: time(audio_duration),
        };
        Heard { transcript, model }
    }
}

fn segment(segment: proto::Segment) -> Segment {
    let proto::Segment {
        start,
        end,
        text,
        avg_logprob,
        no_speech_prob,
        words,
        temperature,
        compression_ratio,
        tokens,
        channel,
    } = segment;
    Segment {
        start: time(start),
        end: time(end),
        channel: u16::try_from(channel).ok().filter(|channel| *channel > 0),
        seek: 0,
        text,
        tokens,
        words: words.into_iter().map(word).collect(),
        temperature,
        compression_ratio,
        avg_logprob,
        no_speech_prob,
    }
}

fn word(word: proto::Word) -> Word {
    let proto::Word {
        start,
        end,
        text,
        probability,
    } = word;
    Word {
        start: time(start),
        end: time(end),
        text,
        probability,
    }
}

/// No time is before the beginning.
fn time(time: Option<prost_types::Duration>) -> Duration {
    time.and_then(|time| time.try_into().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn heard(channel: u32) -> Heard {
        let at = |seconds| {
            Some(prost_types::Duration {
                seconds,
                nanos: 500_000_000,
            })
        };
        let segment = proto::Segment {
            start: at(1),
            end: at(2),
            text: "Seven one.".to_owned(),
            channel,
            words: vec![proto::Word {
                start: at(1),
                end: at(2),
                text: "Seven".to_owned(),
                probability: 0.5,
            }],
            ..Default::default()
        };
        Heard::from(proto::TranscribeResponse {
            text: "Seven one.".to_owned(),
            segments: vec![segment],
            language: "en".to_owned(),
            audio_duration: at(3),
            model: Some(proto::ModelInfo {
                name: "digits".to_owned(),
                digest: "sha256:00".to_owned(),
            }),
        })
    }

    #[test]
    fn every_format_holds_the_words_and_their_times() {
        let heard = heard(0);
        assert_eq!(heard.audio(), Duration::from_millis(3500));
        assert_eq!(heard.written(Format::Text, None), "Seven one.\n");
        let srt = "1\n00:00:01,500 --> 00:00:02,500\nSeven one.\n\n";
        assert_eq!(heard.written(Format::Srt, None), srt);
        let vtt = "WEBVTT\n\n00:00:01.500 --> 00:00:02.500\nSeven one.\n\n";
        assert_eq!(heard.written(Format::Vtt, None), vtt);
    }

    #[test]
    fn json_names_the_model_and_nothing_that_is_not_known() {
        let json = |task| -> Value { serde_json::from_str(&heard(2).written(Format::Json, task)).unwrap() };
        let said = json(None);
        assert_eq!(said["model"], json!({ "name": "digits", "digest": "sha256:00" }));
        assert_eq!(
            (&said["language"], &said["duration"]),
            (&json!("english"), &json!(3.5))
        );
        assert_eq!(
            said["words"][0],
            json!({ "word": "Seven", "start": 1.5, "end": 2.5, "channel": 2 })
        );
        assert_eq!(
            (&said["segments"][0]["end"], &said["segments"][0]["channel"]),
            (&json!(2.5), &json!(2))
        );
        assert!(
            said.get("task").is_none() && said["segments"][0].get("seek").is_none(),
            "{said}"
        );
        assert_eq!(json(Some(Task::Translate))["task"], "translate");
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_no_panic() {
        let backwards = Some(prost_types::Duration {
            seconds: -5,
            nanos: i32::MIN,
        });
        let heard = Heard::from(proto::TranscribeResponse {
            audio_duration: backwards,
            segments: vec![proto::Segment {
                start: backwards,
                channel: 70_000,
                ..Default::default()
            }],
            ..Default::default()
        });
        assert_eq!(heard.audio(), Duration::ZERO);
        assert!(heard.written(Format::Srt, None).starts_with("1\n00:00:00,000"));
    }
}
