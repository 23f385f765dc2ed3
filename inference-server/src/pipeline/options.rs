//! What a caller wants of a transcription in; the same, checked against the model, out. Pure; the same for every window.

use std::{ops::RangeInclusive, time::Duration};

use super::{Clip, PipelineError, clips, words};
use crate::{audio::Channels, model::Model, vad};

mod decoding;

pub use decoding::Decoding;

/// What the speakers speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// The model decides, from the first window that has speech.
    #[default]
    Auto,
    /// A code such as `en`.
    Code(String),
}

/// `auto`, or a language code in any case.
impl std::str::FromStr for Language {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = text.trim().to_lowercase();
        Ok(if code.is_empty() || code == "auto" {
            Language::Auto
        } else {
            Language::Code(code)
        })
    }
}

/// What is to be written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Task {
    /// What is said, in its own language.
    #[default]
    Transcribe,
    /// What is said, in English.
    Translate,
}

impl Task {
    /// The name in `generation_config.json` and in APIs.
    pub fn name(self) -> &'static str {
        match self {
            Task::Transcribe => "transcribe",
            Task::Translate => "translate",
        }
    }
}

/// `transcribe` or `translate`.
impl std::str::FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "transcribe" => Ok(Task::Transcribe),
            "translate" => Ok(Task::Translate),
            other => Err(format!("unknown task \"{other}\": transcribe or translate")),
        }
    }
}

/// How audio longer than one window is gone through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LongForm {
    /// In chunks that end in pauses, each on its own; where there is no pause they overlap, and are merged by their words.
    #[default]
    Chunked,
    /// As `openai/whisper` does it: each window begins at the last timestamp of the one before, and is told its text.
    Sequential,
}

/// `chunked` or `sequential`.
impl std::str::FromStr for LongForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "chunked" => Ok(LongForm::Chunked),
            "sequential" => Ok(LongForm::Sequential),
            other => Err(format!("unknown long form \"{other}\": chunked or sequential")),
        }
    }
}

/// What a window is told before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Text that comes before the first window, to set names and style.
    pub initial_prompt: Option<String>,
    /// Whether every window gets the initial prompt, and not only the first.
    pub carry_initial_prompt: bool,
    /// Words that every window is to expect.
    pub hotwords: Option<String>,
    /// Whether a window is told the text before it (sequential long form only).
    pub condition_on_previous_text: bool,
}

/// Which marks belong to the word after them, and which to the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Punctuation {
    /// To the word after them.
    pub prepended: String,
    /// To the word before them.
    pub appended: String,
}

impl Default for Punctuation {
    fn default() -> Self {
        Punctuation {
            prepended: "\"'“¿([{-".to_owned(),
            appended: "\"'.。,，!！?？:：”)]}、".to_owned(),
        }
    }
}

/// How to transcribe; the same for every window of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The language, or `Auto`.
    pub language: Language,
    /// The task.
    pub task: Task,
    /// How long audio is gone through.
    pub long_form: LongForm,
    /// Length of a chunk, at most the model's window (30 s). The sequential long form always takes whole windows.
    pub chunk_duration: Duration,
    /// How far the next chunk may reach back into this one; at most half of `chunk_duration`.
    pub chunk_overlap: Duration,
    /// A silence of so long ends a chunk; `None`: only a full chunk ends. Chunked long form, with `vad`, which finds it.
    pub chunk_silence: Option<Duration>,
    /// So much silence after its audio is a part of a window that is not full; `None`: as much as there is room for, as the models were
    /// trained. The encoder's time is that of what it hears.
    pub encoder_tail: Option<Duration>,
    /// What counts as speech: stretches without any are not heard by the model. `None`: it hears everything.
    pub vad: Option<vad::Settings>,
    /// The parts of the audio that are transcribed, in order; empty: all of it.
    pub clips: Vec<Clip>,
    /// Whether the channels are mixed, or each is transcribed by itself.
    pub channels: Channels,
    /// Whether each word gets its times.
    pub word_timestamps: bool,
    /// The punctuation that belongs to a word.
    pub punctuation: Punctuation,
    /// A silence longer than this before or around words that are probably invented is passed over together with them.
    /// Sequential long form only, as in `openai/whisper`; there it needs `word_timestamps` too.
    pub hallucination_silence_threshold: Option<Duration>,
    /// How tokens are searched for.
    pub decoding: Decoding,
    /// What windows are told.
    pub context: Context,
}

