//! Bytes of a file or a stream in; [`Pcm16k`] out: mono, 16 kHz, in [-1, 1].
//! Knows containers and sample rates; knows nothing of Whisper. Bad input is an [`AudioError`], never a panic.
//!
//! ```text
//!                        wav | raw
//! bytes --sniff-->          |           --> interleaved at their own rate --mix, resample--> 16 kHz
//!                  container --> demux
//! ```
//!
//! A file that is here in whole and one that arrives in pieces take the same way, so both give the same samples. Only an
//! MP4 file whose index is at its end can be decoded in whole alone.

use std::time::Duration;

mod container;
mod demux;
mod error;
mod matroska;
mod mix;
mod mp4;
mod ogg;
mod opus;
mod output;
mod pcm;
mod raw;
mod resample;
mod sniff;
mod source;
mod stream;
mod wav;

#[cfg(test)]
mod tests;

pub use error::AudioError;
pub use mix::Channels;
pub use source::{Enough, Source, SourceError};
pub use stream::{AudioStream, ChannelStream, StreamEncoding};

use output::Output;
use sniff::{Kind, Told};

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

/// Decodes a whole file of any kind that we read (told by content), mixes it to mono and resamples it to 16 kHz.
///
/// Memory is bounded by `max` and by the bytes given, never by what a header claims. A file without a single sample is
/// valid and gives no samples; no bytes at all is [`AudioError::Empty`].
pub fn decode(bytes: &[u8], max: Duration) -> Result<Pcm16k, AudioError> {
    let mut lanes = decode_channels(bytes, Channels::Mix, max)?;
    Ok(lanes.pop().unwrap_or_default())
}

/// As [`decode`], one element for each channel that comes out.
pub fn decode_channels(bytes: &[u8], channels: Channels, max: Duration) -> Result<Vec<Pcm16k>, AudioError> {
    let lanes = if let Ok(Told::Kind(kind @ Kind::Mp4)) = sniff::tell(bytes, false) {
        let mut output = Output::new(channels, max);
        container::whole(kind, bytes, &mut output)?;
        output.finish()?
    } else {
        let mut stream = ChannelStream::new(StreamEncoding::File, channels, max)?;
        let mut lanes = stream.push(bytes)?;
        let tail = stream.finish()?;
        lanes.resize(tail.len(), Vec::new());
        for (lane, tail) in lanes.iter_mut().zip(tail) {
            lane.extend(tail);
        }
        lanes
    };
    Ok(lanes.into_iter().map(Pcm16k).collect())
}
