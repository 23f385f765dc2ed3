//! Raw signed 16-bit little-endian samples, cut anywhere, in; mono samples at their own rate out.

use super::{
    AudioError,
    mix::{self, Shape},
};

/// Keeps the bytes of a frame that is not complete yet.
pub(super) struct Linear16 {
    shape: Shape,
    rest: Vec<u8>,
}

impl Linear16 {
    pub(super) fn new(sample_rate: u32, channels: u16) -> Result<Self, AudioError> {
        Ok(Linear16 {
            shape: Shape::new(sample_rate, channels)?,
            rest: Vec::new(),
        })
    }

    pub(super) fn rate(&self) -> u32 {
        self.shape.rate
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<f32> {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() - self.rest.len() % (2 * usize::from(self.shape.channels));
        let samples: Vec<f32> = self.rest[..whole]
            .chunks_exact(2)
            .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0)
            .collect();
        self.rest.drain(..whole);
        mix::mono(&samples, self.shape.channels)
    }
}
