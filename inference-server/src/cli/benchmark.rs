//! The flags of `bench`. Parses, and does nothing else.

use clap::Args;

use super::{at_least_one, model::ModelArgs};
use crate::bench::Request;

/// The flags of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    model: ModelArgs,
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
            tokens,
            rounds,
            turns,
        } = self;
        Request {
            model: model.into_choice(),
            tokens,
            rounds,
            turns,
        }
    }
}
