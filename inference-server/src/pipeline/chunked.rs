//! Samples as they arrive in; the words of each window out, once they are final. Holds one window of audio, no more.
//!
//! A window ends in the last silence of its latter half between two stretches of speech, or in a pause of its last
//! `chunk_overlap`, if there is one: then no word is cut, and the next window begins there. In speech without a pause it ends when it is full, the next begins `chunk_overlap` before that, and the words
//! that both heard are written once ([`super::joint`]); until then the first of the two is held back. Where it is asked for, a
//! window also ends in a long silence. What is in no clip is not heard.

use std::{ops::Range, time::Duration};

use super::{
    Cancel, Options, PipelineError, Thresholds, WindowResult,
    clips::Ahead,
    heard::Heard,
    listener::{Encoded, Listener},
    segments, silence,
    speech::Speech,
};
use crate::{
    audio::SAMPLE_RATE,
    model::Model,
    stages::{self, Stage},
};

/// Samples between two looks for a long silence, 100 ms.
const LOOK_EVERY: usize = SAMPLE_RATE as usize / 10;

/// The chunked long form over audio that arrives piece by piece: each window is transcribed when it is full.
pub(super) struct Chunked<'m> {
    listener: Listener<'m>,
    thresholds: Thresholds,
    /// Where somebody speaks, if that is asked for.
    speech: Option<Speech>,
    /// The clips that are still to come, in samples.
    clips: Ahead,
    /// Samples of silence that end a window; the detector's pads are not among them.
    silence: Option<usize>,
    /// What every window is told.
    prompt: Vec<u32>,
    /// Samples of a full window.
    window: usize,
    /// Samples that two windows share at most.
    overlap: usize,
    /// What is not transcribed yet, and before it what the next window hears again.
    buffer: Vec<f32>,
    /// Where the buffer begins, in samples.
    begin: usize,
    /// Most windows that are decoded together.
    abreast: usize,
    /// Windows that are cut and not decoded yet, and where the one after each begins.
    cut: Vec<(Cut<'m>, usize)>,
    /// The window before, if the next one overlaps with it.
    held: Option<Heard>,
    /// Where the speech in the window before ended, in seconds.
    last_speech: f64,
    /// The end of the last segment returned.
    latest: Duration,
}

/// A window that is cut out of the audio.
struct Cut<'m> {
    /// What is told where nothing is said, or nobody speaks.
    nothing: Heard,
    /// `None`: nobody speaks.
    speech: Option<Sounds<'m>>,
}

/// What is decoded of a window: from the first word to the last.
struct Sounds<'m> {
    encoded: Encoded<'m>,
    /// Where it begins, in samples of the audio.
    begin: usize,
    /// Its samples.
    length: usize,
    /// Where the speech before it ended, in seconds.
    last_speech: f64,
}

