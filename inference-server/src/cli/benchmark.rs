//! The flags of `bench`. Parses, and does nothing else.

use std::path::PathBuf;

use clap::Args;

use super::at_least_one;
use crate::{
    bench::Request,
    model::{Dtype, Precision},
};

/// The flags of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Directory of the model [default: the bundled whisper-nano-digits]
    #[arg(long, env = "PARLANCE_MODEL", value_name = "DIR")]
    model: Option<PathBuf>,
    /// Precision of the graphs to load: fp32, fp16, int8, q8 or uint8 [default: the first of them that is there]
    #[arg(long, env = "PARLANCE_DTYPE", value_name = "DTYPE")]
    dtype: Option<Dtype>,
    /// Precision of the products with weights: auto (f32), f32, bf16 or int8
    #[arg(long, env = "PARLANCE_PRECISION", default_value_t = Precision::Auto, value_name = "PRECISION")]
    precision: Precision,
    /// Threads of the model; 0 takes as many as the cgroup grants
    #[arg(long, env = "PARLANCE_THREADS", default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Tokens of each window: neither more nor less, whatever the model says
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = at_least_one)]
    tokens: usize,
    /// How often each thing is measured, after once that is not counted
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = at_least_one)]
    rounds: usize,
    /// Measure what standard input names, a line each, and answer each with its figure: for a program that measures other engines in
    /// between
    #[arg(long)]
    turns: bool,
}

impl BenchArgs {
    /// What to measure.
    pub fn into_request(self) -> Request {
        let Self {
            model,
            dtype,
            precision,
            threads,
            tokens,
            rounds,
            turns,
        } = self;
        Request {
            model,
            dtype,
            precision,
            threads,
            tokens,
            rounds,
            turns,
        }
    }
}
