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
mod chunked;
mod conversation;
mod detect;
mod heard;
mod joint;
mod listener;
mod live;
mod options;
mod peak;
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

/// Who takes samples (16 kHz, mono).
pub type Take<'t, E> = dyn FnMut(&[f32]) -> Result<(), E> + 't;

/// Audio that is here in whole and can be played more than once.
pub trait Recording {
    /// Why it cannot be played or transcribed.
    type Error: From<PipelineError>;

    /// Hands out its samples (16 kHz, mono) in order, piece by piece.
    fn play(&self, take: &mut Take<'_, Self::Error>) -> Result<(), Self::Error>;
}

impl Recording for Pcm16k {
    type Error = PipelineError;

    fn play(&self, take: &mut Take<'_, PipelineError>) -> Result<(), PipelineError> {
        self.samples().chunks(SAMPLE_RATE as usize).try_for_each(take)
    }
}

/// Transcribes a recording of any length, window by window. Memory does not grow with its length, but for the words.
pub fn transcribe<R: Recording>(
    model: &Model,
    recording: &R,
    options: &Options,
    cancel: &Cancel,
) -> Result<Transcript, R::Error> {
    transcribe_each(model, recording, options, cancel, |_| {})
}

/// The same, and hands out each window as soon as it is final.
pub fn transcribe_each<R: Recording>(
    model: &Model,
    recording: &R,
    options: &Options,
    cancel: &Cancel,
    mut each: impl FnMut(&WindowResult),
) -> Result<Transcript, R::Error> {
    let check = || cancel.check().map_err(|stopped| R::Error::from(stopped.into()));
    let mut peak = None;
    if options.long_form == LongForm::Sequential {
        let mut listening = peak::Peak::new(model);
        recording.play(&mut |samples| {
            listening.push(samples);
            check()
        })?;
        peak = Some(listening.finish());
    }
    let mut live = Live::whole(model, options, peak)?;
    let (mut windows, mut heard) = (Vec::new(), 0);
    let mut take = |new: Vec<WindowResult>| {
        new.iter().for_each(&mut each);
        windows.extend(new);
    };
    recording.play(&mut |samples| {
        check()?;
        heard += samples.len();
        take(live.push(samples, cancel)?);
        Ok(())
    })?;
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
        audio_duration: Duration::from_secs_f64(heard as f64 / f64::from(SAMPLE_RATE)),
    })
}