impl<'m> Chunked<'m> {
    /// Checks the options against the model; up to `abreast` windows are decoded together.
    pub(super) fn new(model: &'m Model, options: &Options, abreast: usize) -> Result<Self, PipelineError> {
        let listener = Listener::new(model, options)?;
        let speech = options
            .vad
            .as_ref()
            .map(|settings| Speech::new(&model.detector, settings));
        let samples = |duration: Duration| (duration.as_secs_f64() * f64::from(SAMPLE_RATE)).round() as usize;
        // A pad at the end of the speech is a part of the silence after it.
        let silence = options.chunk_silence.zip(options.vad.as_ref());
        Ok(Chunked {
            clips: Ahead::new(&options.clips, SAMPLE_RATE),
            silence: silence.map(|(silence, vad)| samples(silence.saturating_sub(vad.speech_pad)).max(1)),
            prompt: listener.initial_prompt(),
            listener,
            thresholds: Thresholds::default(),
            speech: speech.transpose()?,
            window: samples(options.chunk_duration),
            overlap: samples(options.chunk_overlap),
            buffer: Vec::new(),
            begin: 0,
            abreast: abreast.max(1),
            cut: Vec::new(),
            held: None,
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
        let mut left = samples;
        while !left.is_empty() {
            let at = self.begin + self.buffer.len();
            let clip = self.clips.at(at).unwrap_or(usize::MAX..usize::MAX);
            let end = if at < clip.start { clip.start } else { clip.end };
            // Piece by piece, so that the buffer stays a window long and that nothing depends on how the audio is cut.
            let size = left.len().min(end - at).min(LOOK_EVERY - at % LOOK_EVERY);
            let (piece, rest) = left.split_at(size);
            left = rest;
            if let Some(speech) = &mut self.speech {
                speech.push(piece)?;
            }
            if at < clip.start {
                self.go_on_to(at + size);
                continue;
            }
            self.buffer.extend_from_slice(piece);
            // A window is only cut when more follows it.
            while self.buffer.len() > self.window {
                match self.pause() {
                    Some(end) => self.hear(end, end, &mut results, cancel)?,
                    None => self.hear(self.window, self.window - self.overlap, &mut results, cancel)?,
                }
            }
            if at + size == clip.end || self.long_silence() {
                let end = self.buffer.len();
                self.hear(end, end, &mut results, cancel)?;
            }
        }
        Ok(results)
    }

    /// Whether nobody has spoken for as long as ends a window, after somebody did.
    fn long_silence(&self) -> bool {
        let Some(silence) = self.silence.filter(|silence| self.buffer.len() > *silence) else {
            return false;
        };
        let now = self.buffer.len();
        let spans = self.speech_before(now);
        spans.last().is_some_and(|last| now - last.end >= silence)
    }

    /// No more audio: transcribes what is left.
    pub(super) fn finish(mut self, cancel: &Cancel) -> Result<Vec<WindowResult>, PipelineError> {
        let mut results = Vec::new();
        if let Some(speech) = &mut self.speech {
            speech.finish()?;
        }
        let left = self.buffer.len();
        if left > 0 {
            self.hear(left, left, &mut results, cancel)?;
        }
        self.decode(&mut results, cancel)?;
        Ok(results)
    }

    /// Where the full window may end without cutting a word.
    fn pause(&self) -> Option<usize> {
        let spans = self.speech_before(self.window);
        let silences = spans.windows(2).map(|pair| pair[0].end..pair[1].start);
        let mut late = silences.filter(|silence| silence.start >= self.window / 2 && !silence.is_empty());
        let middle = late.next_back().map(|silence| silence.start + silence.len() / 2);
        let search = self.window - self.overlap..self.window;
        middle.or_else(|| silence::pause(&self.buffer[..self.window], search))
    }

    /// The stretches of speech in the buffer up to `end`; none where that is not asked for.
    fn speech_before(&self, end: usize) -> Vec<Range<usize>> {
        let within = |speech: &Speech| speech.within(self.begin..self.begin + end);
        self.speech.as_ref().map(within).unwrap_or_default()
    }

    /// Ends the window at a sample of the audio where nobody speaks, and returns what has become final.
    pub(super) fn cut(&mut self, at: usize, cancel: &Cancel) -> Result<Vec<WindowResult>, PipelineError> {
        let mut results = Vec::new();
        let end = at.saturating_sub(self.begin).min(self.buffer.len());
        if end > 0 {
            self.hear(end, end, &mut results, cancel)?;
        }
        Ok(results)
    }

    /// Leaves out what comes before a sample of the audio, in which nobody spoke.
    pub(super) fn skip(&mut self, to: usize) {
        let samples = to.saturating_sub(self.begin).min(self.buffer.len());
        // What overlaps with the window before is heard again all the same; so is all where no detector is asked.
        if self.held.is_none() && self.speech.is_some() {
            self.go_on(samples);
        }
    }

    /// Forgets what is not final.
    pub(super) fn clear(&mut self) {
        self.cut.clear();
        self.held = None;
        self.go_on(self.buffer.len());
    }

    /// The words so far of what is not final; they are not remembered.
    pub(super) fn peek(&self, cancel: &Cancel) -> Result<WindowResult, PipelineError> {
        let window = self.cut_out(self.buffer.len(), cancel)?;
        let (mut heard, news) = self.ear().understand(window, cancel)?;
        let mut segments = Vec::new();
        if let Some(mut held) = self.held.clone() {
            held.join(&mut heard, self.listener.model);
            segments = held.segments(self.listener.model, self.latest);
        }
        let latest = segments.last().map_or(self.latest, |segment| segment.end);
        segments.extend(heard.segments(self.listener.model, latest));
        let language = news.unwrap_or_else(|| self.listener.language().to_owned());
        Ok(WindowResult {
            segments,
            language,
            end_offset: time(heard.end),
        })
    }

    /// Cuts the buffer at `end`, and decodes what is cut when it is enough; the next window begins at `next`, before it if they
    /// overlap.
    fn hear(
        &mut self,
        end: usize,
        next: usize,
        results: &mut Vec<WindowResult>,
        cancel: &Cancel,
    ) -> Result<(), PipelineError> {
        let cut = self.cut_out(end, cancel)?;
        if let Some(sounds) = &cut.speech {
            self.last_speech = (sounds.begin + sounds.length) as f64 / f64::from(SAMPLE_RATE);
        }
        let next_begins = self.begin + next;
        self.cut.push((cut, next_begins));
        self.go_on(next);
        // Until the language is known, each window waits for the one before.
        if self.cut.len() >= self.abreast || self.listener.language().is_empty() {
            self.decode(results, cancel)?;
        }
        Ok(())
    }

    /// Decodes all windows that are cut, together, and tells what has become final.
    fn decode(&mut self, results: &mut Vec<WindowResult>, cancel: &Cancel) -> Result<(), PipelineError> {
        let cut = std::mem::take(&mut self.cut);
        let (windows, begins): (Vec<Cut<'m>>, Vec<usize>) = cut.into_iter().unzip();
        let all = self.ear().all(windows, cancel)?;
        for ((mut heard, news), next) in all.into_iter().zip(begins) {
            if let Some(language) = news {
                self.listener.settle(&language);
            }
            if let Some(mut held) = self.held.take() {
                held.join(&mut heard, self.listener.model);
                results.push(self.result(&held));
            }
            if next < heard.end {
                self.held = Some(heard);
            } else {
                results.push(self.result(&heard));
            }
        }
        Ok(())
    }

    /// What makes words of windows.
    fn ear(&self) -> Ear<'_, 'm> {
        Ear {
            listener: &self.listener,
            thresholds: &self.thresholds,
            prompt: &self.prompt,
            vad: self.speech.is_some(),
        }
    }

    /// The next window begins so many samples later.
    fn go_on(&mut self, samples: usize) {
        self.buffer.drain(..samples);
        self.go_on_to(self.begin + samples);
    }

    /// The buffer begins at this sample.
    fn go_on_to(&mut self, begin: usize) {
        self.begin = begin;
        if let Some(speech) = &mut self.speech {
            speech.forget(self.begin);
        }
    }

    /// The buffer up to `end` as a window: encoded, if somebody speaks.
    fn cut_out(&self, end: usize, cancel: &Cancel) -> Result<Cut<'m>, PipelineError> {
        let nobody = Cut {
            nothing: Heard::nothing(self.begin, self.begin + end),
            speech: None,
        };
        cancel.check()?;
        let (model, vad) = (self.listener.model, self.speech.is_some());
        // From the first word to the last: silence before them makes a model say what it likes.
        let spans = self.speech_before(end);
        let (first, last) = match (spans.first(), spans.last()) {
            (Some(first), Some(last)) => (first.start, last.end),
            _ if vad => return Ok(nobody),
            _ => (0, end),
        };
        let samples = &self.buffer[first..last];
        if vad && self.thresholds.silent(samples) {
            return Ok(nobody);
        }
        let features = model.extractor.extract(samples);
        let frames = samples.len() / model.config.features.hop_length;
        if vad && self.thresholds.steady(&features, frames) {
            return Ok(nobody);
        }
        let sounds = Sounds {
            encoded: self.listener.encode(&features, frames, cancel)?,
            begin: self.begin + first,
            length: samples.len(),
            last_speech: self.last_speech,
        };
        Ok(Cut {
            speech: Some(sounds),
            ..nobody
        })
    }

    fn result(&mut self, heard: &Heard) -> WindowResult {
        let segments = heard.segments(self.listener.model, self.latest);
        self.latest = segments.last().map_or(self.latest, |segment| segment.end);
        WindowResult {
            segments,
            language: self.listener.language().to_owned(),
            end_offset: time(heard.end),
        }
    }
}

/// What windows are understood with: nothing that changes from one to the next, so that several can be at a time.
struct Ear<'a, 'm> {
    listener: &'a Listener<'m>,
    thresholds: &'a Thresholds,
    prompt: &'a [u32],
    vad: bool,
}

impl<'m> Ear<'_, 'm> {
    /// What is said in each of the windows: each on a thread of its own, so that their tokens go through the decoder together.
    fn all(
        &self,
        windows: Vec<Cut<'m>>,
        cancel: &Cancel,
    ) -> Result<Vec<(Heard, Option<String>)>, PipelineError> {
        let speaking = windows.iter().filter(|window| window.speech.is_some()).count();
        if speaking < 2 {
            return windows
                .into_iter()
                .map(|window| self.understand(window, cancel))
                .collect();
        }
        let _timed = stages::enter(Stage::Decoder);
        std::thread::scope(|scope| {
            let understand = |window| move || self.understand(window, cancel);
            let threads: Vec<_> = windows
                .into_iter()
                .map(|window| scope.spawn(understand(window)))
                .collect();
            let broke = |_| PipelineError::Engine("a window's thread panicked".to_owned());
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(broke)?)
                .collect()
        })
    }

