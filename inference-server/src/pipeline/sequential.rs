//! Samples as they arrive in; the segments of each window out, as `openai/whisper`'s `transcribe` finds them: a window begins
//! at the last timestamp of the one before, and is told its text. Holds one window of audio and the end of the text.
//!
//! Source: `whisper/transcribe.py`. Different here: with `vad`, a window without speech is passed over unheard.

use std::time::Duration;

use super::{
    Cancel, Options, PipelineError, Segment, WindowResult,
    listener::Listener,
    segments::{self, Stretch},
    speech::Speech,
};
use crate::{audio::SAMPLE_RATE, features::LogMel, model::Model};

/// Above this temperature the text is not told to the next window.
const WILD: f32 = 0.5;
/// Frames of 10 ms in a second.
const FRAMES_PER_SECOND: f64 = 100.0;

/// The sequential long form over audio that arrives piece by piece.
pub(super) struct Sequential<'m> {
    listener: Listener<'m>,
    /// Where somebody speaks, if that is asked for.
    speech: Option<Speech>,
    timestamp_begin: u32,
    /// The greatest log-power of the whole audio where it is known before, otherwise of what has been heard so far.
    peak: Option<f64>,
    peak_so_far: f64,
    /// Samples from `begin` on.
    buffer: Vec<f32>,
    begin: usize,
    /// The next window's first frame.
    seek: usize,
    /// What is told to the next window: tokens said since the last reset, the initial prompt before them.
    told: Vec<u32>,
    initial_prompt: Vec<u32>,
    /// Where the last word or segment ended, in seconds.
    last_speech: f64,
    /// The end of the last segment returned.
    latest: Duration,
}

impl<'m> Sequential<'m> {
    pub(super) fn new(model: &'m Model, options: &Options, peak: Option<f64>) -> Result<Self, PipelineError> {
        let listener = Listener::new(model, options)?;
        let timestamp_begin = model.config().tokens.timestamp_begin().ok_or_else(|| {
            PipelineError::InvalidOptions(
                "the sequential long form needs a model with timestamps; this one has none, use chunked"
                    .to_owned(),
            )
        })?;
        let initial_prompt = listener.initial_prompt();
        let speech = options
            .vad
            .as_ref()
            .map(|settings| Speech::new(&model.detector, settings));
        let speech = speech.transpose()?;
        Ok(Sequential {
            told: initial_prompt.clone(),
            initial_prompt,
            listener,
            speech,
            timestamp_begin,
            peak,
            peak_so_far: f64::MIN,
            buffer: Vec::new(),
            begin: 0,
            seek: 0,
            last_speech: 0.0,
            latest: Duration::ZERO,
        })
    }

    /// Takes the next samples and returns the windows that have become final.
    pub(super) fn push(
        &mut self,
        samples: &[f32],
        cancel: &Cancel,
    ) -> Result<Vec<WindowResult>, PipelineError> {
        let mut results = Vec::new();
        let frames = self.window_frames();
        for piece in samples.chunks(SAMPLE_RATE as usize) {
            self.buffer.extend_from_slice(piece);
            if let Some(speech) = &mut self.speech {
                speech.push(piece)?;
            }
            // A frame needs samples a little beyond it.
            while self.begin + self.buffer.len() >= (self.seek + frames) * self.hop() + self.reach() {
                results.push(self.window(frames, cancel)?);
            }
        }
        Ok(results)
    }

    /// No more audio: transcribes what is left.
    pub(super) fn finish(mut self, cancel: &Cancel) -> Result<Vec<WindowResult>, PipelineError> {
        let mut results = Vec::new();
        if let Some(speech) = &mut self.speech {
            speech.finish()?;
        }
        let content = (self.begin + self.buffer.len()) / self.hop();
        while self.seek < content {
            results.push(self.window(self.window_frames().min(content - self.seek), cancel)?);
        }
        Ok(results)
    }

