//! Samples as they are played in; the greatest log-power of the whole audio, by which the sequential long form scales each
//! window, and its length out. Holds about a second of audio.

use super::sequential::around;
use crate::{audio::SAMPLE_RATE, model::Model};

/// What is known of a whole recording before it is transcribed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Whole {
    /// The greatest log-power of a frame.
    pub(super) peak: f64,
    /// Frames of 10 ms.
    pub(super) frames: usize,
}

/// Listens to a whole recording once.
pub(super) struct Peak<'m> {
    model: &'m Model,
    /// Samples from `begin` on.
    buffer: Vec<f32>,
    begin: usize,
    /// The next frame to look at.
    next: usize,
    peak: f64,
}

impl<'m> Peak<'m> {
    pub(super) fn new(model: &'m Model) -> Self {
        Peak {
            model,
            buffer: Vec::new(),
            begin: 0,
            next: 0,
            peak: f64::MIN,
        }
    }

    pub(super) fn push(&mut self, samples: &[f32]) {
        self.buffer.extend_from_slice(samples);
        if self.buffer.len() < SAMPLE_RATE as usize {
            return;
        }
        let features = &self.model.config.features;
        // A frame needs half a window of samples after its middle.
        let complete = (self.begin + self.buffer.len()).saturating_sub(features.n_fft) / features.hop_length;
        self.look(complete);
        let keep = (self.next * features.hop_length).saturating_sub(features.n_fft);
        let drop = keep.saturating_sub(self.begin).min(self.buffer.len());
        self.buffer.drain(..drop);
        self.begin += drop;
    }

    pub(super) fn finish(mut self) -> Whole {
        let samples = self.begin + self.buffer.len();
        let frames = samples / self.model.config.features.hop_length;
        self.look(frames + 2);
        Whole {
            peak: self.peak,
            frames,
        }
    }

    /// Looks at the frames up to `end`.
    fn look(&mut self, end: usize) {
        let hop = self.model.config.features.hop_length;
        if end > self.next {
            let at = around(&self.buffer, self.begin, self.next * hop);
            let peak = self.model.extractor.peak(at, end - self.next);
            (self.peak, self.next) = (self.peak.max(peak), end);
        }
    }
}