    /// What is said in a window, and in which language.
    fn understand(&self, window: Cut<'m>, cancel: &Cancel) -> Result<(Heard, Option<String>), PipelineError> {
        let Cut { nothing, speech } = window;
        let Some(sounds) = speech else {
            return Ok((nothing, None));
        };
        let (model, vad) = (self.listener.model, self.vad);
        let mut said = self.listener.hear(sounds.encoded, self.prompt, cancel)?;
        let certainly_none = vad && self.thresholds.certainly_none(&said.tokens);
        if certainly_none || self.listener.no_speech(&said.tokens) {
            return Ok((nothing, None));
        }
        let rate = f64::from(SAMPLE_RATE);
        let (offset, seconds) = (sounds.begin as f64 / rate, sounds.length as f64 / rate);
        let timestamps = model.config.tokens.timestamp_begin();
        let mut stretches = segments::split(&said.tokens.ids, timestamps, offset, seconds);
        stretches.retain(|stretch| !model.vocabulary.text(&stretch.tokens).trim().is_empty());
        let hop = model.config.features.hop_length;
        let place = (offset, sounds.length / hop);
        self.listener
            .time_words(&mut said, &mut stretches, place, sounds.last_speech, cancel)?;
        let language = (!stretches.is_empty()).then(|| said.language.clone());
        let heard = Heard {
            stretches,
            facts: said.facts(sounds.begin / hop),
            ..nothing
        };
        Ok((heard, language))
    }
}

fn time(samples: usize) -> Duration {
    Duration::from_secs_f64(samples as f64 / f64::from(SAMPLE_RATE))
}
