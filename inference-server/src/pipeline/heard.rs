//! What was heard in one window of the chunked long form in; the same without what the next window heard too, and its
//! segments, out. Pure.

use std::time::Duration;

use super::{Segment, joint, listener::Facts, segments::Stretch};
use crate::{audio::SAMPLE_RATE, model::Model};

/// What was heard in one window.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// Where the window begins, in samples.
    pub(super) begin: usize,
    /// Where it ends, in samples.
    pub(super) end: usize,
    /// Empty when nothing was said. Their tokens are text alone.
    pub(super) stretches: Vec<Stretch>,
    pub(super) facts: Facts,
}

impl Heard {
    /// A window in which nothing was said.
    pub(super) fn nothing(begin: usize, end: usize) -> Heard {
        Heard {
            begin,
            end,
            ..Heard::default()
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
            let mut first = index;
            stretch.words.retain(|word| {
                first += word.tokens.len();
                range.contains(&(first - word.tokens.len()))
            });
            stretch.tokens.retain(|_| {
                index += 1;
                range.contains(&(index - 1))
            });
        }
        self.stretches.retain(|stretch| !stretch.tokens.is_empty());
    }

    /// The segments; none begins before `earliest` or ends after the window.
    pub(super) fn segments(&self, model: &Model, mut earliest: Duration) -> Vec<Segment> {
        let end = Duration::from_secs_f64(self.end as f64 / f64::from(SAMPLE_RATE));
        let mut segments = Vec::new();
        for stretch in &self.stretches {
            if let Some(segment) = self.facts.segment(model, stretch, earliest, end) {
                earliest = segment.end;
                segments.push(segment);
            }
        }
        segments
    }
}
