//! The samples of one window in; what was said in it out: features, encoder, language, decoder, segments, in this order.

use std::time::Duration;

use super::{Cancel, Language, PipelineError, Segment, Task, Thresholds, joint, segments};
use crate::{
    audio::SAMPLE_RATE,
    decoder::{Decoder, Prompt, Rules, Tokens},
    encoder,
    model::Model,
};

/// What every window of a request is transcribed with.
pub(super) struct Listener<'m> {
    pub(super) model: &'m Model,
    pub(super) language: Language,
    pub(super) task: Task,
    pub(super) thresholds: Thresholds,
    pub(super) rules: Rules,
    pub(super) timestamps: bool,
}

/// What was heard in one window.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// Where the window begins, in samples.
    pub(super) begin: usize,
    /// Where it ends, in samples.
    pub(super) end: usize,
    /// Empty when nothing was said.
    pub(super) stretches: Vec<segments::Stretch>,
    avg_logprob: f32,
    no_speech_prob: f32,
}

impl Listener<'_> {
    /// Transcribes one window, which begins at sample `begin` of the audio. Settles the language if it was open.
    pub(super) fn hear(
        &mut self,
        samples: &[f32],
        begin: usize,
        cancel: &Cancel,
    ) -> Result<Heard, PipelineError> {
        let nothing = Heard {
            begin,
            end: begin + samples.len(),
            ..Heard::default()
        };
        cancel.check()?;
        if self.thresholds.silent(samples) {
            return Ok(nothing);
        }
        let features = self.model.extractor.extract(samples);
        let sounding = samples.len() / self.model.config.features.hop_length;
        if self.thresholds.steady(&features, sounding) {
            return Ok(nothing);
        }
        let encoded = encoder::encode(self.model, &features)?;
        let decoder = Decoder::start(self.model, &encoded)?;
        let language = match &self.language {
            Language::Code(code) => Some(code.as_str()),
            Language::Auto => decoder.language().map(|(code, _)| code),
        };
        let prompt = Prompt::new(&self.model.config.tokens, language, self.task, self.timestamps);
        let prompt = prompt.ok_or(PipelineError::UnsupportedTask { task: self.task })?;
        let language = language.map(str::to_owned);
        let tokens = decoder.decode(&prompt, &self.rules, cancel)?;
        if self.thresholds.invented(&tokens) {
            return Ok(nothing);
        }
        let heard = Heard::of(self.model, tokens, nothing);
        if let (Some(code), false) = (language, heard.stretches.is_empty()) {
            self.language = Language::Code(code);
        }
        Ok(heard)
    }

    /// The code given or detected; empty while it is open.
    pub(super) fn language(&self) -> String {
        match &self.language {
            Language::Code(code) => code.clone(),
            Language::Auto => String::new(),
        }
    }
}

impl Heard {
    fn of(model: &Model, tokens: Tokens, window: Heard) -> Heard {
        let seconds = (window.end - window.begin) as f64 / f64::from(SAMPLE_RATE);
        let mut stretches = segments::split(&tokens.ids, model.config.tokens.timestamp_begin(), seconds);
        stretches.retain(|stretch| !model.vocabulary.text(&stretch.tokens).trim().is_empty());
        Heard {
            stretches,
            avg_logprob: tokens.avg_logprob,
            no_speech_prob: tokens.no_speech_prob,
            ..window
        }
    }

    /// Writes once what this window and the next, which begins before this one ends, have both heard.
    pub(super) fn join(&mut self, next: &mut Heard, model: &Model) {
        let shared = self.end.saturating_sub(next.begin) as f64 / f64::from(SAMPLE_RATE);
        let (mine, theirs) = (self.words(model), next.words(model));
        let spoken = |words: &[Vec<u32>]| -> Vec<Option<String>> {
            words
                .iter()
                .map(|tokens| model.vocabulary.spoken(tokens))
                .collect()
        };
        let tokens = |words: &[Vec<u32>]| words.iter().map(Vec::len).sum();
        if let Some(cut) = joint::cut(&spoken(&mine), &spoken(&theirs), shared) {
            self.keep(0..tokens(&mine[..cut.left]));
            next.keep(tokens(&theirs[..cut.right])..usize::MAX);
        }
    }

    /// The tokens of each word, over all stretches.
    fn words(&self, model: &Model) -> Vec<Vec<u32>> {
        let mut words: Vec<Vec<u32>> = Vec::new();
        for stretch in &self.stretches {
            for (i, &token) in stretch.tokens.iter().enumerate() {
                match words.last_mut() {
                    Some(word) if i > 0 && !model.vocabulary.begins_word(token) => word.push(token),
                    _ => words.push(vec![token]),
                }
            }
        }
        words
    }

    /// Keeps the tokens of a range, counted over all stretches.
    fn keep(&mut self, range: std::ops::Range<usize>) {
        let mut index = 0;
        for stretch in &mut self.stretches {
            stretch.tokens.retain(|_| {
                index += 1;
                range.contains(&(index - 1))
            });
        }
        self.stretches.retain(|stretch| !stretch.tokens.is_empty());
    }

    /// The segments, with times from the start of the audio; none begins before `earliest`.
    pub(super) fn segments(&self, model: &Model, mut earliest: Duration) -> Vec<Segment> {
        let offset = self.begin as f64 / f64::from(SAMPLE_RATE);
        let mut segments = Vec::new();
        for stretch in &self.stretches {
            let text = model.vocabulary.text(&stretch.tokens).trim().to_owned();
            if text.is_empty() {
                continue;
            }
            let start = Duration::from_secs_f64(offset + stretch.start).max(earliest);
            let end = Duration::from_secs_f64(offset + stretch.end).max(start);
            earliest = end;
            let (avg_logprob, no_speech_prob) = (self.avg_logprob, self.no_speech_prob);
            segments.push(Segment {
                start,
                end,
                text,
                avg_logprob,
                no_speech_prob,
            });
        }
        segments
    }
}
