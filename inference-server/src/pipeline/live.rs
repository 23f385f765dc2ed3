//! Samples as they arrive in; the words of each window out, once they are final. Holds one window of audio, no more.
//!
//! A window ends in a pause of its last `chunk_overlap`, if there is one: then no word is cut, and the next window begins
//! there. In speech without a pause it ends when it is full, the next begins `chunk_overlap` before that, and the words
//! that both heard are written once ([`super::joint`]); until then the first of the two is held back.

use std::time::Duration;

use super::{
    Cancel, Language, Options, PipelineError, Thresholds, WindowResult, silence,
    window::{Heard, Listener},
};
use crate::{audio::SAMPLE_RATE, decoder::Rules, model::Model};

/// The shortest window that makes sense.
const SHORTEST: Duration = Duration::from_secs(1);

/// Audio that arrives piece by piece: each window is transcribed when it is full.
pub struct Live<'a> {
    listener: Listener<'a>,
    /// Samples of a full window.
    window: usize,
    /// Samples that two windows share at most.
    overlap: usize,
    /// What is not transcribed yet, and before it what the next window hears again.
    buffer: Vec<f32>,
    /// Where the buffer begins, in samples.
    begin: usize,
    /// The window before, if the next one overlaps with it.
    held: Option<Heard>,
    /// The end of the last segment returned.
    latest: Duration,
}

impl<'a> Live<'a> {
    /// Checks the options against the model.
    pub fn new(model: &'a Model, options: &Options) -> Result<Self, PipelineError> {
        check(model, options)?;
        let samples = |duration: Duration| (duration.as_secs_f64() * f64::from(SAMPLE_RATE)).round() as usize;
        let tokens = &model.config().tokens;
        let timestamps = tokens.no_timestamps.is_some();
        let language = match tokens.multilingual() {
            true => options.language.clone(),
            false => tokens
                .codes()
                .first()
                .cloned()
                .map_or(Language::Auto, Language::Code),
        };
        let listener = Listener {
            model,
            language,
            task: options.task,
            thresholds: Thresholds::default(),
            rules: Rules::new(tokens, timestamps),
            timestamps,
        };
        let (window, overlap) = (samples(options.chunk_duration), samples(options.chunk_overlap));
        Ok(Live {
            listener,
            window,
            overlap,
            buffer: Vec::new(),
            begin: 0,
            held: None,
            latest: Duration::ZERO,
        })
    }

    /// Takes the next samples (16 kHz mono) and returns the windows that have become final.
    pub fn push(&mut self, samples: &[f32], cancel: &Cancel) -> Result<Vec<WindowResult>, PipelineError> {
        let mut results = Vec::new();
        // Piece by piece, so that the buffer stays a window long; a window is only cut when more follows it.
        for piece in samples.chunks(self.window) {
            self.buffer.extend_from_slice(piece);
            while self.buffer.len() > self.window {
                let search = self.window - self.overlap..self.window;
                match silence::pause(&self.buffer[..self.window], search) {
                    Some(end) => self.hear(end, end, &mut results, cancel)?,
                    None => self.hear(self.window, self.window - self.overlap, &mut results, cancel)?,
                }
            }
        }
        Ok(results)
    }

    /// No more audio: transcribes what is left.
    pub fn finish(mut self, cancel: &Cancel) -> Result<Vec<WindowResult>, PipelineError> {
        let mut results = Vec::new();
        let left = self.buffer.len();
        if left > 0 {
            self.hear(left, left, &mut results, cancel)?;
        }
        Ok(results)
    }

    /// Transcribes the buffer up to `end`; the next window begins at `next`, before it if they overlap.
    fn hear(
        &mut self,
        end: usize,
        next: usize,
        results: &mut Vec<WindowResult>,
        cancel: &Cancel,
    ) -> Result<(), PipelineError> {
        let mut heard = self.listener.hear(&self.buffer[..end], self.begin, cancel)?;
        if let Some(mut held) = self.held.take() {
            held.join(&mut heard, self.listener.model);
            results.push(self.result(&held));
        }
        self.buffer.drain(..next);
        self.begin += next;
        if next < end {
            self.held = Some(heard);
        } else {
            results.push(self.result(&heard));
        }
        Ok(())
    }

    fn result(&mut self, heard: &Heard) -> WindowResult {
        let segments = heard.segments(self.listener.model, self.latest);
        self.latest = segments.last().map_or(self.latest, |segment| segment.end);
        let end_offset = Duration::from_secs_f64(heard.end as f64 / f64::from(SAMPLE_RATE));
        WindowResult {
            segments,
            language: self.listener.language(),
            end_offset,
        }
    }
}

fn check(model: &Model, options: &Options) -> Result<(), PipelineError> {
    let tokens = &model.config().tokens;
    if let Language::Code(language) = &options.language
        && !tokens.codes().contains(language)
    {
        return Err(PipelineError::UnsupportedLanguage {
            language: language.clone(),
            known: tokens.codes(),
        });
    }
    if !tokens.can(options.task) {
        return Err(PipelineError::UnsupportedTask { task: options.task });
    }
    let features = &model.config().features;
    let longest = Duration::from_secs_f64(features.n_samples as f64 / features.sampling_rate as f64);
    let (window, overlap) = (options.chunk_duration, options.chunk_overlap);
    if window < SHORTEST || window > longest {
        return Err(PipelineError::InvalidOptions(format!(
            "a chunk duration of {window:?}: this model takes {SHORTEST:?} to {longest:?}"
        )));
    }
    if overlap * 2 > window {
        return Err(PipelineError::InvalidOptions(format!(
            "a chunk overlap of {overlap:?}: at most half of the chunk duration of {window:?}"
        )));
    }
    Ok(())
}