/// Where nobody speaks for certain is what is to be left out, so speech is found sooner and in shorter stretches than by the
/// detector's own defaults, and is given more room.
pub(crate) fn speech() -> vad::Settings {
    vad::Settings {
        threshold: 0.35,
        min_speech: Duration::from_millis(100),
        min_silence: Duration::from_millis(160),
        speech_pad: Duration::from_millis(200),
        ..vad::Settings::default()
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            language: Language::Auto,
            task: Task::Transcribe,
            long_form: LongForm::Chunked,
            chunk_duration: Duration::from_secs(30),
            chunk_overlap: Duration::from_secs(1),
            chunk_silence: None,
            encoder_tail: None,
            vad: Some(speech()),
            clips: Vec::new(),
            channels: Channels::Mix,
            word_timestamps: false,
            punctuation: Punctuation::default(),
            hallucination_silence_threshold: None,
            decoding: Decoding::default(),
            context: Context {
                condition_on_previous_text: true,
                ..Context::default()
            },
        }
    }
}

/// The shortest chunk that makes sense.
const SHORTEST: Duration = Duration::from_secs(1);
/// More text than the decoder can hold is a mistake; a token is at least a byte.
const LONGEST_PROMPT: usize = 64 * 1024;
/// Silences between two words are shorter than this, those that a chunk may hold are not longer than it.
const CHUNK_SILENCE: RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(30);
/// More punctuation than any language has.
const MOST_PUNCTUATION: usize = 1024;

impl Options {
    /// Refuses what the model cannot follow or what contradicts itself.
    pub fn check(&self, model: &Model) -> Result<(), PipelineError> {
        let tokens = &model.config().tokens;
        if let Language::Code(language) = &self.language
            && !tokens.codes().contains(language)
        {
            return Err(PipelineError::UnsupportedLanguage {
                language: language.clone(),
                known: tokens.codes(),
            });
        }
        if !tokens.can(self.task) {
            return Err(PipelineError::UnsupportedTask { task: self.task });
        }
        let features = &model.config().features;
        let longest = Duration::from_secs_f64(features.n_samples as f64 / features.sampling_rate as f64);
        self.check_chunks(longest)?;
        clips::check(&self.clips)?;
        self.decoding.check(longest)?;
        self.decoding.check_tokens(model.config().sizes.vocabulary)?;
        if self.hallucination_silence_threshold.is_some()
            && self.long_form == LongForm::Sequential
            && !words::seen(model)
        {
            return Err(PipelineError::InvalidOptions(
                "a hallucination silence threshold needs the times of words, and this export of the model does not show \
                 where its decoder looks; export it with attentions, or leave the threshold out"
                    .to_owned(),
            ));
        }
        for marks in [&self.punctuation.prepended, &self.punctuation.appended] {
            if marks.len() > MOST_PUNCTUATION {
                return Err(PipelineError::InvalidOptions(format!(
                    "punctuation of more than {MOST_PUNCTUATION} bytes"
                )));
            }
        }
        for text in [&self.context.initial_prompt, &self.context.hotwords] {
            if text.as_ref().is_some_and(|text| text.len() > LONGEST_PROMPT) {
                return Err(PipelineError::InvalidOptions(format!(
                    "a prompt of more than {LONGEST_PROMPT} bytes"
                )));
            }
        }
        Ok(())
    }

    fn check_chunks(&self, longest: Duration) -> Result<(), PipelineError> {
        let (window, overlap) = (self.chunk_duration, self.chunk_overlap);
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
        if let Some(silence) = self.chunk_silence.filter(|s| !CHUNK_SILENCE.contains(s)) {
            let (least, most) = (CHUNK_SILENCE.start(), CHUNK_SILENCE.end());
            return Err(PipelineError::InvalidOptions(format!(
                "a chunk silence of {silence:?}: it goes from {least:?} to {most:?}"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_may_hold_silences_of_half_a_second_to_a_window() {
        let window = Duration::from_secs(30);
        assert!(Options::default().check_chunks(window).is_ok());
        for silence in [Duration::ZERO, Duration::from_secs(31)] {
            let options = Options {
                chunk_silence: Some(silence),
                ..Options::default()
            };
            let refused = options.check_chunks(window).unwrap_err().to_string();
            assert_eq!(
                refused,
                format!("a chunk silence of {silence:?}: it goes from 500ms to 30s")
            );
        }
    }

    #[test]
    fn languages_and_long_forms_are_read_as_people_write_them() {
        assert_eq!("EN ".parse(), Ok(Language::Code("en".to_owned())));
        assert_eq!("Auto".parse(), Ok(Language::Auto));
        assert_eq!("sequential".parse(), Ok(LongForm::Sequential));
        assert!("both".parse::<LongForm>().is_err());
    }
}
