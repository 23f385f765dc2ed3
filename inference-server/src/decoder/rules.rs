//! The scores of a step and the tokens so far in; the scores with what is not allowed at minus infinity out. Pure.
//!
//! Source: `openai/whisper`, `whisper/decoding.py`: `SuppressBlank`, `SuppressTokens`, `ApplyTimestampRules`, in this order.

use crate::{
    kernels::{functions, tile::Isa},
    model::TokenConfig,
    pipeline::{Decoding, SECONDS_PER_TIMESTAMP},
};

/// Which tokens a step may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    suppress: Vec<u32>,
    begin_suppress: Vec<u32>,
    timestamps: Option<TimestampRules>,
    /// Tokens before which the text does not end, and what ends it.
    least: (usize, u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct TimestampRules {
    /// Everything below is text.
    end: usize,
    no_timestamps: usize,
    /// The token of 0.00 s; all from here on are timestamps.
    begin: usize,
    max_initial: Option<usize>,
}

impl Rules {
    /// The rules of a model; with `timestamps`, also those that make the timestamps come in pairs and in order.
    pub fn new(config: &TokenConfig, timestamps: bool) -> Rules {
        let timestamps = config
            .no_timestamps
            .filter(|_| timestamps)
            .map(|token| TimestampRules {
                end: config.end as usize,
                no_timestamps: token as usize,
                begin: token as usize + 1,
                max_initial: config.max_initial_timestamp_index,
            });
        Rules {
            suppress: config.suppress.clone(),
            begin_suppress: config.begin_suppress.clone(),
            timestamps,
            least: (0, config.end),
        }
    }

    /// The same with what a request says of them: which tokens are suppressed, and when the first words begin at the latest.
    pub fn asked(mut self, config: &TokenConfig, how: &Decoding) -> Rules {
        self.suppress = how.suppressed(&config.suppress, config.end);
        self.least.0 = how.min_new_tokens;
        if !how.suppress_blank {
            self.begin_suppress.clear();
        }
        if let (Some(rules), Some(latest)) = (&mut self.timestamps, how.max_initial_timestamp) {
            rules.max_initial = Some((latest.as_secs_f64() / SECONDS_PER_TIMESTAMP).round() as usize);
        }
        self
    }

    /// Sets the scores of what may not follow `sampled` to minus infinity.
    pub fn apply(&self, scores: &mut [f32], sampled: &[u32]) {
        let first = if sampled.is_empty() {
            self.begin_suppress.as_slice()
        } else {
            &[]
        };
        for &token in first.iter().chain(&self.suppress) {
            if let Some(score) = scores.get_mut(token as usize) {
                *score = f32::NEG_INFINITY;
            }
        }
        if let Some(rules) = &self.timestamps
            && rules.begin < scores.len()
        {
            rules.apply(scores, sampled);
        }
        let (least, end) = self.least;
        if sampled.len() < least
            && let Some(score) = scores.get_mut(end as usize)
        {
            *score = f32::NEG_INFINITY;
        }
    }
}

impl TimestampRules {
    fn apply(&self, scores: &mut [f32], sampled: &[u32]) {
        let mask = |scores: &mut [f32]| scores.fill(f32::NEG_INFINITY);
        let is_timestamp = |token: &u32| *token as usize >= self.begin;
        mask(&mut scores[self.no_timestamps..self.begin]);

        let last = sampled.last().is_some_and(is_timestamp);
        let before_last = sampled.len() < 2 || is_timestamp(&sampled[sampled.len() - 2]);
        if last && before_last {
            mask(&mut scores[self.begin..]); // a pair is complete: text follows
        } else if last {
            mask(&mut scores[..self.end]); // an end: a start follows, or the end of text
        }
        if let Some(&latest) = sampled.iter().rev().find(|token| is_timestamp(token)) {
            // Time goes on; only the start of a segment may be the end of the one before it.
            let next = latest as usize + usize::from(!last || before_last);
            let next = next.min(scores.len());
            mask(&mut scores[self.begin..next]);
        }
        if sampled.is_empty() {
            mask(&mut scores[..self.begin]);
            if let Some(most) = self.max_initial
                && self.begin + most + 1 < scores.len()
            {
                mask(&mut scores[self.begin + most + 1..]);
            }
        }
        let timestamps = log_sum_exp(&scores[self.begin..]);
        let text = &scores[..self.begin];
        if timestamps > text[functions::greatest(Isa::best(), text)] {
            mask(&mut scores[..self.begin]);
        }
    }
}

/// `ln(sum(exp(scores)))`, minus infinity for none.
pub(super) fn log_sum_exp(scores: &[f32]) -> f32 {
    functions::log_sum_exp(Isa::best(), scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text is 0 to 4, the end 5, then start 6 and no-timestamps 7; 8 to 13 are 0.00 s to 0.10 s.
    fn config() -> TokenConfig {
        TokenConfig {
            start: 6,
            end: 5,
            no_timestamps: Some(7),
            languages: Default::default(),
            tasks: Default::default(),
            suppress: vec![6, 4],
            begin_suppress: vec![0, 5, 99],
            max_initial_timestamp_index: Some(2),
            max_length: 10,
            previous: None,
            alignment_heads: None,
        }
    }

    /// The tokens that may follow, when text is likelier than all timestamps together, or when it is not.
    fn allowed(timestamps: bool, sampled: &[u32], text_is_likelier: bool) -> Vec<usize> {
        allowed_by(&Rules::new(&config(), timestamps), sampled, text_is_likelier)
    }

    fn allowed_by(rules: &Rules, sampled: &[u32], text_is_likelier: bool) -> Vec<usize> {
        let mut scores = vec![if text_is_likelier { 5.0 } else { 0.0 }; 8];
        scores.extend([0.0; 6]);
        rules.apply(&mut scores, sampled);
        (0..scores.len())
            .filter(|&i| scores[i] > f32::NEG_INFINITY)
            .collect()
    }

    #[test]
    fn suppressed_tokens_are_never_chosen_and_some_not_at_the_beginning() {
        assert_eq!(allowed(false, &[], true), [1, 2, 3, 7, 8, 9, 10, 11, 12, 13]);
        assert_eq!(
            allowed(false, &[1], true),
            [0, 1, 2, 3, 5, 7, 8, 9, 10, 11, 12, 13]
        );
    }

    #[test]
    fn a_request_has_a_say_in_what_is_suppressed_and_how_late_words_begin() {
        let how = Decoding {
            suppress_tokens: vec![3],
            suppress_blank: false,
            max_initial_timestamp: Some(std::time::Duration::from_millis(20)),
            ..Decoding::default()
        };
        let rules = |timestamps| Rules::new(&config(), timestamps).asked(&config(), &how);
        assert_eq!(
            allowed_by(&rules(false), &[], true),
            [0, 1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13],
            "6 is a special token"
        );
        assert_eq!(allowed_by(&rules(true), &[], true), [8, 9]);
        let own = Rules::new(&config(), true);
        assert_eq!(own.clone().asked(&config(), &Decoding::default()), own);
    }

    #[test]
    fn a_window_begins_with_a_timestamp_that_is_not_late() {
        assert_eq!(allowed(true, &[], true), [8, 9, 10]);
    }

    #[test]
    fn text_follows_a_start_and_a_start_follows_an_end() {
        assert_eq!(
            allowed(true, &[9], true),
            [0, 1, 2, 3, 5],
            "after the first start"
        );
        assert_eq!(
            allowed(true, &[9, 1, 10], true),
            [5, 10, 11, 12, 13],
            "after an end: the same time or later"
        );
        assert_eq!(
            allowed(true, &[9, 1, 10, 10], true),
            [0, 1, 2, 3, 5],
            "after a start"
        );
    }

    #[test]
    fn within_text_time_goes_on_and_likely_timestamps_win() {
        assert_eq!(allowed(true, &[9, 1], true), [0, 1, 2, 3, 5, 10, 11, 12, 13]);
        assert_eq!(allowed(true, &[9, 1], false), [10, 11, 12, 13]);
    }

    #[test]
    fn the_logarithm_of_a_sum_does_not_overflow() {
        assert!((log_sum_exp(&[1000.0, 1000.0]) - (1000.0 + 2f32.ln())).abs() < 1e-4);
        assert_eq!(log_sum_exp(&[f32::NEG_INFINITY; 3]), f32::NEG_INFINITY);
        assert_eq!(log_sum_exp(&[]), f32::NEG_INFINITY);
    }
}
