//! How a caller wants tokens to be searched for in; the same, checked, out. Pure.

use std::time::Duration;

use crate::pipeline::PipelineError;

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
    /// Tokens that are never said beside the special ones; -1 stands for those that the model names.
    pub suppress_tokens: Vec<i64>,
    /// Whether a window may not begin with a blank or be empty.
    pub suppress_blank: bool,
    /// The latest time at which a window's first words may begin; `None`: the model's own.
    pub max_initial_timestamp: Option<Duration>,
    /// Most tokens of a window, `sample_len` there; `None`: half of what the decoder can hold.
    pub max_new_tokens: Option<usize>,
    /// Least tokens of a window, before which it does not end (`min_new_tokens` in transformers); for benchmarks.
    pub min_new_tokens: usize,
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
            suppress_tokens: vec![-1],
            suppress_blank: true,
            max_initial_timestamp: None,
            max_new_tokens: None,
            min_new_tokens: 0,
        }
    }
}

/// More beams, or sequences drawn, than this only cost time.
const MOST_CANDIDATES: usize = 32;

impl Decoding {
    /// The tokens that are never said, where the model names `its_own`; those after `end` are special ones, and never text.
    ///
    /// Source: `whisper/decoding.py` (`_get_suppress_tokens`).
    pub fn suppressed(&self, its_own: &[u32], end: u32) -> Vec<u32> {
        let all = self.suppress_tokens.contains(&-1);
        let kept = its_own.iter().copied().filter(|token| all || *token > end);
        let named = self
            .suppress_tokens
            .iter()
            .filter_map(|&token| u32::try_from(token).ok());
        named.chain(kept).collect()
    }

    pub(super) fn check_tokens(&self, vocabulary: usize) -> Result<(), PipelineError> {
        if self.suppress_tokens.len() > vocabulary {
            return Err(PipelineError::InvalidOptions(format!(
                "{} tokens to suppress: the model has {vocabulary}",
                self.suppress_tokens.len()
            )));
        }
        let unknown =
            |token: &&i64| **token != -1 && usize::try_from(**token).map_or(true, |t| t >= vocabulary);
        match self.suppress_tokens.iter().find(unknown) {
            None => Ok(()),
            Some(token) => Err(PipelineError::InvalidOptions(format!(
                "the token {token} to suppress: the model has tokens 0 to {}, and -1 stands for those that it names itself",
                vocabulary.saturating_sub(1)
            ))),
        }
    }

    /// `longest` is the model's window.
    pub(super) fn check(&self, longest: Duration) -> Result<(), PipelineError> {
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
        if let Some(latest) = self.max_initial_timestamp.filter(|latest| *latest > longest) {
            return invalid(format!(
                "a latest first timestamp of {latest:?}: a window of this model lasts {longest:?}"
            ));
        }
        if self.max_new_tokens == Some(0) {
            return invalid("no token at most: let a window have one or more".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    fn refused(change: impl FnOnce(&mut Decoding)) -> String {
        let mut decoding = Decoding::default();
        change(&mut decoding);
        decoding.check(WINDOW).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid_and_what_cannot_be_followed_is_named() {
        assert!(Decoding::default().check(WINDOW).is_ok());
        assert!(refused(|d| d.temperatures.clear()).starts_with("no temperature"));
        assert!(refused(|d| d.temperatures.push(1.5)).starts_with("a temperature of 1.5"));
        assert!(refused(|d| d.temperatures = vec![f32::NAN]).starts_with("a temperature of NaN"));
        assert!(refused(|d| d.beam_size = 0).starts_with("a beam size of 0"));
        assert!(refused(|d| d.best_of = 99).starts_with("a best-of of 99"));
        assert!(refused(|d| d.patience = 0.0).starts_with("a patience of 0"));
        assert!(refused(|d| d.length_penalty = Some(-1.0)).starts_with("a length penalty of -1"));
        assert!(
            refused(|d| d.max_initial_timestamp = Some(WINDOW * 2))
                .starts_with("a latest first timestamp of 60s")
        );
        assert!(refused(|d| d.max_new_tokens = Some(0)).starts_with("no token at most"));
    }

    #[test]
    fn the_list_of_suppressed_tokens_replaces_the_models_unless_it_asks_for_it() {
        let with = |list: &[i64]| Decoding {
            suppress_tokens: list.to_vec(),
            ..Decoding::default()
        };
        assert_eq!(Decoding::default().suppressed(&[7, 9], 8), [7, 9]);
        assert_eq!(with(&[3, -1]).suppressed(&[7, 9], 8), [3, 7, 9]);
        assert_eq!(
            with(&[3]).suppressed(&[7, 9], 8),
            [3, 9],
            "special tokens are never text"
        );
        assert_eq!(with(&[]).suppressed(&[7, 9], 8), [9]);
        assert!(with(&[-1, 9]).check_tokens(10).is_ok());
        for wrong in [10, -2] {
            let refused = with(&[wrong]).check_tokens(10).unwrap_err().to_string();
            assert!(refused.starts_with(&format!(
                "the token {wrong} to suppress: the model has tokens 0 to 9"
            )));
        }
    }
}
