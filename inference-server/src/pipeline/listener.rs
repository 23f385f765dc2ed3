//! The features of one window in; what the model says of it out: encoder, language, prompt, and the search at rising
//! temperatures until the result is good enough.

use std::time::Duration;

use miniz_oxide::deflate::core::{
    CompressionStrategy, CompressorOxide, TDEFLFlush, compress, create_comp_flags_from_zip_params,
};

use super::{
    Cancel, Language, LongForm, Options, PipelineError, Segment, Word,
    segments::Stretch,
    words::{self, Window},
};
use crate::{
    decoder::{Decoder, Prompt, Rules, Tokens},
    encoder,
    features::LogMel,
    model::Model,
    stages::{self, Stage},
};

/// Frames of features in a second of audio.
const FRAMES_PER_SECOND: f64 = 100.0;

/// Transcribes the windows of one request.
pub(super) struct Listener<'m> {
    pub(super) model: &'m Model,
    pub(super) options: Options,
    /// The language, once it is known.
    language: Language,
    rules: Rules,
    timestamps: bool,
    hotwords: Vec<u32>,
}

/// A window that the decoder has not said anything of yet.
pub(super) struct Encoded<'m>(Decoder<'m>);

/// What the model said of one window.
pub(super) struct Said<'m> {
    pub(super) tokens: Tokens,
    /// Of the text; 1 and less is text that does not repeat itself.
    pub(super) compression_ratio: f32,
    /// The language that it was decoded in; empty for a model of one.
    pub(super) language: String,
    decoder: Decoder<'m>,
}

/// What the segments of a window have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    seek: usize,
    temperature: f32,
    avg_logprob: f32,
    compression_ratio: f32,
    no_speech_prob: f32,
}

impl Said<'_> {
    /// For the window that begins at frame `seek`.
    pub(super) fn facts(&self, seek: usize) -> Facts {
        Facts {
            seek,
            temperature: self.tokens.temperature,
            avg_logprob: self.tokens.avg_logprob,
            compression_ratio: self.compression_ratio,
            no_speech_prob: self.tokens.no_speech_prob,
        }
    }
}

impl Facts {
    /// The segment of a stretch, its times within `earliest` and `end`, those of its words within its own. `None`: it has no
    /// text.
    pub(super) fn segment(
        &self,
        model: &Model,
        stretch: &Stretch,
        earliest: Duration,
        end: Duration,
    ) -> Option<Segment> {
        let text = model.vocabulary.text(&stretch.tokens).trim().to_owned();
        if text.is_empty() {
            return None;
        }
        let end = end.max(earliest);
        let within = |seconds: f64, from: Duration, to: Duration| {
            Duration::try_from_secs_f64(seconds)
                .unwrap_or_default()
                .clamp(from, to)
        };
        let start = within(stretch.start, earliest, end);
        let end = within(stretch.end, start, end);
        let mut latest = start;
        let words = stretch.words.iter().map(|word| {
            let start = within(word.start, latest, end);
            latest = within(word.end, start, end);
            Word {
                start,
                end: latest,
                text: word.text.clone(),
                probability: word.probability,
            }
        });
        Some(Segment {
            channel: None,
            words: words.collect(),
            start,
            end,
            seek: self.seek,
            text,
            tokens: stretch.tokens.clone(),
            temperature: self.temperature,
            avg_logprob: self.avg_logprob,
            compression_ratio: self.compression_ratio,
            no_speech_prob: self.no_speech_prob,
        })
    }
}

