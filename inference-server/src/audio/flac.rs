//! Bytes of a FLAC file, cut anywhere, in; mono samples at the file's rate out. Decoded by symphonia.
//!
//! symphonia pulls its bytes, ours are pushed: the decoder runs as a coroutine on a thread of its own. The two never run
//! at once: a push hands over bytes and waits until the decoder asks for more. Dropping [`Flac`] ends the file for the
//! thread, and waits for its end.

use std::{
    io::{self, Read},
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use symphonia::core::{
    codecs::audio::AudioDecoderOptions,
    errors::Error,
    formats::{FormatOptions, FormatReader, TrackType, probe::Hint},
    io::{MediaSourceStream, ReadOnlySource},
    meta::MetadataOptions,
};

use super::{
    AudioError,
    mix::{self, Shape},
};

/// What the decoder says to the pushing side.
enum Event {
    /// It needs more bytes.
    Hungry,
    /// The header is read: shape, and the number of frames that it claims.
    Header(Shape, Option<u64>),
    /// Mono samples.
    Samples(Vec<f32>),
    /// It cannot go on.
    Failed(AudioError),
}

/// Takes a FLAC file in pieces.
pub(super) struct Flac {
    bytes: Option<Sender<Vec<u8>>>,
    events: Receiver<Event>,
    header: Option<(Shape, Option<u64>)>,
    decoder: Option<JoinHandle<()>>,
}

/// The thread ends with the stream, in the middle of a file as well.
impl Drop for Flac {
    fn drop(&mut self) {
        self.bytes = None;
        if let Some(decoder) = self.decoder.take() {
            let _ = decoder.join();
        }
    }
}

impl Flac {
    pub(super) fn new() -> Result<Self, AudioError> {
        let (bytes, pushed) = channel();
        let (say, events) = channel();
        let decoder = thread::Builder::new()
            .name("flac".to_owned())
            .spawn(move || {
                let source = Pushed {
                    bytes: pushed,
                    events: say.clone(),
                    piece: Vec::new(),
                    at: 0,
                };
                if let Err(Stop::Failed(error)) = decode(source, &say) {
                    let _ = say.send(Event::Failed(error));
                }
            })
            .map_err(|e| AudioError::Malformed(format!("failed to start the decoder: {e}")))?;
        let mut flac = Flac {
            bytes: Some(bytes),
            events,
            header: None,
            decoder: Some(decoder),
        };
        flac.listen()?;
        Ok(flac)
    }

    /// Hz; `None` until the header is complete.
    pub(super) fn rate(&self) -> Option<u32> {
        self.header.map(|(shape, _)| shape.rate)
    }

    /// Frames that the header claims.
    pub(super) fn promised(&self) -> Option<u64> {
        self.header.and_then(|(_, frames)| frames)
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<f32>, AudioError> {
        // A decoder that has seen the last frame takes no more; what follows it is no audio.
        if let Some(sender) = &self.bytes
            && sender.send(bytes.to_vec()).is_err()
        {
            self.bytes = None;
        }
        self.listen()
    }

    pub(super) fn finish(&mut self) -> Result<Vec<f32>, AudioError> {
        self.bytes = None;
        let samples = self.listen()?;
        if self.decoder.take().is_some_and(|decoder| decoder.join().is_err()) {
            return Err(AudioError::Malformed("the decoder gave up".to_owned()));
        }
        match self.header {
            Some(_) => Ok(samples),
            None => Err(AudioError::Malformed(
                "the FLAC file ends before its samples".to_owned(),
            )),
        }
    }

    /// Collects samples until the decoder is hungry; when there is nothing more to feed it, until it is done.
    fn listen(&mut self) -> Result<Vec<f32>, AudioError> {
        let mut samples = Vec::new();
        loop {
            match self.events.recv() {
                Ok(Event::Samples(more)) => samples.extend(more),
                Ok(Event::Header(shape, frames)) => {
                    self.header = Some((shape, frames));
                }
                Ok(Event::Failed(error)) => return Err(error),
                // At the end of the file it may ask again.
                Ok(Event::Hungry) if self.bytes.is_none() => {}
                Ok(Event::Hungry) | Err(_) => return Ok(samples),
            }
        }
    }
}

/// The decoder's end of the pipe: asks for bytes, and is at the end of the file once nobody can push any.
struct Pushed {
    bytes: Receiver<Vec<u8>>,
    events: Sender<Event>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pushed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let _ = self.events.send(Event::Hungry);
            match self.bytes.recv() {
                Ok(piece) => (self.piece, self.at) = (piece, 0),
                Err(_) => return Ok(0),
            }
        }
        let n = out.len().min(self.piece.len() - self.at);
        out[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// `Receiver` is not `Sync`, which symphonia asks of a source.
struct Shared(Mutex<Pushed>);

impl Read for Shared {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.get_mut() {
            Ok(pushed) => pushed.read(out),
            Err(_) => Ok(0),
        }
    }
}

enum Stop {
    Failed(AudioError),
    /// Nobody listens any more.
    Alone,
}

fn decode(source: Pushed, events: &Sender<Event>) -> Result<(), Stop> {
    let say = |event| events.send(event).map_err(|_| Stop::Alone);
    let stream = MediaSourceStream::new(
        Box::new(ReadOnlySource::new(Shared(Mutex::new(source)))),
        Default::default(),
    );
    let mut reader = symphonia::default::get_probe()
        .probe(
            &Hint::new(),
            stream,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(before_samples)?;
    let track = reader
        .default_track(TrackType::Audio)
        .ok_or_else(|| malformed("the file has no audio track"))?;
    let frames = track.num_frames.filter(|&frames| frames > 0);
    let parameters = track.codec_params.as_ref().and_then(|p| p.audio());
    let parameters = parameters.ok_or_else(|| malformed("the file has no audio track"))?;
    let channels = parameters.channels.as_ref().map_or(0, |c| c.count());
    let shape = Shape::new(
        parameters.sample_rate.unwrap_or(0),
        u16::try_from(channels).unwrap_or(u16::MAX),
    )
    .map_err(Stop::Failed)?;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|e| malformed(e.to_string()))?;
    say(Event::Header(shape, frames))?;
    let mut interleaved: Vec<f32> = Vec::new();
    while let Some(packet) = next_packet(reader.as_mut())? {
        let buffer = decoder.decode(&packet).map_err(|e| malformed(e.to_string()))?;
        let channels = buffer.spec().channels().count();
        if channels != usize::from(shape.channels) {
            return Err(malformed("the number of channels changes within the file"));
        }
        buffer.copy_to_vec_interleaved(&mut interleaved);
        say(Event::Samples(mix::mono(&interleaved, shape.channels)))?;
    }
    Ok(())
}

fn next_packet(reader: &mut dyn FormatReader) -> Result<Option<symphonia::core::packet::Packet>, Stop> {
    match reader.next_packet() {
        // Whether the file ended too early is told by the number of samples.
        Err(Error::IoError(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other.map_err(|e| malformed(e.to_string())),
    }
}

fn before_samples(error: Error) -> Stop {
    match error {
        Error::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            malformed("the FLAC file ends before its samples")
        }
        other => malformed(other.to_string()),
    }
}

fn malformed(what: impl Into<String>) -> Stop {
    Stop::Failed(AudioError::Malformed(what.into()))
}
