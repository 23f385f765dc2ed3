//! Raw samples without a header, cut anywhere, in; whole interleaved frames at full scale 1 out.

use super::{AudioError, mix::Shape, pcm::Sample};

/// Keeps the bytes of a frame that is not complete yet.
pub(super) struct Raw {
    sample: Sample,
    shape: Shape,
    rest: Vec<u8>,
}

impl Raw {
    pub(super) fn new(sample: Sample, sample_rate: u32, channels: u16) -> Result<Self, AudioError> {
        Ok(Raw {
            sample,
            shape: Shape::new(sample_rate, channels)?,
            rest: Vec::new(),
        })
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<f32> {
        self.rest.extend_from_slice(bytes);
        let frame = self.sample.width() * usize::from(self.shape.channels);
        let whole = self.rest.len() - self.rest.len() % frame;
        let samples = self.sample.read(&self.rest[..whole]);
        self.rest.drain(..whole);
        samples
    }
}
