//! [`Pcm16k`] in; a [`Transcript`] out: the five stages in order, window by window, and channel by channel where that is asked
//! for.
//! Knows neither gRPC nor HTTP, and decodes no audio files.

use std::time::Duration;

use crate::{
    audio::{Channels, Pcm16k, SAMPLE_RATE},
    decoder::DecoderError,
    encoder::EncoderError,
    model::Model,
    text,
};

mod cancel;
mod chunked;
mod clips;
mod conversation;
mod detect;
mod heard;
mod invented;
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
pub use clips::{Clip, clips};
pub use conversation::{Conversation, LiveOptions, Update};
pub use detect::detect_language;
pub use live::Live;
pub use options::{Context, Decoding, Language, LongForm, Options, Punctuation, Task};
pub(crate) use segments::SECONDS_PER_TIMESTAMP;
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

/// Who takes samples (16 kHz): of each channel as many, of mixed ones in one vector. No vector at all: a header, and no samples
/// yet.
pub type Take<'t, E> = dyn FnMut(&[Vec<f32>]) -> Result<(), E> + 't;

/// Audio that is here in whole and can be played more than once.
pub trait Recording {
    /// Why it cannot be played or transcribed.
    type Error: From<PipelineError>;

    /// Hands out its samples (16 kHz) in order, piece by piece, mixed or channel by channel.
    fn play(&self, channels: Channels, take: &mut Take<'_, Self::Error>) -> Result<(), Self::Error>;
}

impl Recording for Pcm16k {
    type Error = PipelineError;

    /// There is one channel.
    fn play(&self, _: Channels, take: &mut Take<'_, PipelineError>) -> Result<(), PipelineError> {
        let mut pieces = self.samples().chunks(SAMPLE_RATE as usize);
        pieces.try_for_each(|piece| take(&[piece.to_vec()]))
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

/// Windows of each lane that are decoded together: all lanes share the room for what the decoder listens to.
fn abreast(model: &Model, lanes: usize) -> usize {
    (model.windows_abreast() / lanes.max(1)).max(1)
}

/// The same, and hands out each window as soon as it is final. Windows of several channels come as they are done; the
/// transcript has their segments in order of time.
pub fn transcribe_each<R: Recording>(
    model: &Model,
    recording: &R,
    options: &Options,
    cancel: &Cancel,
    mut each: impl FnMut(&WindowResult),
) -> Result<Transcript, R::Error> {
    options.check(model)?;
    let check = || cancel.check().map_err(|stopped| R::Error::from(stopped.into()));
    let sequential = options.long_form == LongForm::Sequential;
    let mut peaks: Vec<peak::Peak<'_>> = Vec::new();
    if sequential {
        recording.play(options.channels, &mut |lanes| {
            peaks.resize_with(lanes.len().max(peaks.len()), || peak::Peak::new(model));
            peaks
                .iter_mut()
                .zip(lanes)
                .for_each(|(peak, lane)| peak.push(lane));
            check()
        })?;
    }
    let mut known = peaks.into_iter().map(peak::Peak::finish);
    let (mut lives, mut windows, mut heard) = (Vec::<Live<'_>>::new(), Vec::new(), 0);
    let mut take = |new: Vec<WindowResult>, lane: usize| {
        let channel = u16::try_from(lane + 1)
            .ok()
            .filter(|_| options.channels == Channels::Each);
        windows.extend(
            new.into_iter()
                .map(|window| window.of(channel))
                .inspect(&mut each),
        );
    };
    recording.play(options.channels, &mut |lanes| {
        check()?;
        while lives.len() < lanes.len() {
            lives.push(Live::whole(
                model,
                options,
                known.next(),
                abreast(model, lanes.len()),
            )?);
        }
        for (i, (live, samples)) in lives.iter_mut().zip(lanes).enumerate() {
            take(live.push(samples, cancel)?, i);
        }
        heard += lanes.first().map_or(0, Vec::len);
        Ok(())
    })?;
    for (i, live) in lives.into_iter().enumerate() {
        take(live.finish(cancel)?, i);
    }
    let language = windows
        .iter()
        .map(|w| w.language.clone())
        .find(|l| !l.is_empty())
        .unwrap_or_default();
    let mut segments: Vec<Segment> = windows.into_iter().flat_map(|w| w.segments).collect();
    segments.sort_by_key(|segment| segment.start);
    let text = text::join(segments.iter().map(|segment| segment.text.as_str()));
    Ok(Transcript {
        text,
        segments,
        language,
        audio_duration: Duration::from_secs_f64(heard as f64 / f64::from(SAMPLE_RATE)),
    })
}
