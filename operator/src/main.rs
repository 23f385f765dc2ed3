//! `parlance-operator`: parses the command line, starts logging, and runs. Nothing is decided here.

use std::process::ExitCode;

use clap::Parser;
use operator::{cli::Args, run, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    telemetry::init(args.log_format, &args.log_level);
    match run::run(args.into()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "parlance-operator ends");
            ExitCode::FAILURE
        }
    }
}
