//! The server's `verbose_json` in; text, JSON, SubRip or WebVTT out. Pure.

use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::Value;
use subtitles::Cue;

/// How a transcript is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The text alone.
    #[default]
    Txt,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
    /// One JSON object in a line, as the API's verbose_json.
    Json,
}

impl Format {
    /// What a file of it is called after the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Txt => "txt",
            Format::Srt => "srt",
            Format::Vtt => "vtt",
            Format::Json => "json",
        }
    }
}

/// A transcript.
#[derive(Clone, Debug)]
pub struct Transcript {
    whole: Value,
    parts: Parts,
}

#[derive(Clone, Debug, Deserialize)]
struct Parts {
    text: String,
    /// Seconds.
    duration: f64,
    #[serde(default)]
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, Deserialize)]
struct Segment {
    start: f64,
    end: f64,
    text: String,
}

impl Transcript {
    /// The transcript of a `verbose_json`.
    ///
    /// # Errors
    /// When it lacks the text, the length or the segments' times.
    pub fn of(whole: Value) -> Result<Transcript, String> {
        let parts = Parts::deserialize(&whole).map_err(|e| format!("it sent no transcript: {e}"))?;
        Ok(Transcript { whole, parts })
    }

    /// Length of the audio.
    pub fn duration(&self) -> Duration {
        millis(self.parts.duration)
    }

    /// It in a format. Text and JSON are one line.
    pub fn written(&self, format: Format) -> String {
        let cues = self.parts.segments.iter().map(|segment| Cue {
            start: millis(segment.start),
            end: millis(segment.end),
            text: &segment.text,
            channel: None,
        });
        match format {
            Format::Txt => format!("{}\n", self.parts.text),
            Format::Json => format!("{}\n", self.whole),
            Format::Srt => subtitles::srt(cues),
            Format::Vtt => subtitles::vtt(cues),
        }
    }
}

/// Seconds as whole milliseconds: 1.004 is not 1.003999.
fn millis(seconds: f64) -> Duration {
    Duration::from_millis((seconds.max(0.0) * 1000.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_format_holds_the_words_and_the_times() {
        let whole = json!({ "text": "Seven. One.", "duration": 4.1, "language": "english", "segments": [
            { "id": 0, "start": 0.2, "end": 1.004, "text": " Seven." },
            { "id": 1, "start": 61.5, "end": 62.001, "text": " One." },
        ] });
        let transcript = Transcript::of(whole.clone()).unwrap();
        assert_eq!(transcript.duration(), Duration::from_millis(4100));
        assert_eq!(transcript.written(Format::Txt), "Seven. One.\n");
        assert_eq!(
            transcript.written(Format::Srt),
            "1\n00:00:00,200 --> 00:00:01,004\nSeven.\n\n2\n00:01:01,500 --> 00:01:02,001\nOne.\n\n"
        );
        assert!(
            transcript
                .written(Format::Vtt)
                .starts_with("WEBVTT\n\n00:00:00.200 --> ")
        );
        let json: Value = serde_json::from_str(&transcript.written(Format::Json)).unwrap();
        assert_eq!(json, whole);
    }

    #[test]
    fn what_is_no_transcript_is_refused() {
        assert!(
            Transcript::of(json!({ "text": "x" }))
                .unwrap_err()
                .contains("duration")
        );
    }
}
