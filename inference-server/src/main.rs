//! `parlance-server`: the command line in; an exit code out.

use std::process::ExitCode;

use clap::Parser;
use inference_server::{cli::Cli, run};

fn main() -> ExitCode {
    match run::command(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parlance-server: {error}");
            ExitCode::FAILURE
        }
    }
}
