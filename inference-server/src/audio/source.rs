//! The bytes of a whole recording, in memory or in a file, in; 16 kHz samples out, piece by piece, as often as they are asked
//! for. Memory does not grow with the length of the audio; only an MP4 file, whose index may be at its end, is read in whole.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    sync::Mutex,
    time::Duration,
};

use tokio_util::bytes::Bytes;

use super::{
    AudioError, ChannelStream, Channels, StreamEncoding, container,
    output::Output,
    sniff::{self, Kind, Told},
};

/// Nothing more is wanted of the audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("enough of the audio was read")]
pub struct Enough;

/// Who takes the samples of each channel, or of their mix.
type TakeLanes<'t, E> = dyn FnMut(&[Vec<f32>]) -> Result<(), E> + 't;

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// The bytes of a recording.
pub enum Source {
    /// In memory.
    Memory(Bytes),
    /// In a file, from its start. Reading moves its position.
    File(Mutex<File>),
}

/// Why samples are not handed out to the end.
#[derive(Debug, thiserror::Error)]
pub enum SourceError<E> {
    /// The audio is bad.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The file cannot be read.
    #[error("the audio cannot be read: {0}")]
    Read(#[source] std::io::Error),
    /// Who takes the samples wants no more.
    #[error("{0}")]
    Taker(E),
}

impl Source {
    /// About how long it lasts, by its size and the bit rates that are usual: to tell a clip from an hour. Where so many channels
    /// are transcribed each by itself, how long they last together; a WAV or FLAC file is the larger for them already.
    pub fn estimate(&self, channels: u16) -> Duration {
        let (bytes, kind) = match self {
            Source::Memory(bytes) => (bytes.len() as u64, sniff::tell(bytes, false)),
            Source::File(file) => {
                let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let mut start = Vec::new();
                let begun = file.seek(SeekFrom::Start(0)).is_ok()
                    && Read::by_ref(&mut *file)
                        .take(4096)
                        .read_to_end(&mut start)
                        .is_ok();
                let bytes = file.metadata().map_or(0, |metadata| metadata.len());
                (bytes, sniff::tell(if begun { &start } else { &[] }, false))
            }
        };
        let (bits_per_second, times): (u64, u64) = match kind {
            Ok(Told::Kind(Kind::Wav)) => (256_000, 1),
            Ok(Told::Kind(Kind::Flac)) => (128_000, 1),
            _ => (64_000, u64::from(channels)),
        };
        Duration::from_millis((bytes * 8_000 / bits_per_second).saturating_mul(times))
    }

    /// How many channels come out, by its first samples; 1 where there are none.
    ///
    /// Fails when there are too many, or no audio.
    pub fn count(&self, channels: Channels, max: Duration) -> Result<u16, SourceError<Enough>> {
        if channels == Channels::Mix {
            return Ok(1);
        }
        let mut found = 1;
        let first = self.play(channels, max, &mut |lanes| {
            if lanes.is_empty() {
                return Ok(());
            }
            found = u16::try_from(lanes.len()).unwrap_or(u16::MAX);
            Err(Enough)
        });
        match first {
            Ok(()) | Err(SourceError::Taker(Enough)) => Ok(found),
            Err(error) => Err(error),
        }
    }

    /// A file that somebody opened.
    pub fn file(file: File) -> Self {
        Source::File(Mutex::new(file))
    }

    /// Decodes it from the start and resamples it, mixed or channel by channel; `take` gets the samples in order.
    pub fn play<E>(
        &self,
        channels: Channels,
        max: Duration,
        take: &mut TakeLanes<'_, E>,
    ) -> Result<(), SourceError<E>> {
        match self {
            Source::Memory(bytes) => match sniff::tell(bytes, false) {
                Ok(Told::Kind(kind @ Kind::Mp4)) => in_whole(kind, bytes, Output::new(channels, max), take),
                _ => {
                    let mut rest = &bytes[..];
                    arriving(&mut rest, channels, max, take)
                }
            },
            Source::File(file) => {
                let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                file.seek(SeekFrom::Start(0)).map_err(SourceError::Read)?;
                let mut start = Vec::new();
                Read::by_ref(&mut *file)
                    .take(PIECE as u64)
                    .read_to_end(&mut start)
                    .map_err(SourceError::Read)?;
                match sniff::tell(&start, false) {
                    Ok(Told::Kind(kind @ Kind::Mp4)) => {
                        file.read_to_end(&mut start).map_err(SourceError::Read)?;
                        in_whole(kind, &start, Output::new(channels, max), take)
                    }
                    _ => arriving(&mut start.as_slice().chain(&mut *file), channels, max, take),
                }
            }
        }
    }
}

fn arriving<E>(
    bytes: &mut dyn Read,
    channels: Channels,
    max: Duration,
    take: &mut TakeLanes<'_, E>,
) -> Result<(), SourceError<E>> {
    let mut stream = ChannelStream::new(StreamEncoding::File, channels, max)?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = match bytes.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(SourceError::Read(error)),
        };
        take(&stream.push(&piece[..read])?).map_err(SourceError::Taker)?;
    }
    take(&stream.finish()?).map_err(SourceError::Taker)
}

fn in_whole<E>(
    kind: Kind,
    bytes: &[u8],
    mut output: Output,
    take: &mut TakeLanes<'_, E>,
) -> Result<(), SourceError<E>> {
    let mut refused = None;
    let mut each = |ready: Vec<Vec<f32>>| take(&ready).map_err(|error| refused = Some(error)).is_ok();
    container::whole_each(kind, bytes, &mut output, &mut each)?;
    // Of what nobody wants any more it does not matter how it would have ended.
    if let Some(error) = refused {
        return Err(SourceError::Taker(error));
    }
    take(&output.finish()?).map_err(SourceError::Taker)
}
