//! A [`Transcript`] in; text, JSON, SubRip or WebVTT out. Pure.

use std::{fmt::Write, time::Duration};

use serde::Serialize;

use crate::pipeline::{Segment, Transcript};

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
        Format::Srt => srt(&transcript.segments),
        Format::Vtt => vtt(&transcript.segments),
    }
}

/// The names and units of OpenAI's `verbose_json`: seconds, and probabilities as the model gives them.
fn json(transcript: &Transcript) -> String {
    #[derive(Serialize)]
    struct Json<'t> {
        text: &'t str,
        language: &'t str,
        duration: f64,
        segments: Vec<JsonSegment<'t>>,
    }
    #[derive(Serialize)]
    struct JsonSegment<'t> {
        start: f64,
        end: f64,
        text: &'t str,
        avg_logprob: f32,
        no_speech_prob: f32,
    }
    let seconds = |time: Duration| time.as_millis() as f64 / 1000.0;
    let segments = transcript.segments.iter().map(|segment| JsonSegment {
        start: seconds(segment.start),
        end: seconds(segment.end),
        text: &segment.text,
        avg_logprob: segment.avg_logprob,
        no_speech_prob: segment.no_speech_prob,
    });
    let json = Json {
        text: &transcript.text,
        language: &transcript.language,
        duration: seconds(transcript.audio_duration),
        segments: segments.collect(),
    };
    // Strings and finite numbers always serialise.
    serde_json::to_string(&json)
        .map(|json| json + "\n")
        .unwrap_or_default()
}

fn srt(segments: &[Segment]) -> String {
    let mut out = String::new();
    for (number, segment) in (1..).zip(segments) {
        let (start, end) = (stamp(segment.start, ','), stamp(segment.end, ','));
        let _ = write!(out, "{number}\n{start} --> {end}\n{}\n\n", cue(&segment.text));
    }
    out
}

fn vtt(segments: &[Segment]) -> String {
    let mut out = "WEBVTT\n\n".to_owned();
    for segment in segments {
        let text = cue(&segment.text)
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let _ = write!(
            out,
            "{} --> {}\n{text}\n\n",
            stamp(segment.start, '.'),
            stamp(segment.end, '.')
        );
    }
    out
}

/// An arrow or an empty line within a cue would end it.
fn cue(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace("-->", "->")
}

/// `hh:mm:ss` and milliseconds after the separator; hours grow as they must.
fn stamp(time: Duration, separator: char) -> String {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    format!(
        "{:02}:{:02}:{:02}{separator}{millis:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript() -> Transcript {
        let segment = |start, end, text: &str| Segment {
            start: Duration::from_millis(start),
            end: Duration::from_millis(end),
            text: text.to_owned(),
            tokens: vec![1, 2],
            words: vec![],
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
        assert_eq!(json["language"], "en");
        assert_eq!(json["segments"][1]["end"], 3661.004);
        assert_eq!(json["segments"].as_array().unwrap().len(), 2);
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
