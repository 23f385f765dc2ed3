//! A multipart form in; what it asks for out. Refuses by name every field and value that is not followed, because ignoring
//! one would answer another question than the one that was asked.

use super::upload::Upload;
use crate::{audio::Channels, status::Failure};
use axum::extract::{
    Multipart,
    multipart::{Field, MultipartError},
};
use axum::http::StatusCode;

/// The longest value of a field that is not the file, in bytes: a prompt that fills the decoder is shorter.
const MAX_VALUE: usize = 16 * 1024;

/// What the answer looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ResponseFormat {
    /// `{"text": ...}`
    #[default]
    Json,
    /// Everything that is known, as one JSON object.
    VerboseJson,
    /// The text alone.
    Text,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
}

/// A form that can be followed.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// The audio; in a file without a name if it is large.
    pub(super) file: Upload,
    pub(super) model: Option<String>,
    pub(super) language: Option<String>,
    /// Text that comes before the audio.
    pub(super) prompt: Option<String>,
    /// 0 to 1.
    pub(super) temperature: f32,
    pub(super) response_format: ResponseFormat,
    /// `timestamp_granularities[]`: of words, of segments.
    pub(super) words: bool,
    pub(super) segments: bool,
    /// Whether the words are sent as they become known.
    pub(super) stream: bool,
    /// Not of OpenAI's API: whether each channel is transcribed by itself.
    pub(super) channels: Option<Channels>,
}

/// Reads the whole form, `limit` bytes at most.
pub(super) async fn read(mut multipart: Multipart, limit: usize) -> Result<Form, Failure> {
    let broken = |error: MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Failure::TooLarge { limit },
        _ => Failure::invalid("file", format!("the form cannot be read: {}", error.body_text())),
    };
    let mut form = Form::default();
    let mut seen: Vec<String> = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(broken)? {
        let name = shorten(field.name().unwrap_or_default());
        if seen.contains(&name) && !GRANULARITIES.contains(&name.as_str()) {
            return Err(Failure::invalid(&name, format!("the form has {name:?} twice")));
        }
        if name == "file" {
            form.file = Upload::read(field, broken).await?;
        } else if known(&name) {
            set(&mut form, &name, value(&name, field, broken).await?)?;
        } else {
            return Err(Failure::invalid(
                &name,
                format!("the parameter {name:?} is not supported"),
            ));
        }
        seen.push(name);
    }
    if !seen.iter().any(|name| name == "file") {
        return Err(Failure::invalid(
            "file",
            "the form has no \"file\" with the audio",
        ));
    }
    check(&form)?;
    Ok(form)
}

/// A list: the one field that may be there more than once. Some clients leave the brackets out.
const GRANULARITIES: [&str; 2] = ["timestamp_granularities[]", "timestamp_granularities"];

fn known(name: &str) -> bool {
    GRANULARITIES.contains(&name)
        || matches!(
            name,
            "model" | "language" | "prompt" | "response_format" | "temperature" | "stream" | "channels"
        )
}

fn set(form: &mut Form, name: &str, value: String) -> Result<(), Failure> {
    let refused = |hint: &str| {
        Err(Failure::invalid(
            name,
            format!("{name} {value:?} is not supported: only {hint}"),
        ))
    };
    match name {
        "model" => form.model = Some(value),
        "language" => form.language = Some(value),
        "prompt" => form.prompt = Some(value),
        "response_format" => {
            form.response_format = match value.as_str() {
                "json" => ResponseFormat::Json,
                "verbose_json" => ResponseFormat::VerboseJson,
                "text" => ResponseFormat::Text,
                "srt" => ResponseFormat::Srt,
                "vtt" => ResponseFormat::Vtt,
                _ => return refused("json, verbose_json, text, srt and vtt are"),
            }
        }
        "temperature" => match value.parse() {
            Ok(temperature) if (0.0..=1.0).contains(&temperature) => form.temperature = temperature,
            _ => return refused("numbers from 0 to 1 are"),
        },
        "channels" => match value.parse() {
            Ok(channels) => form.channels = Some(channels),
            Err(_) => return refused("mixed and separate are"),
        },
        "stream" => match value.as_str() {
            "true" => form.stream = true,
            "false" => form.stream = false,
            _ => return refused("true and false are"),
        },
        _ if GRANULARITIES.contains(&name) => match value.as_str() {
            "word" => form.words = true,
            "segment" => form.segments = true,
            _ => return refused("word and segment are"),
        },
        _ => {}
    }
    Ok(())
}

/// What contradicts itself only as a whole.
fn check(form: &Form) -> Result<(), Failure> {
    if form.words && form.response_format != ResponseFormat::VerboseJson {
        return Err(Failure::invalid(
            GRANULARITIES[0],
            "timestamp_granularities[] needs response_format verbose_json",
        ));
    }
    if form.stream && matches!(form.response_format, ResponseFormat::Srt | ResponseFormat::Vtt) {
        return Err(Failure::invalid(
            "stream",
            "stream needs response_format json, verbose_json or text",
        ));
    }
    Ok(())
}

/// The value of a field that is not the file: short, and text.
async fn value(
    name: &str,
    mut field: Field<'_>,
    broken: impl Fn(MultipartError) -> Failure,
) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(&broken)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_VALUE {
            return Err(Failure::invalid(
                name,
                format!("{name} is longer than {MAX_VALUE} bytes"),
            ));
        }
    }
    String::from_utf8(bytes).map_err(|_| Failure::invalid(name, format!("{name} is not UTF-8 text")))
}

/// A name is repeated to the client, so it must not be long.
fn shorten(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests;
