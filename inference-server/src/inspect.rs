//! A model directory in; what it holds on the given output. Loads no graph.

mod onnx;

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::Path,
};

use serde::Serialize;

use crate::{
    digest,
    model::{Config, Dtype, Files, ModelError, ModelFacts},
};

/// How `inspect` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InspectFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Why a directory cannot be described, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InspectError(String);

/// The JSON of `inspect`; the text says the same.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    name: String,
    digest: String,
    size_bytes: u64,
    dtype: Dtype,
    architecture: Architecture,
    languages: Vec<String>,
    tasks: Vec<&'static str>,
    files: Vec<File>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    encoder_layers: usize,
    decoder_layers: usize,
    width: usize,
    decoder_heads: usize,
    mel_bins: usize,
    vocabulary_size: usize,
    window_seconds: f64,
    max_tokens: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    path: String,
    size_bytes: u64,
}

/// Writes the architecture, the languages, the files with their sizes and the digest to `out`.
pub fn run(
    dir: &Path,
    dtype: Option<Dtype>,
    format: InspectFormat,
    out: &mut dyn Write,
) -> Result<(), InspectError> {
    let text = match describe(dir, dtype) {
        Ok(description) => match format {
            InspectFormat::Text => text(&description),
            InspectFormat::Json => json(&description)?,
        },
        // What is wrong with a Whisper is said, unless it is another model.
        Err(no_whisper) => match (onnx::describe(dir, dtype), format) {
            (Ok(description), InspectFormat::Text) => onnx::text(&description),
            (Ok(description), InspectFormat::Json) => json(&description)?,
            (Err(error @ ModelError::Graph { .. }), _) => return Err(InspectError(error.to_string())),
            (Err(_), _) => return Err(InspectError(no_whisper)),
        },
    };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| InspectError(format!("failed to write: {e}")))
}

fn json(description: &impl Serialize) -> Result<String, InspectError> {
    let json = serde_json::to_string_pretty(description);
    json.map(|json| json + "\n")
        .map_err(|error| InspectError(error.to_string()))
}

/// The files of a directory, with their sizes.
fn files(dir: &Path) -> io::Result<Vec<File>> {
    let files = digest::files(dir)?.into_iter().map(|path| {
        Ok(File {
            size_bytes: fs::metadata(dir.join(&path))?.len(),
            path: path.display().to_string(),
        })
    });
    files.collect()
}

fn describe(dir: &Path, dtype: Option<Dtype>) -> Result<Description, String> {
    let found = Files::find(dir, dtype).map_err(|e| e.to_string())?;
    let config = Config::read(&found).map_err(|e| e.to_string())?;
    let facts = ModelFacts::of(dir, &config).map_err(|e| e.to_string())?;
    let files = files(dir).map_err(|e| format!("failed to read {}: {e}", dir.display()))?;
    let (sizes, features) = (&config.sizes, &config.features);
    Ok(Description {
        architecture: Architecture {
            encoder_layers: sizes.encoder_layers,
            decoder_layers: sizes.decoder_layers,
            width: sizes.width,
            decoder_heads: sizes.decoder_heads,
            mel_bins: features.mel_bins,
            vocabulary_size: sizes.vocabulary,
            window_seconds: features.n_samples as f64 / features.sampling_rate as f64,
            max_tokens: config.tokens.max_length,
        },
        dtype: found.graphs.dtype,
        name: facts.name,
        digest: facts.digest,
        size_bytes: facts.size_bytes,
        languages: facts.languages,
        tasks: facts.tasks.into_iter().map(|task| task.name()).collect(),
        files,
    })
}

fn text(description: &Description) -> String {
    let Description {
        name,
        digest,
        size_bytes,
        dtype,
        architecture: a,
        languages,
        tasks,
        files,
    } = description;
    let mut out = String::new();
    let mut line = |label: &str, value: String| {
        let _ = writeln!(out, "{label:<12} {value}");
    };
    line("name", name.clone());
    line("digest", digest.clone());
    line("size", format!("{size_bytes} bytes in {} files", files.len()));
    line("dtype", dtype.to_string());
    line(
        "encoder",
        format!(
            "{} layers, width {}, {} mel bins",
            a.encoder_layers, a.width, a.mel_bins
        ),
    );
    line(
        "decoder",
        format!(
            "{} layers, {} heads, at most {} tokens",
            a.decoder_layers, a.decoder_heads, a.max_tokens
        ),
    );
    line("window", format!("{} s", a.window_seconds));
    line("vocabulary", format!("{} tokens", a.vocabulary_size));
    line(
        "languages",
        format!("{}: {}", languages.len(), languages.join(" ")),
    );
    line("tasks", tasks.join(" "));
    for file in files {
        let _ = writeln!(out, "{:>12} {}", file.size_bytes, file.path);
    }
    out
}
