//! Bytes of a file or of raw samples, cut anywhere, in; 16 kHz samples out as they become available.
//! Holds no more than a header, a step of the resampler and what a decoder needs; never the audio.

use std::time::Duration;

use super::{
    AudioError, Channels,
    container::Container,
    output::{Lanes, Output},
    pcm::Sample,
    raw::Raw,
    sniff::{self, Kind, Told},
    wav::Wav,
};

/// Bytes handed on at once, so that one big push does not need its size again in every stage.
const PIECE: usize = 64 * 1024;

/// How the bytes of an [`AudioStream`] are encoded.
///
/// Raw encodings have no header: `sample_rate` is in samples a second and channel (Hz), `channels` are interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are the same in every variant, and said above"
)]
pub enum StreamEncoding {
    /// A file of any kind that we read, told by its first bytes.
    File,
    /// Raw signed 16-bit little-endian samples.
    Linear16 { sample_rate: u32, channels: u16 },
    /// Raw signed 24-bit little-endian samples, in three bytes each.
    Linear24 { sample_rate: u32, channels: u16 },
    /// Raw signed 32-bit little-endian samples.
    Linear32 { sample_rate: u32, channels: u16 },
    /// Raw 32-bit little-endian floats, 1 at full scale.
    Float32 { sample_rate: u32, channels: u16 },
    /// Raw unsigned 8-bit samples, 128 for silence.
    Unsigned8 { sample_rate: u32, channels: u16 },
    /// Raw G.711 mu-law, the telephone's code in North America and Japan.
    MuLaw { sample_rate: u32, channels: u16 },
    /// Raw G.711 A-law, the telephone's code elsewhere.
    ALaw { sample_rate: u32, channels: u16 },
}

/// Bytes of a file or of raw samples, cut anywhere, to 16 kHz mono samples as they become available.
///
/// After an error the stream is spent: drop it.
pub struct AudioStream(ChannelStream);

impl AudioStream {
    /// A stream that refuses audio longer than `max`.
    pub fn new(encoding: StreamEncoding, max: Duration) -> Result<Self, AudioError> {
        ChannelStream::new(encoding, Channels::Mix, max).map(AudioStream)
    }

    /// Takes the next bytes; returns the samples that are ready (possibly none yet).
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<f32>, AudioError> {
        self.0.push(bytes).map(only)
    }

    /// No more bytes: returns the samples still inside.
    ///
    /// Here a file turns out to be empty, no audio, or shorter than its header promises.
    pub fn finish(self) -> Result<Vec<f32>, AudioError> {
        self.0.finish().map(only)
    }
}

/// The samples of a mix.
fn only(mut lanes: Lanes) -> Vec<f32> {
    lanes.pop().unwrap_or_default()
}

/// As [`AudioStream`], with a say in which channels come out.
pub struct ChannelStream {
    source: Source,
    output: Output,
}

enum Source {
    Unknown {
        start: Vec<u8>,
        /// Bytes of a tag that are still to come.
        skip: u64,
        tagged: bool,
    },
    Wav {
        wav: Wav,
        begun: bool,
    },
    Container(Container),
    Raw(Raw),
}

impl ChannelStream {
    /// A stream that refuses audio longer than `max`.
    pub fn new(encoding: StreamEncoding, channels: Channels, max: Duration) -> Result<Self, AudioError> {
        let mut output = Output::new(channels, max);
        let source = match raw(encoding) {
            None => Source::Unknown {
                start: Vec::new(),
                skip: 0,
                tagged: false,
            },
            Some((sample, rate, channels)) => {
                let raw = Raw::new(sample, rate, channels)?;
                output.begin(raw.shape(), None)?;
                Source::Raw(raw)
            }
        };
        Ok(ChannelStream { source, output })
    }

    /// Takes the next bytes; returns the samples that are ready, one vector or one for each channel, all of one length.
    /// The channels of a file are known, and there are vectors for them, once its header has been read.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<f32>>, AudioError> {
        for piece in bytes.chunks(PIECE) {
            self.push_piece(piece)?;
        }
        Ok(self.output.ready())
    }

    /// No more bytes: returns the samples still inside, in vectors as [`ChannelStream::push`] does.
    ///
    /// Here a file turns out to be empty, no audio, or shorter than its header promises.
    pub fn finish(mut self) -> Result<Vec<Vec<f32>>, AudioError> {
        match &mut self.source {
            Source::Unknown { start, tagged, .. } => {
                return Err(match (start.is_empty(), *tagged) {
                    (true, false) => AudioError::Empty,
                    (true, true) => {
                        AudioError::Malformed("there is no audio behind the file's tag".to_owned())
                    }
                    (false, _) => sniff::unrecognised(start),
                });
            }
            Source::Wav { wav, .. } => wav.finish()?,
            Source::Container(container) => container.finish(&mut self.output)?,
            Source::Raw(_) => {}
        }
        self.output.finish()
    }

    fn push_piece(&mut self, bytes: &[u8]) -> Result<(), AudioError> {
        match &mut self.source {
            Source::Unknown { .. } => self.sniff(bytes),
            Source::Wav { wav, begun } => {
                let samples = wav.push(bytes)?;
                if let Some(shape) = wav.shape().filter(|_| !*begun) {
                    *begun = true;
                    self.output.begin(shape, wav.promised())?;
                }
                self.output.take(&samples)
            }
            Source::Container(container) => container.push(bytes, &mut self.output),
            Source::Raw(raw) => {
                let samples = raw.push(bytes);
                self.output.take(&samples)
            }
        }
    }

    /// Skips tags until the first bytes of the file itself are there, then hands them to its reader.
    fn sniff(&mut self, bytes: &[u8]) -> Result<(), AudioError> {
        let Source::Unknown { start, skip, tagged } = &mut self.source else {
            return Ok(());
        };
        start.extend_from_slice(bytes);
        let kind = loop {
            let skipped = start.len().min(usize::try_from(*skip).unwrap_or(usize::MAX));
            start.drain(..skipped);
            *skip -= skipped as u64;
            if *skip > 0 {
                return Ok(());
            }
            match sniff::tell(start, *tagged)? {
                Told::More => return Ok(()),
                Told::Skip(length) => (*skip, *tagged) = (length, true),
                Told::Kind(kind) => break kind,
            }
        };
        let start = std::mem::take(start);
        self.source = match kind {
            Kind::Wav => Source::Wav {
                wav: Wav::new(),
                begun: false,
            },
            kind => Source::Container(Container::new(kind)?),
        };
        self.push_piece(&start)
    }
}

/// How raw samples are stored, their rate and their channels; `None` for a file.
fn raw(encoding: StreamEncoding) -> Option<(Sample, u32, u16)> {
    use StreamEncoding::*;
    #[rustfmt::skip]
    let raw = match encoding {
        File => return None,
        Linear16 { sample_rate, channels } => (Sample::Signed(2), sample_rate, channels),
        Linear24 { sample_rate, channels } => (Sample::Signed(3), sample_rate, channels),
        Linear32 { sample_rate, channels } => (Sample::Signed(4), sample_rate, channels),
        Float32 { sample_rate, channels } => (Sample::Float32, sample_rate, channels),
        Unsigned8 { sample_rate, channels } => (Sample::Unsigned8, sample_rate, channels),
        MuLaw { sample_rate, channels } => (Sample::MuLaw, sample_rate, channels),
        ALaw { sample_rate, channels } => (Sample::ALaw, sample_rate, channels),
    };
    Some(raw)
}
