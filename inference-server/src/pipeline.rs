//! [`Pcm16k`] in; a [`Transcript`] out: the five stages in order, window by window.
//! Knows neither gRPC nor HTTP, and decodes no audio files.

use crate::{
    audio::{Pcm16k, SAMPLE_RATE},
    decoder::DecoderError,
    encoder::EncoderError,
    model::Model,
    text,
};

mod cancel;
mod chunked;
mod conversation;
mod detect;
mod heard;
mod joint;
mod listener;
mod live;
mod options;
mod segments;
mod sequential;
mod silence;
mod speech;
mod transcript;
mod words;

pub use cancel::{Cancel, Stopped};
pub use conversation::{Conversation, LiveOptions, Update};
pub use detect::detect_language;
pub use live::Live;
pub use options::{Context, Decoding, Language, LongForm, Options, Task};
pub use silence::Thresholds;
pub use transcript::{Segment, Transcript, WindowResult, Word};

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
    transcribe_each(model, audio, options, cancel, |_| {})
}

/// The same, and hands out each window as soon as it is final.
pub fn transcribe_each(
    model: &Model,
    audio: &Pcm16k,
    options: &Options,
    cancel: &Cancel,
    mut each: impl FnMut(&WindowResult),
) -> Result<Transcript, PipelineError> {
    let mut live = Live::of(model, audio, options)?;
    let mut windows = Vec::new();
    let mut take = |new: Vec<WindowResult>| {
        new.iter().for_each(&mut each);
        windows.extend(new);
    };
    for piece in audio.samples().chunks(SAMPLE_RATE as usize) {
        take(live.push(piece, cancel)?);
    }
    take(live.finish(cancel)?);
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
