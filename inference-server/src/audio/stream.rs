//! Bytes of WAV, FLAC or raw samples, cut anywhere, in; 16 kHz mono samples out as they become available.
//! Holds no more than a header, a step of the resampler and a FLAC frame; never the audio.

use std::time::Duration;

use super::{AudioError, flac::Flac, linear16::Linear16, resample::Resampler, wav::Wav};

/// Bytes that are enough to tell the containers apart, other people's included.
const SNIFF: usize = 12;
/// Bytes handed on at once, so that one big push does not need its size again in every stage.
const PIECE: usize = 64 * 1024;

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
///
/// After an error the stream is spent: drop it.
pub struct AudioStream {
    source: Source,
    resampler: Option<Resampler>,
    max: Duration,
}

enum Source {
    Unknown(Vec<u8>),
    Wav(Wav),
    Flac(Flac),
    Linear16(Linear16),
}

impl AudioStream {
    /// A stream that refuses audio longer than `max`.
    pub fn new(encoding: StreamEncoding, max: Duration) -> Result<Self, AudioError> {
        let source = match encoding {
            StreamEncoding::File => Source::Unknown(Vec::new()),
            StreamEncoding::Linear16 {
                sample_rate,
                channels,
            } => Source::Linear16(Linear16::new(sample_rate, channels)?),
        };
        Ok(AudioStream {
            source,
            resampler: None,
            max,
        })
    }

    /// Takes the next bytes; returns the samples that are ready (possibly none yet).
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<f32>, AudioError> {
        let mut out = Vec::new();
        for piece in bytes.chunks(PIECE) {
            out.extend(self.push_piece(piece)?);
        }
        Ok(out)
    }

    /// No more bytes: returns the samples still inside.
    ///
    /// Here a file turns out to be empty, no audio, or shorter than its header promises.
    pub fn finish(mut self) -> Result<Vec<f32>, AudioError> {
        let (tail, promised) = match &mut self.source {
            Source::Unknown(start) if start.is_empty() => return Err(AudioError::Empty),
            Source::Unknown(start) => return Err(unrecognised(start)),
            Source::Wav(wav) => (wav.finish()?, wav.promised()),
            Source::Flac(flac) => (flac.finish()?, flac.promised()),
            Source::Linear16(_) => (Vec::new(), None),
        };
        let mut out = self.resample(tail)?;
        let Some(resampler) = self.resampler else {
            return Ok(out);
        };
        let (rate, present) = (self.source.rate().unwrap_or(0), resampler.received());
        if let Some(promised) = promised.filter(|&promised| present < promised) {
            return Err(AudioError::truncated(promised, present, rate));
        }
        out.extend(resampler.finish()?);
        Ok(out)
    }

    fn push_piece(&mut self, bytes: &[u8]) -> Result<Vec<f32>, AudioError> {
        let mono = match &mut self.source {
            Source::Unknown(start) => {
                start.extend_from_slice(bytes);
                if start.len() < SNIFF {
                    return Ok(Vec::new());
                }
                let start = std::mem::take(start);
                self.source = Source::told_by(&start)?;
                return self.push_piece(&start);
            }
            Source::Wav(wav) => wav.push(bytes)?,
            Source::Flac(flac) => flac.push(bytes)?,
            Source::Linear16(raw) => raw.push(bytes),
        };
        self.resample(mono)
    }

    /// Refuses what is too long as soon as that is known: by the header, or by the samples so far.
    fn resample(&mut self, mono: Vec<f32>) -> Result<Vec<f32>, AudioError> {
        let Some(rate) = self.source.rate() else {
            return Ok(Vec::new());
        };
        let resampler = match &mut self.resampler {
            Some(resampler) => resampler,
            none => none.insert(Resampler::new(rate)?),
        };
        let most = (self.max.as_secs_f64() * f64::from(rate)).ceil() as u64;
        let so_far = resampler.received() + mono.len() as u64;
        if so_far.max(self.source.promised().unwrap_or(0)) > most {
            return Err(AudioError::TooLong { max: self.max });
        }
        resampler.push(mono)
    }
}

impl Source {
    /// `start` holds at least [`SNIFF`] bytes.
    fn told_by(start: &[u8]) -> Result<Self, AudioError> {
        if start.starts_with(b"RIFF") && &start[8..12] == b"WAVE" {
            Ok(Source::Wav(Wav::new()))
        } else if start.starts_with(b"fLaC") {
            Ok(Source::Flac(Flac::new()?))
        } else {
            Err(unrecognised(start))
        }
    }

    /// Hz; `None` while the header is not complete.
    fn rate(&self) -> Option<u32> {
        match self {
            Source::Unknown(_) => None,
            Source::Wav(wav) => wav.rate(),
            Source::Flac(flac) => flac.rate(),
            Source::Linear16(raw) => Some(raw.rate()),
        }
    }

    /// The number of frames that the header claims, if it makes a claim.
    fn promised(&self) -> Option<u64> {
        match self {
            Source::Unknown(_) | Source::Linear16(_) => None,
            Source::Wav(wav) => wav.promised(),
            Source::Flac(flac) => flac.promised(),
        }
    }
}

/// Names what the bytes look like, so that the sender knows what to convert from.
fn unrecognised(start: &[u8]) -> AudioError {
    let at = |offset: usize, magic: &[u8]| start.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let guess = if b"RIFF".starts_with(start)
        || b"fLaC".starts_with(start)
        || at(0, b"RIFF") && start.len() < SNIFF
    {
        "the file ends within its first bytes"
    } else if at(0, b"ID3") || (start.len() > 1 && start[0] == 0xff && start[1] & 0xe0 == 0xe0) {
        "it looks like MP3 or AAC"
    } else if at(0, b"OggS") {
        "it looks like Ogg (Opus or Vorbis)"
    } else if at(4, b"ftyp") {
        "it looks like MP4 or M4A"
    } else if at(0, b"\x1a\x45\xdf\xa3") {
        "it looks like WebM or Matroska"
    } else if at(0, b"RF64") || at(0, b"BW64") || at(0, b"RIFX") {
        "it looks like a variant of WAV that is not supported (RF64, BW64 or RIFX)"
    } else if at(0, b"FORM") {
        "it looks like AIFF"
    } else {
        "its first bytes are those of neither"
    };
    AudioError::Unrecognised(guess.to_owned())
}
