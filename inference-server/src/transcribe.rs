//! An audio file in; its transcript on the given output, in the format asked for. The command of a person at a shell.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    audio::{Channels, Source, SourceError},
    model::Choice,
    pipeline::{self, Cancel, Options, PipelineError, Recording, Take},
    render::{Format, render},
};

/// Files of any length: a person at a shell waits as long as they like.
const NO_LIMIT: Duration = Duration::from_secs(u32::MAX as u64);

/// What `parlance-server transcribe` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// The audio file.
    pub file: PathBuf,
    /// Which model, and how.
    pub model: Choice,
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
    // The audio first: it is the likelier mistake, and the cheaper one to find.
    let audio = AudioFile::open(&request.file, request.options.channels)?;
    let model = request.model.load().map_err(|e| TranscribeError(e.to_string()))?;
    let transcript = pipeline::transcribe(&model, &audio, &request.options, &Cancel::new());
    let transcript = transcript?;
    let written = out
        .write_all(render(&transcript, request.format).as_bytes())
        .and_then(|()| out.flush());
    written.map_err(|e| TranscribeError(format!("failed to write the transcript: {e}")))
}

/// A file, decoded as it is played.
pub(crate) struct AudioFile {
    source: Source,
    name: String,
}

impl AudioFile {
    /// The file, if there is audio at its start.
    pub(crate) fn open(path: &Path, channels: Channels) -> Result<AudioFile, TranscribeError> {
        let name = path.display().to_string();
        let opened = fs::File::open(path);
        let opened = opened.map_err(|e| TranscribeError(format!("failed to read {name}: {e}")))?;
        let source = Source::file(opened);
        let audio = AudioFile { source, name };
        audio.check(channels)?;
        Ok(audio)
    }

    /// Whether there is audio at its start, with no more channels than can be told apart.
    fn check(&self, channels: Channels) -> Result<(), TranscribeError> {
        let begun = |lanes: &[Vec<f32>]| {
            if lanes.iter().all(Vec::is_empty) {
                Ok(())
            } else {
                Err(String::new())
            }
        };
        match self.source.play(channels, NO_LIMIT, &mut { begun }) {
            Ok(()) | Err(SourceError::Taker(_)) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> TranscribeError {
        TranscribeError(format!("{}: {error}", self.name))
    }
}

impl From<PipelineError> for TranscribeError {
    fn from(error: PipelineError) -> Self {
        TranscribeError(error.to_string())
    }
}

impl Recording for AudioFile {
    type Error = TranscribeError;

    fn play(&self, channels: Channels, take: &mut Take<'_, TranscribeError>) -> Result<(), TranscribeError> {
        self.source
            .play(channels, NO_LIMIT, take)
            .map_err(|error| match error {
                SourceError::Taker(error) => error,
                other => self.failed(&other),
            })
    }
}
