//! A multipart form in; what it asks for out. Refuses by name every field and value that is not followed, because ignoring
//! one would answer another question than the one that was asked.

use axum::extract::{
    Multipart,
    multipart::{Field, MultipartError},
};
use axum::http::StatusCode;
use tokio_util::bytes::Bytes;

use crate::status::Failure;

/// The longest value of a field that is not the file.
const MAX_VALUE: usize = 1024;

/// What the answer looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ResponseFormat {
    /// `{"text": ...}`
    #[default]
    Json,
    /// The text alone.
    Text,
}

/// A form that can be followed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) file: Bytes,
    pub(super) model: Option<String>,
    pub(super) language: Option<String>,
    pub(super) response_format: ResponseFormat,
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
        if seen.contains(&name) {
            return Err(Failure::invalid(&name, format!("the form has {name:?} twice")));
        }
        if name == "file" {
            form.file = field.bytes().await.map_err(broken)?;
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
    Ok(form)
}

fn known(name: &str) -> bool {
    matches!(
        name,
        "model" | "language" | "response_format" | "temperature" | "stream"
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
        "response_format" => match value.as_str() {
            "json" => form.response_format = ResponseFormat::Json,
            "text" => form.response_format = ResponseFormat::Text,
            _ => return refused("json and text are"),
        },
        // Decoding is greedy, which is what a temperature of 0 asks for.
        "temperature" if value.parse() != Ok(0.0) => return refused("0 is"),
        "stream" if value != "false" => return refused("false is"),
        _ => {}
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