impl<'m> Listener<'m> {
    /// Checks the options against the model.
    pub(super) fn new(model: &'m Model, options: &Options) -> Result<Self, PipelineError> {
        options.check(model)?;
        let tokens = &model.config().tokens;
        let timestamps = tokens.no_timestamps.is_some();
        let language = match (tokens.multilingual(), tokens.codes().first()) {
            (false, Some(only)) => Language::Code(only.clone()),
            _ => options.language.clone(),
        };
        let hotwords = options
            .context
            .hotwords
            .as_deref()
            .map(|text| spoken(model, text));
        Ok(Listener {
            model,
            language,
            rules: Rules::new(tokens, timestamps).asked(tokens, &options.decoding),
            timestamps,
            hotwords: hotwords.unwrap_or_default(),
            options: options.clone(),
        })
    }

    /// The tokens of the initial prompt.
    pub(super) fn initial_prompt(&self) -> Vec<u32> {
        let text = self.options.context.initial_prompt.as_deref();
        text.map(|text| spoken(self.model, text)).unwrap_or_default()
    }

    /// The code given or settled; empty while it is open.
    pub(super) fn language(&self) -> &str {
        match &self.language {
            Language::Code(code) => code,
            Language::Auto => "",
        }
    }

    /// Settles the language for all later windows.
    pub(super) fn settle(&mut self, language: &str) {
        if !language.is_empty() {
            self.language = Language::Code(language.to_owned());
        }
    }

    /// The languages of a window by their probability, likeliest first; none for a model of one language.
    pub(super) fn languages(&self, features: &LogMel) -> Result<Vec<(&'m str, f32)>, PipelineError> {
        let encoded = encoder::encode(self.model, features)?;
        let _timed = stages::enter(Stage::Decoder);
        Ok(Decoder::new(self.model, &encoded)?.languages()?)
    }

    /// A window as the decoder listens to it; `frames` of its features are audio.
    pub(super) fn encode(
        &self,
        features: &LogMel,
        frames: usize,
        cancel: &Cancel,
    ) -> Result<Encoded<'m>, PipelineError> {
        cancel.check()?;
        let tail = self.options.encoder_tail.filter(|_| self.model.hears_parts());
        let tail = tail.map_or(features.frames, |tail| {
            (tail.as_secs_f64() * FRAMES_PER_SECOND) as usize
        });
        let encoded = encoder::encode(self.model, &features.first(frames.saturating_add(tail)))?;
        cancel.check()?;
        Ok(Encoded(Decoder::new(self.model, &encoded)?))
    }

    /// What is said in a window, after `previous`.
    pub(super) fn hear(
        &self,
        window: Encoded<'m>,
        previous: &[u32],
        cancel: &Cancel,
    ) -> Result<Said<'m>, PipelineError> {
        let _timed = stages::enter(Stage::Decoder);
        let mut decoder = window.0;
        let language = match &self.language {
            Language::Code(code) => code.clone(),
            Language::Auto => decoder
                .languages()?
                .first()
                .map_or_else(String::new, |(code, _)| (*code).to_owned()),
        };
        let config = self.model.config();
        let prompt = self.prompt(&language, self.timestamps)?.after(
            &config.tokens,
            config.sizes.decoder_positions,
            &self.hotwords,
            previous,
        );
        let ready = decoder.read(&prompt, cancel)?;
        let decoding = &self.options.decoding;
        let mut last = None;
        for &temperature in &decoding.temperatures {
            let tokens = decoder.decode(&ready, &self.rules, decoding, temperature, cancel)?;
            let ratio = compression_ratio(self.model.vocabulary.text(&tokens.ids).trim());
            let again = self.not_good_enough(&tokens, ratio);
            last = Some((tokens, ratio));
            if !again {
                break;
            }
        }
        let (tokens, compression_ratio) =
            last.ok_or_else(|| PipelineError::InvalidOptions("no temperature".to_owned()))?;
        Ok(Said {
            tokens,
            compression_ratio,
            language,
            decoder,
        })
    }

    /// Whether a window is to be decoded again at the next temperature.
    ///
    /// Source: `whisper/transcribe.py` (`decode_with_fallback`).
    fn not_good_enough(&self, tokens: &Tokens, compression_ratio: f32) -> bool {
        let how = &self.options.decoding;
        let repeats = how
            .compression_ratio_threshold
            .is_some_and(|most| compression_ratio > most);
        let unlikely = how
            .logprob_threshold
            .is_some_and(|least| tokens.avg_logprob < least);
        let silent = how
            .no_speech_threshold
            .is_some_and(|most| tokens.no_speech_prob > most);
        (repeats || unlikely) && !(silent && unlikely)
    }

    /// Whether a window holds no speech: the model says so, and is not sure of its words either.
    ///
    /// Source: `whisper/transcribe.py`, where it fast-forwards.
    pub(super) fn no_speech(&self, tokens: &Tokens) -> bool {
        let how = &self.options.decoding;
        let silent = how
            .no_speech_threshold
            .is_some_and(|most| tokens.no_speech_prob > most);
        silent
            && !how
                .logprob_threshold
                .is_some_and(|least| tokens.avg_logprob > least)
    }

    /// Whether words are looked at for having been invented.
    pub(super) fn doubts(&self) -> bool {
        let threshold = self.options.hallucination_silence_threshold;
        threshold.is_some() && self.options.long_form == LongForm::Sequential
    }

    /// Gives the stretches of a window their words, where they were asked for or are needed. The window begins at `offset` seconds and has
    /// `frames` frames; the speech before it ended at `last_speech` seconds.
    pub(super) fn time_words(
        &self,
        said: &mut Said<'m>,
        stretches: &mut [Stretch],
        (offset, frames): (f64, usize),
        last_speech: f64,
        cancel: &Cancel,
    ) -> Result<(), PipelineError> {
        if !self.options.word_timestamps && !self.doubts() {
            return Ok(());
        }
        let _timed = stages::enter(Stage::Decoder);
        let window = Window {
            model: self.model,
            punctuation: &self.options.punctuation,
            language: &said.language,
            prompt: &self.prompt(&said.language, false)?,
            frames,
            offset,
            last_speech,
        };
        words::add(&window, &mut said.decoder, stretches, cancel)
    }

    fn prompt(&self, language: &str, timestamps: bool) -> Result<Prompt, PipelineError> {
        let (config, task) = (&self.model.config().tokens, self.options.task);
        let language = Some(language).filter(|code| !code.is_empty());
        Prompt::new(config, language, task, timestamps).ok_or(PipelineError::UnsupportedTask { task })
    }
}

