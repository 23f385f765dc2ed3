//! `parlance-server`: the command line in; an exit code out.

use std::process::ExitCode;

use clap::Parser;
use inference_server::{cli::Cli, memory, run};

/// The system's keeps what each of its arenas once needed: with many requests on many threads, ten times what they need together.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::huge_pages_on_request();
    match run::command(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parlance-server: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
