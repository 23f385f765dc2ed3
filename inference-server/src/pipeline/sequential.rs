//! Samples as they arrive in; the segments of each window out, as `openai/whisper`'s `transcribe` finds them: a window begins
//! at the last timestamp of the one before, and is told its text. Holds one window of audio and the end of the text.
//!
//! Source: `whisper/transcribe.py`. Different here: with `vad`, a window without speech is passed over unheard.

use std::time::Duration;

use super::{
    Cancel, Options, PipelineError, Segment, WindowResult,
    clips::Ahead,
    invented::{self, Verdict},
    listener::{Listener, Said},
    peak::Whole,
    segments::{self, Sliced, Stretch},
    speech::Speech,
};
use crate::{audio::SAMPLE_RATE, features::LogMel, model::Model};

/// Above this temperature the text is not told to the next window.
const WILD: f32 = 0.5;
/// Frames of 10 ms in a second.
const FRAMES_PER_SECOND: f64 = FRAME_RATE as f64;
const FRAME_RATE: u32 = 100;

/// The sequential long form over audio that arrives piece by piece.
pub(super) struct Sequential<'m> {
    listener: Listener<'m>,
    /// Where somebody speaks, if that is asked for.
    speech: Option<Speech>,
    timestamp_begin: u32,
    /// The clips that are still to come, in frames.
    clips: Ahead,
    /// The greatest log-power of the whole audio where it is known before, otherwise of what has been heard so far.
    peak: Option<f64>,
    peak_so_far: f64,
    /// Frames of the whole audio, once they are known.
    content: Option<usize>,
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
    pub(super) fn new(
        model: &'m Model,
        options: &Options,
        whole: Option<Whole>,
    ) -> Result<Self, PipelineError> {
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
            clips: Ahead::new(&options.clips, FRAME_RATE),
            peak: whole.map(|whole| whole.peak),
            peak_so_far: f64::MIN,
            content: whole.map(|whole| whole.frames),
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
        for piece in samples.chunks(SAMPLE_RATE as usize) {
            self.buffer.extend_from_slice(piece);
            if let Some(speech) = &mut self.speech {
                speech.push(piece)?;
            }
            loop {
                let size = self.next_window();
                // A frame needs samples a little beyond it.
                if size == 0 || self.heard() < (self.seek + size) * self.hop() + self.reach() {
                    break;
                }
                results.push(self.window(size, cancel)?);
            }
        }
        Ok(results)
    }

    /// Frames of the next window, if the audio does not end before; it begins at `seek`, where a clip goes on or the next one
    /// begins. 0: there are no more clips.
    fn next_window(&mut self) -> usize {
        let Some(clip) = self.clips.at(self.seek) else {
            self.go_to(self.heard() / self.hop());
            return 0;
        };
        self.go_to(self.seek.max(clip.start));
        self.window_frames().min(clip.end - self.seek)
    }

    /// Samples so far.
    fn heard(&self) -> usize {
        self.begin + self.buffer.len()
    }

    /// No more audio: transcribes what is left.
    pub(super) fn finish(mut self, cancel: &Cancel) -> Result<Vec<WindowResult>, PipelineError> {
        let mut results = Vec::new();
        if let Some(speech) = &mut self.speech {
            speech.finish()?;
        }
        let content = self.heard() / self.hop();
        self.content = Some(content);
        loop {
            let size = self.next_window().min(content.saturating_sub(self.seek));
            if size == 0 {
                break;
            }
            results.push(self.window(size, cancel)?);
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
        let window = self.listener.encode(&features, size, cancel)?;
        let mut said = self.listener.hear(window, &self.told, cancel)?;
        self.listener.settle(&said.language);
        if self.listener.no_speech(&said.tokens) {
            return Ok(self.pass(size));
        }
        let sliced = segments::slice(&said.tokens.ids, self.timestamp_begin, offset, size);
        let (stretches, next) = self.by_words(&mut said, sliced, size, cancel)?;
        // A window that leads nowhere is passed over, so that audio is never heard for ever.
        let next = if next > self.seek { next } else { self.seek + size };
        let Some(mut stretches) = stretches else {
            self.go_to(next);
            return Ok(self.result(vec![]));
        };
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
        self.go_to(next);
        Ok(self.result(segments))
    }

    /// The stretches of a window with their words, where those are asked for or needed, and the frame at which the next window
    /// begins. `None`: the window's words are to be heard again from there.
    fn by_words(
        &mut self,
        said: &mut Said<'m>,
        sliced: Sliced,
        size: usize,
        cancel: &Cancel,
    ) -> Result<(Option<Vec<Stretch>>, usize), PipelineError> {
        let mut stretches = sliced.stretches;
        let offset = self.seek as f64 / FRAMES_PER_SECOND;
        let mut next = self.seek + sliced.advance;
        let options = &self.listener.options;
        if !options.word_timestamps && !self.listener.doubts() {
            return Ok((Some(stretches), next));
        }
        let last_speech = self.last_speech;
        self.listener
            .time_words(said, &mut stretches, (offset, size), last_speech, cancel)?;
        if let Some(last) = segments::end_of_words(&stretches).filter(|last| *last > offset)
            && !sliced.single_ending
        {
            next = (last * FRAMES_PER_SECOND).round_ties_even() as usize;
        }
        if let Some(threshold) = options.hallucination_silence_threshold {
            let window = invented::Window {
                threshold: threshold.as_secs_f64(),
                seek: self.seek,
                size,
                whole: self.window_frames(),
                single_ending: sliced.single_ending,
                last_speech,
                content: self.content,
            };
            match window.judge(&stretches) {
                Verdict::Keep(judged) => next = judged.unwrap_or(next),
                Verdict::Cut { keep, next: judged } => {
                    stretches.truncate(keep);
                    next = judged;
                }
                Verdict::Again(judged) => return Ok((None, judged)),
            }
        }
        self.last_speech = segments::end_of_words(&stretches).unwrap_or(last_speech);
        if !options.word_timestamps {
            stretches.iter_mut().for_each(|stretch| stretch.words.clear());
        }
        Ok((Some(stretches), next))
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

    /// Not beyond the end of the clip, nor of the audio.
    fn go_to(&mut self, seek: usize) {
        let end = self.clips.at(self.seek).map_or(usize::MAX, |clip| clip.end);
        let seek = seek.min(end).min(self.content.unwrap_or(usize::MAX));
        self.seek = seek;
        let keep = (seek * self.hop()).saturating_sub(self.reach()).max(self.begin);
        // Audio that comes later and is not to be heard is dropped as it comes.
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

/// The sample at a place relative to sample `centre` of audio of which `buffer` holds the part from `begin` on. Before its
/// start the audio is mirrored; after its end it is silent.
pub(super) fn around(buffer: &[f32], begin: usize, centre: usize) -> impl Fn(isize) -> f32 {
    move |i| {
        let place = (centre as isize + i).unsigned_abs();
        let here = place.checked_sub(begin).and_then(|i| buffer.get(i));
        here.copied().unwrap_or(0.0)
    }
}
