//! What can be wrong with audio, said so that the person who sent it can mend it.

use std::time::Duration;

/// What is wrong with the audio, in a sentence.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum AudioError {
    /// No bytes at all.
    #[error("the audio is empty")]
    Empty,
    /// The bytes are no container that we read; the field says what they look like.
    #[error("not a WAV, FLAC, MP3, AAC, M4A, MP4, Ogg, Opus, WebM or Matroska file: {0}")]
    Unrecognised(String),
    /// The container is one of ours, its content is not usable.
    #[error("cannot decode the audio: {0}")]
    Malformed(String),
    /// Sample rate, channel count or sample format that we do not read.
    #[error("unsupported audio: {0}")]
    Unsupported(String),
    /// Longer than this server takes.
    #[error("the audio is longer than {}, the most that is accepted", humantime::format_duration(*max))]
    TooLong {
        /// The limit.
        max: Duration,
    },
}

impl AudioError {
    /// The file has fewer samples than its header promises.
    pub(crate) fn truncated(promised: u64, present: u64, rate: u32) -> Self {
        let seconds = |frames: u64| frames as f64 / f64::from(rate.max(1));
        AudioError::Malformed(format!(
            "the file ends early: its header promises {:.3} s, there are {:.3} s",
            seconds(promised),
            seconds(present)
        ))
    }
}
