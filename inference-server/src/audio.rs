//! Bytes of a file or a stream in; [`Pcm16k`] out: mono, 16 kHz, in [-1, 1].
//! Knows containers and sample rates; knows nothing of Whisper. Bad input is an [`AudioError`], never a panic.

use std::time::Duration;

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

/// Samples that are 16 kHz mono already; what is not finite becomes silence, what is louder than full scale is cut off.
impl From<Vec<f32>> for Pcm16k {
    fn from(mut samples: Vec<f32>) -> Self {
        for s in &mut samples {
            *s = if s.is_finite() { s.clamp(-1.0, 1.0) } else { 0.0 };
        }
        Pcm16k(samples)
    }
}

/// What is wrong with the audio, in a sentence for the person who sent it.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum AudioError {
    /// No bytes at all.
    #[error("the audio is empty")]
    Empty,
    /// The bytes are no container that we read.
    #[error("not a WAV or FLAC file: {0}")]
    Unrecognised(String),
    /// The container is one of ours, its content is not usable.
    #[error("cannot decode the audio: {0}")]
    Malformed(String),
    /// Sample rate, channel count or sample format out of bounds.
    #[error("unsupported audio: {0}")]
    Unsupported(String),
    /// Longer than this server takes.
    #[error("the audio is longer than {}, the most that is accepted", humantime::format_duration(*max))]
    TooLong {
        /// The limit.
        max: Duration,
    },
}

/// Decodes a whole WAV or FLAC file (told by content), mixes it to mono and resamples it to 16 kHz.
pub fn decode(bytes: &[u8], max: Duration) -> Result<Pcm16k, AudioError> {
    let _ = (bytes, max);
    Err(AudioError::Empty)
}

/// How the bytes of an [`AudioStream`] are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEncoding {
    /// A WAV or FLAC file, told by its first bytes.
    File,
    /// Headerless signed 16-bit little-endian samples, channels interleaved.
    Linear16 {
        /// Samples a second and channel, in Hz.
        sample_rate: u32,
        /// Channels, interleaved.
        channels: u16,
    },
}

/// Bytes of WAV, FLAC or raw samples, cut anywhere, to 16 kHz mono samples as they become available.
pub struct AudioStream {}

impl AudioStream {
    /// A stream that refuses audio longer than `max`.
    pub fn new(encoding: StreamEncoding, max: Duration) -> Result<Self, AudioError> {
        let _ = (encoding, max);
        Ok(AudioStream {})
    }

    /// Takes the next bytes; returns the samples that are ready (possibly none yet).
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<f32>, AudioError> {
        let _ = bytes;
        Ok(Vec::new())
    }

    /// No more bytes: returns the samples still inside.
    pub fn finish(self) -> Result<Vec<f32>, AudioError> {
        Ok(Vec::new())
    }
}
