//! Samples as they arrive, cut anywhere, in; the probability of speech of each 32 ms out. Keeps one frame of audio, no more.

use super::{
    Detector, FRAME, VadError,
    detector::{CONTEXT, STATE, WINDOW},
};
use crate::stages::{self, Stage};

/// What the detector has heard of one stream: 3.3 kB, however long the stream.
#[derive(Clone)]
pub struct Activity {
    detector: Detector,
    /// The end of the frame before (silence before the first), then the frame that is being filled.
    window: [f32; WINDOW],
    /// Samples of the frame that have arrived; less than a frame.
    filled: usize,
    /// The detector's memory.
    state: [f32; STATE],
}

impl Activity {
    /// Nothing heard yet.
    pub fn new(detector: &Detector) -> Self {
        Activity {
            detector: detector.clone(),
            window: [0.0; WINDOW],
            filled: 0,
            state: [0.0; STATE],
        }
    }

    /// Takes the next samples: 16 kHz, mono, in [-1, 1], finite, as [`crate::audio`] makes them.
    ///
    /// Returns a probability for each frame that is now complete: the `i`-th of a stream is about the samples
    /// `i * FRAME..(i + 1) * FRAME`. How the samples are cut makes no difference. After an error the stream is over.
    pub fn push(&mut self, mut samples: &[f32]) -> Result<Vec<f32>, VadError> {
        let _timed = stages::enter(Stage::Vad);
        let mut probabilities = Vec::with_capacity((self.filled + samples.len()) / FRAME);
        let mut running = self.detector.start()?;
        while !samples.is_empty() {
            let (taken, rest) = samples.split_at(samples.len().min(FRAME - self.filled));
            let begin = CONTEXT + self.filled;
            self.window[begin..begin + taken.len()].copy_from_slice(taken);
            self.filled += taken.len();
            samples = rest;
            if self.filled == FRAME {
                let probability = self.detector.run(&mut running, &self.window, &mut self.state)?;
                probabilities.push(probability);
                self.window.copy_within(FRAME.., 0);
                self.filled = 0;
            }
        }
        Ok(probabilities)
    }

    /// No more samples: the probability of the last frame, filled up with silence, if one had begun.
    pub fn finish(mut self) -> Result<Option<f32>, VadError> {
        if self.filled == 0 {
            return Ok(None);
        }
        let silence = [0.0; FRAME];
        Ok(self.push(&silence[self.filled..])?.pop())
    }
}
