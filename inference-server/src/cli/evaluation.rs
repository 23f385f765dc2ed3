//! The flags of `evaluate`. Parses, and does nothing else.

use std::path::PathBuf;

use clap::Args;

use super::TranscriptionArgs;
use crate::{
    evaluate::{Metric, Request, Samples},
    model::{Dtype, Precision},
};

/// The flags of `evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Directory of the model [default: the bundled whisper-nano-digits]
    #[arg(long, env = "PARLANCE_MODEL", value_name = "DIR")]
    model: Option<PathBuf>,
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
    /// Precision of the graphs to load: fp32, fp16, int8, q8 or uint8 [default: the first of them that is there]
    #[arg(long, env = "PARLANCE_DTYPE", value_name = "DTYPE")]
    dtype: Option<Dtype>,
    /// Precision of the products with weights: auto (f32), f32, bf16 or int8
    #[arg(long, env = "PARLANCE_PRECISION", default_value_t = Precision::Auto, value_name = "PRECISION")]
    precision: Precision,
    /// Threads of the model; 0 takes as many as the cgroup grants
    #[arg(long, env = "PARLANCE_THREADS", default_value_t = 0, value_name = "N")]
    threads: usize,
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
            dtype,
            precision,
            threads,
            transcription,
        } = self;
        Request {
            model,
            digest,
            dtype,
            precision,
            threads,
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
