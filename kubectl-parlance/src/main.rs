//! `kubectl-parlance`: parses the command line, runs it, and makes an exit code of what came of it. Nothing is decided here.

use std::process::ExitCode;

use clap::Parser;
use kubectl_parlance::{cli::Cli, run};

/// What a shell reports of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = tokio::select! {
        outcome = run::run(cli) => outcome,
        // What was under way is dropped, and its connections with it: the server stops its work.
        _ = tokio::signal::ctrl_c() => return ExitCode::from(INTERRUPTED),
    };
    match outcome {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            eprintln!("kubectl parlance: {error}");
            ExitCode::FAILURE
        }
    }
}
