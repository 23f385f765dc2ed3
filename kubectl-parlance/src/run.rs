//! The command line in; the command's work done, and whether all is well, out.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::cluster::Cluster;
use crate::completion;
use crate::error::Error;
use crate::status;
use crate::top;
use crate::transcribe;
use crate::why;

/// What came of a command that did what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Well,
    /// `why` was asked, and something is wrong.
    Wrong,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        match outcome {
            Outcome::Well => ExitCode::SUCCESS,
            Outcome::Wrong => ExitCode::FAILURE,
        }
    }
}

/// Runs a command.
///
/// # Errors
/// What the command cannot do, in one sentence.
pub async fn run(cli: Cli) -> Result<Outcome, Error> {
    let Cli { cluster, command } = cli;
    match command {
        Command::Transcribe(args) => {
            let job = args.into_job()?;
            transcribe::transcribe(&Cluster::of(cluster).await?, &job).await?;
        }
        Command::Status(args) => {
            let question = args.into_question();
            let text = status::status(&Cluster::of(cluster).await?, &question).await?;
            print(&text)?;
        }
        Command::Top(args) => {
            let question = args.into_question();
            top::top(&Cluster::of(cluster).await?, &question).await?;
        }
        Command::Why(args) => {
            let (text, outcome) = why::why(&Cluster::of(cluster).await?, &args.name).await?;
            print(&text)?;
            return Ok(outcome);
        }
        Command::Complete(args) => print(&completion::complete(args.words).await)?,
    }
    Ok(Outcome::Well)
}

/// Writes to standard output. That nobody reads on, as with `| head`, is no error.
///
/// # Errors
/// [`Error::Output`] when it is full or closed.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::Output),
    }
}
