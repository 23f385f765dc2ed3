//! Bytes of a WAV file, cut anywhere, in; interleaved samples at the file's rate out.
//! Integers of 8 to 32 bits, floats of 32 and 64 bits, A-law and mu-law; allocates nothing by what a header claims.
//!
//! A reader of our own: symphonia's takes neither lengths that were never filled in (`ffmpeg -f wav -` writes 2^32-1,
//! other programs 0) nor a last frame that is not whole, and needs a thread to take bytes as they arrive.

use super::{AudioError, mix::Shape, pcm::Sample};

/// A `data` length from here on means "not known when the header was written".
const UNKNOWN_LENGTH: u32 = 0x7fff_0000;
/// A format chunk longer than this is no format chunk.
const MAX_FORMAT: u32 = 4096;

/// Takes a WAV file in pieces.
pub(super) struct Wav {
    state: State,
    buffer: Vec<u8>,
    riff_length: u32,
    format: Option<Format>,
    promised: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The twelve bytes `RIFF`, length, `WAVE`.
    Start,
    /// The eight bytes of a chunk's header.
    ChunkHeader,
    /// The body of `fmt `, so many bytes.
    FormatChunk(u32),
    /// So many bytes that are not for us.
    Skip(u64),
    /// Samples; so many bytes of them left, or until the end of the file.
    Data(Option<u64>),
    /// After the samples.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Format {
    shape: Shape,
    sample: Sample,
}

impl Wav {
    pub(super) fn new() -> Self {
        Wav {
            state: State::Start,
            buffer: Vec::new(),
            riff_length: 0,
            format: None,
            promised: None,
        }
    }

    /// `None` until the samples begin.
    pub(super) fn shape(&self) -> Option<Shape> {
        match self.state {
            State::Data(_) | State::Done => self.format.map(|f| f.shape),
            _ => None,
        }
    }

    /// Frames that the header claims; `None` while unknown, and for lengths that were never filled in.
    pub(super) fn promised(&self) -> Option<u64> {
        self.promised
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<f32>, AudioError> {
        self.buffer.extend_from_slice(bytes);
        let mut samples = Vec::new();
        let mut at = 0;
        loop {
            let rest = &self.buffer[at..];
            let (used, next) = match self.state {
                State::Start if rest.len() >= 12 => {
                    self.riff_length = u32_at(rest, 4);
                    (12, State::ChunkHeader)
                }
                State::ChunkHeader if rest.len() >= 8 => {
                    let mut tag = [0; 4];
                    tag.copy_from_slice(&rest[..4]);
                    (8, self.chunk(tag, u32_at(rest, 4))?)
                }
                State::FormatChunk(length) if rest.len() >= padded(length) as usize => {
                    self.format = Some(format(&rest[..length as usize])?);
                    (padded(length) as usize, State::ChunkHeader)
                }
                State::Skip(0) => (0, State::ChunkHeader),
                State::Skip(left) if !rest.is_empty() => {
                    let used = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    (used, State::Skip(left - used as u64))
                }
                State::Data(left) => {
                    let Some(format) = self.format else {
                        return Err(no_format());
                    };
                    let frame = format.sample.width() * usize::from(format.shape.channels);
                    let within = rest
                        .len()
                        .min(left.map_or(usize::MAX, |l| usize::try_from(l).unwrap_or(usize::MAX)));
                    let used = within - within % frame;
                    samples.extend(format.sample.read(&rest[..used]));
                    let left = left.map(|left| left - used as u64);
                    let next = if left.is_some_and(|left| left < frame as u64) {
                        State::Done
                    } else {
                        State::Data(left)
                    };
                    if used == 0 && next == self.state {
                        break;
                    }
                    (used, next)
                }
                State::Done => (rest.len(), State::Done),
                _ => break,
            };
            let stuck = used == 0 && next == self.state;
            at += used;
            self.state = next;
            if stuck || (next == State::Done && at == self.buffer.len()) {
                break;
            }
        }
        self.buffer.drain(..at);
        Ok(samples)
    }

    /// Nothing more comes; an incomplete last frame is dropped.
    pub(super) fn finish(&self) -> Result<(), AudioError> {
        match self.state {
            State::Data(_) | State::Done => Ok(()),
            _ => Err(AudioError::Malformed(
                "the WAV file ends before its samples".to_owned(),
            )),
        }
    }

    fn chunk(&mut self, tag: [u8; 4], length: u32) -> Result<State, AudioError> {
        match &tag {
            b"fmt " if length > MAX_FORMAT => Err(AudioError::Malformed(format!(
                "a WAV format chunk of {length} bytes"
            ))),
            b"fmt " => Ok(State::FormatChunk(length)),
            b"data" => {
                let Some(format) = self.format else {
                    return Err(no_format());
                };
                let unfinished = length == 0 && (self.riff_length == 0 || self.riff_length == u32::MAX);
                if length >= UNKNOWN_LENGTH || unfinished {
                    return Ok(State::Data(None));
                }
                let frame = format.sample.width() as u64 * u64::from(format.shape.channels);
                self.promised = Some(u64::from(length) / frame);
                Ok(State::Data(Some(u64::from(length))))
            }
            _ => Ok(State::Skip(padded(length))),
        }
    }
}

/// Chunks begin at even offsets.
fn padded(length: u32) -> u64 {
    u64::from(length) + u64::from(length % 2)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn no_format() -> AudioError {
    AudioError::Malformed("the WAV file has samples but no format chunk before them".to_owned())
}

/// Reads a `fmt ` chunk (RIFF specification; `WAVE_FORMAT_EXTENSIBLE` carries the format in its sub-format's GUID).
fn format(chunk: &[u8]) -> Result<Format, AudioError> {
    if chunk.len() < 16 {
        return Err(AudioError::Malformed(format!(
            "a WAV format chunk of {} bytes",
            chunk.len()
        )));
    }
    let shape = Shape::new(u32_at(chunk, 4), u16_at(chunk, 2))?;
    let (block, bits) = (u16_at(chunk, 12), u16_at(chunk, 14));
    let tag = match u16_at(chunk, 0) {
        0xfffe if chunk.len() >= 26 => u16_at(chunk, 24),
        tag => tag,
    };
    let width = usize::from(block) / usize::from(shape.channels);
    let sample = match tag {
        1 if bits <= 8 => Sample::Unsigned8,
        1 => Sample::Signed(width.clamp(2, 4)),
        3 if bits == 64 => Sample::Float64,
        3 => Sample::Float32,
        6 => Sample::ALaw,
        7 => Sample::MuLaw,
        other => {
            return Err(AudioError::Unsupported(format!(
                "a WAV file of format 0x{other:04x}"
            )));
        }
    };
    let fits = width == sample.width() && usize::from(bits) <= 8 * width && bits > 0;
    if !fits || usize::from(block) != width * usize::from(shape.channels) {
        return Err(AudioError::Malformed(format!(
            "a WAV file of {bits} bits a sample and {block} bytes a frame of {} channels",
            shape.channels
        )));
    }
    Ok(Format { shape, sample })
}
