//! The flags of `evaluate`. Parses, and does nothing else.

use std::path::PathBuf;

use clap::Args;

use super::{TranscriptionArgs, model::ModelArgs};
use crate::evaluate::{Metric, Request, Samples};

/// The flags of `evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Digest that the model must have; another one is not tried
    #[arg(long, env = "PARLANCE_DIGEST", value_name = "sha256:HEX")]
    digest: Option<String>,
    /// Folder of recordings with a text of the same name beside each (a.wav, a.txt), or with samples.jsonl; or "bundled". For
    /// similarity: folder of tensors by pairs, as numpy.savez writes them (a.inputs.npz, a.outputs.npz)
    #[arg(long, env = "PARLANCE_SAMPLES", value_name = "DIR")]
    samples: Samples,
    /// How it is measured how good the model is: wer for a Whisper, similarity for any other ONNX model
    #[arg(long, env = "PARLANCE_METRIC", default_value = "wer", value_name = "METRIC")]
    metric: Metric,
    /// The worst value that is good enough: the highest wer, the least similarity [default: none for wer, 0.85 for similarity]
    #[arg(long, env = "PARLANCE_THRESHOLD", value_name = "NUMBER", value_parser = threshold)]
    threshold: Option<f64>,
    /// File that the outcome is written to too, as JSON of at most 4096 bytes
    #[arg(long, env = "PARLANCE_REPORT", value_name = "FILE")]
    report: Option<PathBuf>,
    /// End with exit code 0 for a model that is not good enough: whoever asks reads the report
    #[arg(long, env = "PARLANCE_REPORT_ONLY")]
    report_only: bool,
    #[command(flatten)]
    transcription: TranscriptionArgs,
}

impl EvaluateArgs {
    /// What to evaluate.
    pub fn into_request(self) -> Request {
        let Self {
            model,
            digest,
            samples,
            metric,
            threshold,
            report,
            report_only,
            transcription,
        } = self;
        Request {
            model: model.into_choice(),
            digest,
            options: transcription.into_options(),
            samples,
            metric,
            threshold,
            report,
            report_only,
        }
    }
}

fn threshold(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if number.is_finite() && number >= 0.0 {
        Ok(number)
    } else {
        Err("it must be 0 or more".to_owned())
    }
}
