//! The probabilities of a whole recording in; where somebody speaks out. Pure.
//!
//! Source: `get_speech_timestamps_from_probs` of Silero VAD 6.2.3 (`silero_vad/utils_vad.py`) with
//! `use_max_poss_sil_at_max_speech`, its default; given the same probabilities, the result is the same.

use std::ops::Range;

use super::{FRAME, Limits};

/// Speech that gets too long is split at a pause if it has one longer than this, in samples: 98 ms.
const SPLIT: usize = 98 * 16;

/// The stretches of speech, in samples from the start: in order, not empty, not overlapping.
///
/// `probabilities` is what [`super::Activity`] made of all `samples` samples, the last frame included.
///
/// As in the original, a stretch that `max_speech` ends without a pause leaves out the frame in which that happens: the
/// pads (30 ms at either end, if they are the default ones) bring it back.
pub fn spans(probabilities: &[f32], limits: &Limits, samples: usize) -> Vec<Range<usize>> {
    padded(unpadded(probabilities, limits, samples), limits, samples)
}

fn unpadded(probabilities: &[f32], limits: &Limits, samples: usize) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut talk: Option<Talk> = None;
    for (frame, &probability) in probabilities.iter().enumerate() {
        let (at, probability) = (frame * FRAME, f64::from(probability));
        let Some(mut current) = talk.take() else {
            talk = (probability >= limits.threshold).then(|| Talk::new(at));
            continue;
        };
        if probability >= limits.threshold {
            current.resume(at);
        }
        if at - current.start > limits.max_speech {
            let Some(pause) = current.pause else {
                spans.push(current.start..at);
                continue;
            };
            spans.push(current.start..pause.start);
            current = Talk::new(pause.end);
        }
        if probability < limits.neg_threshold {
            let since = *current.quiet.get_or_insert(at);
            if at - since >= limits.min_silence {
                if since - current.start > limits.min_speech {
                    spans.push(current.start..since);
                }
                continue;
            }
        }
        talk = Some(current);
    }
    spans.extend(
        talk.map(|talk| talk.start..samples)
            .filter(|span| span.len() > limits.min_speech),
    );
    spans
}

/// Speech that goes on.
struct Talk {
    start: usize,
    /// Since when it has been below the negative threshold.
    quiet: Option<usize>,
    /// The longest pause so far that is long enough to split at, the first of equals.
    pause: Option<Range<usize>>,
}

impl Talk {
    fn new(start: usize) -> Self {
        Talk {
            start,
            quiet: None,
            pause: None,
        }
    }

    /// Speech again, after a silence that was too short to end it.
    fn resume(&mut self, at: usize) {
        let Some(since) = self.quiet.take() else {
            return;
        };
        let longest = self.pause.as_ref().map_or(SPLIT, Range::len);
        if at - since > longest {
            self.pause = Some(since..at);
        }
    }
}

/// Adds the pads; where there is no room for two, either side gets half of what there is.
fn padded(mut spans: Vec<Range<usize>>, limits: &Limits, samples: usize) -> Vec<Range<usize>> {
    let pad = limits.speech_pad;
    if let Some(first) = spans.first_mut() {
        first.start = first.start.saturating_sub(pad);
    }
    for next in 1..spans.len() {
        let silence = spans[next].start - spans[next - 1].end;
        let pad = if silence < 2 * pad { silence / 2 } else { pad };
        spans[next - 1].end = samples.min(spans[next - 1].end + pad);
        spans[next].start -= pad;
    }
    if let Some(last) = spans.last_mut() {
        last.end = samples.min(last.end + pad);
    }
    spans
}
