//! Bytes of a file or a stream in; [`Pcm16k`] out: mono, 16 kHz, in [-1, 1].
//! Knows containers and sample rates; knows nothing of Whisper. Bad input is an [`AudioError`], never a panic.
//!
//! ```text
//! bytes --wav | flac | linear16--> mono at its own rate --resample--> mono at 16 kHz
//! ```
//!
//! A file that is here in whole and one that arrives in pieces take the same way, so both give the same samples.

use std::time::Duration;

mod error;
mod flac;
mod linear16;
mod mix;
mod resample;
mod stream;
mod wav;

#[cfg(test)]
mod tests;

pub use error::AudioError;
pub use stream::{AudioStream, StreamEncoding};

/// The rate at which every later stage works, in Hz.
pub const SAMPLE_RATE: u32 = 16_000;

/// Mono samples at 16 kHz, in [-1, 1], all finite.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pcm16k(Vec<f32>);

impl Pcm16k {
    /// The samples.
    pub fn samples(&self) -> &[f32] {
        &self.0
    }

    /// How long the audio lasts.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.0.len() as f64 / f64::from(SAMPLE_RATE))
    }
}

/// Samples that are 16 kHz mono already; what is not a number becomes silence, what is louder than full scale is cut off.
impl From<Vec<f32>> for Pcm16k {
    fn from(mut samples: Vec<f32>) -> Self {
        for sample in &mut samples {
            *sample = mix::sane(*sample);
        }
        Pcm16k(samples)
    }
}

/// Decodes a whole WAV or FLAC file (told by content), mixes it to mono and resamples it to 16 kHz.
///
/// Memory is bounded by `max` and by the bytes given, never by what a header claims. A file without a single sample is
/// valid and gives no samples; no bytes at all is [`AudioError::Empty`].
pub fn decode(bytes: &[u8], max: Duration) -> Result<Pcm16k, AudioError> {
    let mut stream = AudioStream::new(StreamEncoding::File, max)?;
    let mut samples = stream.push(bytes)?;
    samples.extend(stream.finish()?);
    Ok(Pcm16k(samples))
}
