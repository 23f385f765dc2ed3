//! The scores of a step and the tokens so far in; the scores with what is not allowed at minus infinity out. Pure.
//!
//! Source: `openai/whisper`, `whisper/decoding.py`: `SuppressBlank`, `SuppressTokens`, `ApplyTimestampRules`, in this order.

use crate::model::TokenConfig;

/// Which tokens a step may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    suppress: Vec<u32>,
    begin_suppress: Vec<u32>,
    timestamps: Option<TimestampRules>,
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
        }
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
        let text = scores[..self.begin]
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max);
        if timestamps > text {
            mask(&mut scores[..self.begin]);
        }
    }
}

/// `ln(sum(exp(scores)))`, minus infinity for none.
pub(super) fn log_sum_exp(scores: &[f32]) -> f32 {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if most == f32::NEG_INFINITY {
        return most;
    }
    most + scores.iter().map(|s| (s - most).exp()).sum::<f32>().ln()
}
