//! Audio in; the languages by their probability out, as `openai/whisper` detects them: from the first window with speech.

use super::{Cancel, Language, Options, PipelineError, Recording, listener::Listener, speech::Speech};
use crate::{
    audio::{Channels, SAMPLE_RATE},
    model::Model,
};

/// So much is kept of audio in which nobody has spoken yet: a second.
const LOOK_BACK: usize = SAMPLE_RATE as usize;

/// The languages that may be spoken, likeliest first, with their probabilities (0 to 1, together 1); none where nobody speaks.
/// A model of one language is sure of it.
///
/// Source: `whisper/decoding.py` (`detect_language`).
pub fn detect_language<R: Recording>(
    model: &Model,
    recording: &R,
    options: &Options,
    cancel: &Cancel,
) -> Result<Vec<(String, f32)>, R::Error> {
    let options = Options {
        language: Language::Auto,
        ..options.clone()
    };
    let listener = Listener::new(model, &options)?;
    let mut beginning = Beginning::new(model, &options)?;
    recording.play(Channels::Mix, &mut |lanes| {
        cancel.check().map_err(PipelineError::from)?;
        let mixed = lanes.first().map(Vec::as_slice).unwrap_or_default();
        mixed
            .chunks(LOOK_BACK)
            .try_for_each(|piece| beginning.push(piece))?;
        Ok(())
    })?;
    let window = beginning.finish()?;
    if window.is_empty() {
        return Ok(vec![]);
    }
    let tokens = &model.config().tokens;
    if !tokens.multilingual() {
        let only = tokens.codes().into_iter().take(1);
        return Ok(only.map(|code| (code, 1.0)).collect());
    }
    let found = listener.languages(&model.extractor.extract(&window))?;
    let named = found
        .into_iter()
        .map(|(code, probability)| (code.to_owned(), probability));
    Ok(named.collect())
}

/// Waits for the first window, from where somebody speaks on if that is asked for.
struct Beginning {
    speech: Option<Speech>,
    /// Samples of a window.
    size: usize,
    /// Samples from `begin` on; what comes before any speech is forgotten.
    buffer: Vec<f32>,
    begin: usize,
    complete: bool,
}

impl Beginning {
    fn new(model: &Model, options: &Options) -> Result<Self, PipelineError> {
        let speech = options
            .vad
            .as_ref()
            .map(|settings| Speech::new(&model.detector, settings));
        Ok(Beginning {
            speech: speech.transpose()?,
            size: model.config().features.n_samples,
            buffer: Vec::new(),
            begin: 0,
            complete: false,
        })
    }

    fn push(&mut self, piece: &[f32]) -> Result<(), PipelineError> {
        if self.complete {
            return Ok(());
        }
        self.buffer.extend_from_slice(piece);
        if let Some(speech) = &mut self.speech {
            speech.push(piece)?;
        }
        let keep = self
            .first()
            .unwrap_or(self.buffer.len().saturating_sub(LOOK_BACK));
        self.complete = self
            .first()
            .is_some_and(|first| self.buffer.len() - first >= self.size);
        self.forget(keep);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<f32>, PipelineError> {
        if let Some(speech) = &mut self.speech {
            speech.finish()?;
        }
        self.forget(self.first().unwrap_or(self.buffer.len()));
        self.buffer.truncate(self.size);
        Ok(self.buffer)
    }

    /// Where in the buffer somebody speaks first.
    fn first(&self) -> Option<usize> {
        match &self.speech {
            None => Some(0),
            Some(speech) => {
                let spans = speech.within(self.begin..self.begin + self.buffer.len());
                spans.first().map(|span| span.start)
            }
        }
    }

    fn forget(&mut self, samples: usize) {
        self.buffer.drain(..samples);
        self.begin += samples;
        if let Some(speech) = &mut self.speech {
            speech.forget(self.begin);
        }
    }
}
