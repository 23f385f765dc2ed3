//! [`Pcm16k`] in; a [`Transcript`] out: the five stages in order, window by window.
//! Knows neither gRPC nor HTTP, and decodes no audio files.

use std::time::Duration;

use crate::{
    audio::{Pcm16k, SAMPLE_RATE},
    decoder::DecoderError,
    encoder::EncoderError,
    model::Model,
    text,
};

mod cancel;
mod joint;
mod live;
mod segments;
mod silence;
mod window;

pub use cancel::{Cancel, Stopped};
pub use live::Live;
pub use silence::Thresholds;

/// What the speakers speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// The model decides, from the first window that has speech.
    #[default]
    Auto,
    /// A code such as `en`.
    Code(String),
}

/// `auto`, or a language code in any case.
impl std::str::FromStr for Language {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = text.trim().to_lowercase();
        Ok(if code.is_empty() || code == "auto" {
            Language::Auto
        } else {
            Language::Code(code)
        })
    }
}

/// What is to be written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Task {
    /// What is said, in its own language.
    #[default]
    Transcribe,
    /// What is said, in English.
    Translate,
}

impl Task {
    /// The name in `generation_config.json` and in APIs.
    pub fn name(self) -> &'static str {
        match self {
            Task::Transcribe => "transcribe",
            Task::Translate => "translate",
        }
    }
}

/// `transcribe` or `translate`.
impl std::str::FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "transcribe" => Ok(Task::Transcribe),
            "translate" => Ok(Task::Translate),
            other => Err(format!("unknown task \"{other}\": transcribe or translate")),
        }
    }
}

/// How to transcribe; the same for every window of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The language, or `Auto`.
    pub language: Language,
    /// The task.
    pub task: Task,
    /// Length of a window, at most the model's (30 s).
    pub chunk_duration: Duration,
    /// How far the next window may reach back into this one; less than half of `chunk_duration`.
    pub chunk_overlap: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            language: Language::Auto,
            task: Task::Transcribe,
            chunk_duration: Duration::from_secs(30),
            chunk_overlap: Duration::from_secs(1),
        }
    }
}

/// A stretch of speech.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// From the start of the audio.
    pub start: Duration,
    /// From the start of the audio; never before `start`.
    pub end: Duration,
    /// The words, trimmed.
    pub text: String,
    /// Mean log-probability of the window's tokens, end-of-text included.
    pub avg_logprob: f32,
    /// Probability that the window holds no speech.
    pub no_speech_prob: f32,
}

/// What was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    /// The segments' texts joined ([`crate::text::join`]).
    pub text: String,
    /// In order of time, not overlapping.
    pub segments: Vec<Segment>,
    /// The code of the language given or detected; empty when there was no speech to tell it from.
    pub language: String,
    /// Length of the audio.
    pub audio_duration: Duration,
}

/// The words of one window, final.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowResult {
    /// In order of time; empty when nothing was said.
    pub segments: Vec<Segment>,
    /// As in [`Transcript::language`].
    pub language: String,
    /// All audio up to here is accounted for.
    pub end_offset: Duration,
}

/// Why a transcription did not finish.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The caller went away, or its deadline passed.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The model does not know the language.
    #[error("the model does not know the language \"{language}\"; it knows {}", known.join(", "))]
    UnsupportedLanguage {
        /// What was asked for.
        language: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The model cannot do the task.
    #[error("the model cannot {}", task.name())]
    UnsupportedTask {
        /// What was asked for.
        task: Task,
    },
    /// The options contradict each other.
    #[error("{0}")]
    InvalidOptions(String),
    /// The engine failed: a fault of the model or of ours, not of the audio.
    #[error("the engine failed: {0}")]
    Engine(String),
}

impl From<EncoderError> for PipelineError {
    fn from(error: EncoderError) -> Self {
        PipelineError::Engine(error.to_string())
    }
}

impl From<DecoderError> for PipelineError {
    fn from(error: DecoderError) -> Self {
        match error {
            DecoderError::Stopped(stopped) => PipelineError::Stopped(stopped),
            DecoderError::Engine(_) => PipelineError::Engine(error.to_string()),
        }
    }
}

/// Transcribes audio of any length, window by window.
pub fn transcribe(
    model: &Model,
    audio: &Pcm16k,
    options: &Options,
    cancel: &Cancel,
) -> Result<Transcript, PipelineError> {
    let mut live = Live::new(model, options)?;
    let mut windows = Vec::new();
    for piece in audio.samples().chunks(SAMPLE_RATE as usize) {
        windows.extend(live.push(piece, cancel)?);
    }
    windows.extend(live.finish(cancel)?);
    let language = windows
        .iter()
        .map(|w| w.language.clone())
        .find(|l| !l.is_empty())
        .unwrap_or_default();
    let segments: Vec<Segment> = windows.into_iter().flat_map(|w| w.segments).collect();
    let text = text::join(segments.iter().map(|segment| segment.text.as_str()));
    Ok(Transcript {
        text,
        segments,
        language,
        audio_duration: audio.duration(),
    })
}
