//! A [`Transcript`] in; text, JSON, SubRip or WebVTT out. Pure.

use std::time::Duration;

use serde_json::{Value, json};
use subtitles::Cue;

use crate::{
    pipeline::{Segment, Task, Transcript, Word},
    text::languages,
};

/// The shapes in which a transcript is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The text alone.
    #[default]
    Text,
    /// Everything, as one JSON object.
    Json,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
}

/// `text`, `json`, `srt` or `vtt`.
impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            "srt" => Ok(Format::Srt),
            "vtt" => Ok(Format::Vtt),
            other => Err(format!("unknown format \"{other}\": text, json, srt or vtt")),
        }
    }
}

/// Writes a transcript. Text and JSON are one line; subtitles end each cue with an empty line.
pub fn render(transcript: &Transcript, format: Format) -> String {
    match format {
        Format::Text => format!("{}\n", transcript.text),
        Format::Json => json(transcript),
        Format::Srt => subtitles::srt(cues(&transcript.segments)),
        Format::Vtt => subtitles::vtt(cues(&transcript.segments)),
    }
}

/// The names and units of OpenAI's `verbose_json`, with the words where they were asked for.
fn json(transcript: &Transcript) -> String {
    verbose(transcript, Task::Transcribe, true).to_string() + "\n"
}

/// A transcript as OpenAI's `verbose_json`: times in seconds, probabilities as the model gives them. Words are on top, as
/// there; the segments are left out where only words are wanted.
pub fn verbose(transcript: &Transcript, task: Task, segments: bool) -> Value {
    let words = transcript.segments.iter();
    let words: Vec<Value> = words
        .flat_map(|segment| segment.words.iter().map(|word| self::word(word, segment.channel)))
        .collect();
    let mut json = json!({
        "task": task.name(),
        "language": languages::name(&transcript.language),
        "duration": seconds(transcript.audio_duration),
        "text": transcript.text,
        "usage": usage(transcript),
    });
    if segments {
        json["segments"] = transcript.segments.iter().enumerate().map(segment).collect();
    }
    if !words.is_empty() {
        json["words"] = words.into();
    }
    json
}

/// What OpenAI bills: whole seconds of audio.
pub fn usage(transcript: &Transcript) -> Value {
    json!({ "type": "duration", "seconds": transcript.audio_duration.as_secs_f64().ceil() as u64 })
}

fn segment((id, segment): (usize, &Segment)) -> Value {
    let json = json!({
        "id": id,
        "seek": segment.seek,
        "start": seconds(segment.start),
        "end": seconds(segment.end),
        "text": format!(" {}", segment.text),
        "tokens": segment.tokens,
        "temperature": rounded(segment.temperature),
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    });
    in_channel(json, segment.channel)
}

fn word(word: &Word, channel: Option<u16>) -> Value {
    let json = json!({ "word": word.text.trim(), "start": seconds(word.start), "end": seconds(word.end) });
    in_channel(json, channel)
}

/// OpenAI's objects know no channels: they say theirs only where somebody asked for each by itself.
fn in_channel(mut json: Value, channel: Option<u16>) -> Value {
    if let Some(channel) = channel {
        json["channel"] = channel.into();
    }
    json
}

fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

/// 0.2 and not 0.20000000298.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 1000.0).round() / 1000.0
}

fn cues(segments: &[Segment]) -> impl Iterator<Item = Cue<'_>> {
    segments.iter().map(|segment| Cue {
        start: segment.start,
        end: segment.end,
        text: &segment.text,
        channel: segment.channel,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript() -> Transcript {
        let segment = |start, end, text: &str| Segment {
            start: Duration::from_millis(start),
            end: Duration::from_millis(end),
            channel: None,
            seek: 3000,
            text: text.to_owned(),
            tokens: vec![1, 2],
            words: vec![Word {
                start: Duration::from_millis(start),
                end: Duration::from_millis(end),
                text: " word,".to_owned(),
                probability: 0.5,
            }],
            temperature: 0.0,
            compression_ratio: 1.25,
            avg_logprob: -0.5,
            no_speech_prob: 0.25,
        };
        let segments = vec![
            segment(200, 1500, "Seven --> one."),
            segment(3_600_000, 3_661_004, "R&D <b>"),
        ];
        Transcript {
            text: "Seven --> one. R&D <b>".to_owned(),
            segments,
            language: "en".to_owned(),
            audio_duration: Duration::from_millis(3_662_500),
        }
    }

    #[test]
    fn subtitles_have_their_stamps_and_escapes() {
        assert_eq!(
            render(&transcript(), Format::Srt),
            "1\n00:00:00,200 --> 00:00:01,500\nSeven -> one.\n\n2\n01:00:00,000 --> 01:01:01,004\nR&D <b>\n\n"
        );
        assert_eq!(
            render(&transcript(), Format::Vtt),
            "WEBVTT\n\n00:00:00.200 --> 00:00:01.500\nSeven -&gt; one.\n\n\
             01:00:00.000 --> 01:01:01.004\nR&amp;D &lt;b&gt;\n\n"
        );
    }

    #[test]
    fn json_has_seconds_and_all_segments() {
        let json: serde_json::Value = serde_json::from_str(&render(&transcript(), Format::Json)).unwrap();
        assert_eq!(json["duration"], 3662.5);
        assert_eq!(json["language"], "english");
        assert_eq!(json["usage"], json!({ "type": "duration", "seconds": 3663 }));
        assert_eq!(json["segments"][1]["seek"], 3000);
        assert_eq!(
            json["words"][0],
            json!({ "word": "word,", "start": 0.2, "end": 1.5 })
        );
        assert_eq!(json["segments"][1]["end"], 3661.004);
        assert_eq!(json["segments"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn separate_channels_are_told_in_json_and_as_voices() {
        let json: Value = serde_json::from_str(&render(&transcript(), Format::Json)).unwrap();
        assert!(json["segments"][0].get("channel").is_none() && json["words"][0].get("channel").is_none());
        let mut separate = transcript();
        separate.segments.truncate(1);
        separate.segments[0].channel = Some(2);
        let json: Value = serde_json::from_str(&render(&separate, Format::Json)).unwrap();
        assert_eq!(
            (&json["segments"][0]["channel"], &json["words"][0]["channel"]),
            (&json!(2), &json!(2))
        );
        assert_eq!(
            render(&separate, Format::Vtt),
            "WEBVTT\n\n00:00:00.200 --> 00:00:01.500\n<v Channel 2>Seven -&gt; one.\n\n"
        );
    }

    #[test]
    fn segments_are_left_out_where_only_words_are_wanted() {
        let json = verbose(&transcript(), Task::Translate, false);
        assert!(json.get("segments").is_none() && json["task"] == "translate");
    }

    #[test]
    fn an_empty_transcript_is_an_empty_line() {
        let empty = Transcript {
            text: String::new(),
            segments: vec![],
            ..transcript()
        };
        assert_eq!(render(&empty, Format::Text), "\n");
        assert_eq!(render(&empty, Format::Srt), "");
        assert_eq!(render(&empty, Format::Vtt), "WEBVTT\n\n");
    }
}
