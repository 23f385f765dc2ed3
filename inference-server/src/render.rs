//! A [`Transcript`] in; text, JSON, SubRip or WebVTT out. Pure.

use crate::pipeline::Transcript;

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

/// Writes a transcript; every format ends with a line feed.
pub fn render(transcript: &Transcript, format: Format) -> String {
    let _ = (transcript, format);
    String::new()
}
