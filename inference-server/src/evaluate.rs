//! A model and samples in; how good it is at them out, as JSON. The gate before a model is served.
//! Decides nothing about what follows: whoever asked reads the report.
//!
//! `samples` finds recordings with the words that they should become, `words` counts errors, `similarity` compares tensors, `report` is
//! what is told.

mod report;
mod samples;
mod similarity;
mod words;

use std::{fs, io::Write, path::PathBuf};

pub use report::{Failing, Report};
pub use samples::Samples;

use crate::{
    model::{Choice, Model},
    pipeline::{self, Cancel, Options},
    transcribe::AudioFile,
};
use report::Tally;
use samples::Sample;

/// How it is measured how good a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Metric {
    /// Word error rate: words that are wrong, missing or too many, divided by the words that were said. Less is better.
    Wer,
    /// How alike the outputs of an ONNX model are to those expected: the mean cosine similarity. More is better.
    Similarity,
}

/// What `parlance-server evaluate` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which model, and how.
    pub model: Choice,
    /// The digest that it must have, `sha256:<hex>`.
    pub digest: Option<String>,
    /// Language, task and windows.
    pub options: Options,
    /// What it is tried on.
    pub samples: Samples,
    /// By which it is measured.
    pub metric: Metric,
    /// The worst value that is good enough; `similarity` has one of its own where nothing is said.
    pub threshold: Option<f64>,
    /// Where the outcome is written as JSON too.
    pub report: Option<PathBuf>,
    /// Whether a model that is not good enough is an outcome like any other, and no error.
    pub report_only: bool,
}

/// Why there is no verdict, or which it is, in one sentence; [`EvaluateError::reason`] is the word for status.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// There is nothing to try the model on.
    #[error("{0}")]
    SamplesNotFound(String),
    /// A sample cannot be used.
    #[error("{0}")]
    InvalidSample(String),
    /// It is not said how good the model must be.
    #[error("--threshold is missing: the highest word error rate that is good enough, such as 0.15")]
    NoThreshold,
    /// The model cannot be loaded.
    #[error("{0}")]
    InvalidModel(String),
    /// The model is not the one that was asked for.
    #[error("the model's digest is {actual}, {expected} was asked for")]
    DigestMismatch {
        /// What was asked for.
        expected: String,
        /// What there is.
        actual: String,
    },
    /// The outcome cannot be written.
    #[error("{0}")]
    Io(String),
    /// The model was tried, and is not good enough.
    #[error("{0}")]
    NotGoodEnough(String),
}

impl EvaluateError {
    /// The CamelCase word of the report.
    pub fn reason(&self) -> &'static str {
        match self {
            EvaluateError::SamplesNotFound(_) => "SamplesNotFound",
            EvaluateError::InvalidSample(_) => "InvalidSample",
            EvaluateError::NoThreshold => "NoThreshold",
            EvaluateError::InvalidModel(_) => "InvalidModel",
            EvaluateError::DigestMismatch { .. } => "DigestMismatch",
            EvaluateError::Io(_) => "Io",
            EvaluateError::NotGoodEnough(_) => "NotGoodEnough",
        }
    }
}

/// Tries the model on every sample, and writes the report to `out` and to the file asked for.
pub fn run(request: &Request, out: &mut dyn Write) -> Result<(), EvaluateError> {
    let outcome = evaluate(request);
    let json = match &outcome {
        Ok(report) => report.json(),
        Err(error) => {
            serde_json::json!({ "reason": error.reason(), "message": error.to_string() }).to_string()
        }
    };
    if let Some(path) = &request.report {
        let written = fs::write(path, &json);
        written.map_err(|e| EvaluateError::Io(format!("failed to write {}: {e}", path.display())))?;
    }
    let report = outcome?;
    let written = writeln!(out, "{json}").and_then(|()| out.flush());
    written.map_err(|e| EvaluateError::Io(format!("failed to write the report: {e}")))?;
    if report.passed || request.report_only {
        Ok(())
    } else {
        Err(EvaluateError::NotGoodEnough(report.sentence()))
    }
}

fn evaluate(request: &Request) -> Result<Report, EvaluateError> {
    match request.metric {
        Metric::Wer => word_error_rate(request),
        Metric::Similarity => similarity::evaluate(request),
    }
}

fn word_error_rate(request: &Request) -> Result<Report, EvaluateError> {
    let threshold = request.threshold.ok_or(EvaluateError::NoThreshold)?;
    // The samples first: they are the likelier mistake, and the cheaper one to find.
    let samples = request.samples.read()?;
    let said: usize = samples.iter().map(|sample| words::of(&sample.text).len()).sum();
    if said == 0 {
        let message = "no sample has words, so no word error rate can be computed";
        return Err(EvaluateError::InvalidSample(message.to_owned()));
    }
    let model = load(request)?;
    let mut tally = Tally::default();
    for (at, sample) in samples.iter().enumerate() {
        let heard = hear(&model, sample, &request.options)?;
        let errors = tally.count(sample, &heard);
        let (name, of) = (&sample.name, samples.len());
        tracing::info!(sample = name, errors, "{} of {of}", at + 1);
    }
    Ok(tally.report(request.metric, threshold))
}

fn load(request: &Request) -> Result<Model, EvaluateError> {
    let model = request.model.load_as_served();
    let model = model.map_err(|e| EvaluateError::InvalidModel(e.to_string()))?;
    request.verify(&model.facts().digest)?;
    Ok(model)
}

impl Request {
    /// Refuses a model that is not of the digest asked for.
    fn verify(&self, actual: &str) -> Result<(), EvaluateError> {
        match &self.digest {
            Some(expected) if expected != actual => Err(EvaluateError::DigestMismatch {
                expected: expected.clone(),
                actual: actual.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

fn hear(model: &Model, sample: &Sample, options: &Options) -> Result<String, EvaluateError> {
    let failed = |error: &dyn std::fmt::Display| EvaluateError::InvalidSample(error.to_string());
    let audio = AudioFile::open(&sample.audio, options.channels).map_err(|e| failed(&e))?;
    let transcript = pipeline::transcribe(model, &audio, options, &Cancel::new());
    Ok(transcript.map_err(|e| failed(&e))?.text)
}

#[cfg(test)]
mod tests;
