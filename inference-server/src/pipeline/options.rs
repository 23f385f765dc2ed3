//! What a caller wants of a transcription in; the same, checked against the model, out. Pure; the same for every window.

use std::time::Duration;

use super::PipelineError;
use crate::{model::Model, vad};

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

/// How the tokens of a window are searched for, and when the result is not good enough.
///
/// Names and defaults are those of `transcribe` in `openai/whisper`.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// Tried one after another until the result is good enough. At 0 the likeliest tokens are taken; above, tokens are
    /// drawn by their probability.
    pub temperatures: Vec<f32>,
    /// Beams at temperature 0; 1 is greedy decoding.
    pub beam_size: usize,
    /// A beam search goes on until `beam_size * patience` sequences have ended.
    pub patience: f32,
    /// Sequences that are drawn at a temperature above 0; the likeliest is taken.
    pub best_of: usize,
    /// Exponent of the length by which sequences of different lengths are compared (Google NMT); `None`: their mean.
    pub length_penalty: Option<f32>,
    /// Above this ratio of the text's bytes to its zlib-compressed bytes it repeats itself.
    pub compression_ratio_threshold: Option<f32>,
    /// Below this mean log-probability the tokens are not to be trusted.
    pub logprob_threshold: Option<f32>,
    /// Above this no-speech probability, and below `logprob_threshold`, a window holds no speech.
    pub no_speech_threshold: Option<f32>,
    /// Where the drawing at temperatures above 0 begins: the same request gives the same answer.
    pub seed: u64,
}

impl Default for Decoding {
    fn default() -> Self {
        Decoding {
            temperatures: vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
            beam_size: 1,
            patience: 1.0,
            best_of: 1,
            length_penalty: None,
            compression_ratio_threshold: Some(2.4),
            logprob_threshold: Some(-1.0),
            no_speech_threshold: Some(0.6),
            seed: 0,
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
    /// What counts as speech: stretches without any are not heard by the model. `None`: it hears everything.
    pub vad: Option<vad::Settings>,
    /// Whether each word gets its times.
    pub word_timestamps: bool,
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
            vad: Some(speech()),
            word_timestamps: false,
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
/// More beams, or sequences drawn, than this only cost time.
const MOST_CANDIDATES: usize = 32;
/// More text than the decoder can hold is a mistake; a token is at least a byte.
const LONGEST_PROMPT: usize = 64 * 1024;

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
        self.decoding.check()?;
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
        Ok(())
    }
}

impl Decoding {
    fn check(&self) -> Result<(), PipelineError> {
        let invalid = |problem: String| Err(PipelineError::InvalidOptions(problem));
        if self.temperatures.is_empty() {
            return invalid("no temperature: give at least one, 0 for the likeliest tokens".to_owned());
        }
        if let Some(t) = self.temperatures.iter().find(|t| !(0.0..=1.0).contains(*t)) {
            return invalid(format!("a temperature of {t}: it goes from 0 to 1"));
        }
        for (name, n) in [("beam size", self.beam_size), ("best-of", self.best_of)] {
            if !(1..=MOST_CANDIDATES).contains(&n) {
                return invalid(format!("a {name} of {n}: it goes from 1 to {MOST_CANDIDATES}"));
            }
        }
        if !(self.patience > 0.0 && self.patience <= 10.0) {
            return invalid(format!(
                "a patience of {}: it goes from above 0 to 10",
                self.patience
            ));
        }
        if let Some(penalty) = self.length_penalty.filter(|p| !(0.0..=1.0).contains(p)) {
            return invalid(format!("a length penalty of {penalty}: it goes from 0 to 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Decoding)) -> String {
        let mut decoding = Decoding::default();
        change(&mut decoding);
        decoding.check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid_and_what_cannot_be_followed_is_named() {
        assert!(Decoding::default().check().is_ok());
        assert!(Options::default().check_chunks(Duration::from_secs(30)).is_ok());
        assert!(refused(|d| d.temperatures.clear()).starts_with("no temperature"));
        assert!(refused(|d| d.temperatures.push(1.5)).starts_with("a temperature of 1.5"));
        assert!(refused(|d| d.temperatures = vec![f32::NAN]).starts_with("a temperature of NaN"));
        assert!(refused(|d| d.beam_size = 0).starts_with("a beam size of 0"));
        assert!(refused(|d| d.best_of = 99).starts_with("a best-of of 99"));
        assert!(refused(|d| d.patience = 0.0).starts_with("a patience of 0"));
        assert!(refused(|d| d.length_penalty = Some(-1.0)).starts_with("a length penalty of -1"));
    }

    #[test]
    fn languages_and_long_forms_are_read_as_people_write_them() {
        assert_eq!("EN ".parse(), Ok(Language::Code("en".to_owned())));
        assert_eq!("Auto".parse(), Ok(Language::Auto));
        assert_eq!("sequential".parse(), Ok(LongForm::Sequential));
        assert!("both".parse::<LongForm>().is_err());
    }
}