    /// Transcribes the window of `size` frames at `seek`, and moves on.
    fn window(&mut self, size: usize, cancel: &Cancel) -> Result<WindowResult, PipelineError> {
        let offset = self.seek as f64 / FRAMES_PER_SECOND;
        let first = (self.seek * self.hop() - self.begin).min(self.buffer.len());
        let samples = &self.buffer[first..(first + size * self.hop()).min(self.buffer.len())];
        let (from, to) = (self.begin + first, self.begin + first + samples.len());
        if self
            .speech
            .as_ref()
            .is_some_and(|speech| speech.within(from..to).is_empty())
        {
            return Ok(self.pass(size));
        }
        let features = self.features(size);
        if self.listener.language().is_empty() && size < self.window_frames() {
            // The original tells the language from audio that ends in silence, and the words from audio that is cut off.
            let ends_in_silence = self.features(self.window_frames());
            if let Some((code, _)) = self.listener.languages(&ends_in_silence)?.first() {
                self.listener.settle(code);
            }
        }
        let window = self.listener.encode(&features, cancel)?;
        let mut said = self.listener.hear(window, &self.told, cancel)?;
        self.listener.settle(&said.language);
        if self.listener.no_speech(&said.tokens) {
            return Ok(self.pass(size));
        }
        let sliced = segments::slice(&said.tokens.ids, self.timestamp_begin, offset, size);
        let mut stretches = sliced.stretches;
        let mut next = self.seek + sliced.advance;
        self.listener.time_words(
            &mut said,
            &mut stretches,
            (offset, size),
            self.last_speech,
            cancel,
        )?;
        if self.listener.options.word_timestamps
            && let Some(end) = end_of_words(&stretches)
        {
            if !sliced.single_ending && end > offset {
                next = (end * FRAMES_PER_SECOND).round() as usize;
            }
            self.last_speech = end;
        }
        let model = self.listener.model;
        stretches.retain(|s| s.start != s.end && !model.vocabulary.text(&s.tokens).trim().is_empty());
        self.tell(&stretches, said.tokens.temperature);
        let end = Duration::from_secs_f64((self.begin + self.buffer.len()) as f64 / f64::from(SAMPLE_RATE));
        let mut segments = Vec::new();
        for stretch in &stretches {
            if let Some(segment) = said.facts(self.seek).segment(model, stretch, self.latest, end) {
                self.latest = segment.end;
                segments.push(segment);
            }
        }
        // A window that leads nowhere is passed over, so that audio is never heard for ever.
        let most = self.seek + size;
        self.go_to(if next > self.seek { next.min(most) } else { most });
        Ok(self.result(segments))
    }

    /// The features of the next `size` frames.
    fn features(&mut self, size: usize) -> LogMel {
        let extractor = &self.listener.model.extractor;
        let at = around(&self.buffer, self.begin, self.seek * self.hop());
        let peak = match self.peak {
            Some(peak) => peak,
            None => {
                self.peak_so_far = self.peak_so_far.max(extractor.peak(&at, size));
                self.peak_so_far
            }
        };
        extractor.extract_at(at, size, peak)
    }

    /// Moves on without a word.
    fn pass(&mut self, size: usize) -> WindowResult {
        self.go_to(self.seek + size);
        self.result(vec![])
    }

    fn go_to(&mut self, seek: usize) {
        self.seek = seek;
        let keep = (seek * self.hop()).saturating_sub(self.reach()).max(self.begin);
        let drop = (keep - self.begin).min(self.buffer.len());
        self.buffer.drain(..drop);
        self.begin += drop;
        if let Some(speech) = &mut self.speech {
            speech.forget(self.begin);
        }
    }

    fn result(&self, segments: Vec<Segment>) -> WindowResult {
        WindowResult {
            segments,
            language: self.listener.language().to_owned(),
            end_offset: Duration::from_secs_f64(self.seek as f64 / FRAMES_PER_SECOND),
        }
    }

    /// What the next window is told of this one.
    fn tell(&mut self, stretches: &[Stretch], temperature: f32) {
        self.told
            .extend(stretches.iter().flat_map(|stretch| &stretch.tokens));
        let context = &self.listener.options.context;
        let (carry, forget) = (
            context.carry_initial_prompt,
            !context.condition_on_previous_text || temperature > WILD,
        );
        let before = if carry { self.initial_prompt.len() } else { 0 };
        if forget {
            self.told.truncate(before);
            return;
        }
        // Only the end of it will fit; with the initial prompt carried, the end of the rest.
        let room = (self.listener.model.config().sizes.decoder_positions / 2).saturating_sub(1);
        let too_many = self.told.len().saturating_sub(room);
        let last = (before + too_many).min(self.told.len());
        self.told.drain(before..last);
    }

    fn hop(&self) -> usize {
        self.listener.model.config().features.hop_length
    }

    /// How far a frame's transform reaches before and after its middle, in samples.
    fn reach(&self) -> usize {
        self.listener.model.config().features.n_fft / 2
    }

    fn window_frames(&self) -> usize {
        self.listener.model.config().features.frames()
    }
}

/// Where the last word ends; without words, where the last stretch does.
fn end_of_words(stretches: &[Stretch]) -> Option<f64> {
    let word = stretches.iter().rev().find_map(|stretch| stretch.words.last());
    word.map(|word| word.end)
        .or(stretches.last().map(|stretch| stretch.end))
}

/// The sample at a place relative to sample `centre` of audio of which `buffer` holds the part from `begin` on. Before its
/// start the audio is mirrored; after its end it is silent.
pub(super) fn around(buffer: &[f32], begin: usize, centre: usize) -> impl Fn(isize) -> f32 {
    move |i| {
        let place = (centre as isize + i).unsigned_abs();
        let here = place.checked_sub(begin).and_then(|i| buffer.get(i));
        here.copied().unwrap_or(0.0)
    }
}
