//! An audio file in; its transcript on the given output, in the format asked for. The command of a person at a shell.

use std::{io::Write, path::PathBuf};

use crate::{pipeline::Options, render::Format};

/// What `parlance-server transcribe` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// The audio file.
    pub file: PathBuf,
    /// The model directory; `None`: the bundled model.
    pub model: Option<PathBuf>,
    /// Threads (0: as the cgroup grants).
    pub threads: usize,
    /// Language, task and windows.
    pub options: Options,
    /// What to write.
    pub format: Format,
}

/// Why there is no transcript, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TranscribeError(String);

/// Transcribes the file and writes the result, and nothing else, to `out`.
pub fn run(request: &Request, out: &mut dyn Write) -> Result<(), TranscribeError> {
    let _ = (request, out);
    Err(TranscribeError("not yet".to_owned()))
}