/// The tokens of a text as if it had been said: after a space.
fn spoken(model: &Model, text: &str) -> Vec<u32> {
    match text.trim() {
        "" => vec![],
        text => model.vocabulary.tokens(&format!(" {text}")),
    }
}

/// Bytes of a text to its zlib-compressed bytes (level 6).
///
/// Source: `whisper/utils.py` (`compression_ratio`). zlib takes a block's own codes or the fixed ones, whichever give fewer
/// bytes; the encoder here does not compare them, so it is asked for both.
fn compression_ratio(text: &str) -> f32 {
    let size = |strategy: CompressionStrategy| {
        let flags = create_comp_flags_from_zip_params(6, 15, strategy.into());
        // More than enough: what does not compress is stored.
        let mut out = vec![0; text.len() * 2 + 64];
        let mut compressor = CompressorOxide::new(flags);
        compress(&mut compressor, text.as_bytes(), &mut out, TDEFLFlush::Finish).2
    };
    let least = size(CompressionStrategy::Default).min(size(CompressionStrategy::Fixed));
    text.len() as f32 / least as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_itself_compresses_well() {
        // Python: len(t) / len(zlib.compress(t)) of these is 0.7647, 0.0 and 10.526.
        assert!((compression_ratio("Seven three, one. Nine two") - 0.7647).abs() < 0.02);
        assert_eq!(compression_ratio(""), 0.0);
        let repeated = compression_ratio(&"one two ".repeat(25));
        assert!((repeated - 10.526).abs() < 1.5, "{repeated}");
    }
}
