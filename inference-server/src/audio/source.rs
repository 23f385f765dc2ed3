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
    AudioError, AudioStream, Channels, StreamEncoding, container,
    output::Output,
    sniff::{self, Kind, Told},
};

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
    /// About how long it lasts, by its size and the bit rates that are usual: to tell a clip from an hour.
    pub fn estimate(&self) -> Duration {
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
        let bits_per_second: u64 = match kind {
            Ok(Told::Kind(Kind::Wav)) => 256_000,
            Ok(Told::Kind(Kind::Flac)) => 128_000,
            _ => 64_000,
        };
        Duration::from_millis(bytes * 8_000 / bits_per_second)
    }

    /// A file that somebody opened.
    pub fn file(file: File) -> Self {
        Source::File(Mutex::new(file))
    }

    /// Decodes it from the start, mixes it to mono and resamples it; `take` gets the samples in order.
    pub fn play<E>(
        &self,
        max: Duration,
        take: &mut dyn FnMut(&[f32]) -> Result<(), E>,
    ) -> Result<(), SourceError<E>> {
        match self {
            Source::Memory(bytes) => match sniff::tell(bytes, false) {
                Ok(Told::Kind(kind @ Kind::Mp4)) => in_whole(kind, bytes, max, take),
                _ => {
                    let mut rest = &bytes[..];
                    arriving(&mut rest, max, take)
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
                        in_whole(kind, &start, max, take)
                    }
                    _ => arriving(&mut start.as_slice().chain(&mut *file), max, take),
                }
            }
        }
    }
}

fn arriving<E>(
    bytes: &mut dyn Read,
    max: Duration,
    take: &mut dyn FnMut(&[f32]) -> Result<(), E>,
) -> Result<(), SourceError<E>> {
    let mut stream = AudioStream::new(StreamEncoding::File, max)?;
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
    max: Duration,
    take: &mut dyn FnMut(&[f32]) -> Result<(), E>,
) -> Result<(), SourceError<E>> {
    let mut output = Output::new(Channels::Mix, max);
    let mut refused = None;
    let mut each = |ready: Vec<Vec<f32>>| {
        let taken = ready.iter().try_for_each(|lane| take(lane));
        taken.map_err(|error| refused = Some(error)).is_ok()
    };
    container::whole_each(kind, bytes, &mut output, &mut each)?;
    let last = output.finish()?;
    each(last);
    refused.map_or(Ok(()), |error| Err(SourceError::Taker(error)))
}
