//! A compressed file in; its header and its interleaved samples out, as events. Reads and decodes through symphonia.
//! What an encoder puts before and after the sound is cut away. Bad input is an [`AudioError`].

use std::{
    io::{self, Cursor},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use symphonia::{
    core::{
        codecs::{
            audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, well_known::CODEC_ID_OPUS},
            registry::CodecRegistry,
        },
        errors::Error,
        formats::{FormatOptions, FormatReader, Track},
        io::{MediaSource, MediaSourceStream, ReadBytes, ReadOnlySource},
        packet::Packet,
    },
    default::formats::{AdtsReader, FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader},
};

use super::{
    AudioError,
    matroska::Segment,
    mix::Shape,
    mp4::{self, Edit, Kept},
    ogg::Pages,
    opus::OpusDecoder,
    output::Output,
    sniff::Kind,
};

/// Packets without sound (of other tracks) in a row, after which a file is a hoax: it takes time without an end.
const MOST_SILENT: usize = 100_000;
/// Encoders count the frames of a file differently; so much of the promise may be missing, in seconds.
const TOLERANCE: f64 = 0.1;

/// What is read.
pub(super) enum Event {
    /// The header: shape, and the number of frames that it claims. Again where another stream follows in the file.
    Begin(Shape, Option<u64>),
    /// Interleaved samples.
    Samples(Vec<f32>),
}

impl Event {
    /// Hands itself to the output.
    pub(super) fn give(self, output: &mut Output) -> Result<(), AudioError> {
        match self {
            Event::Begin(shape, promised) => output.begin(shape, promised),
            Event::Samples(samples) => output.take(&samples),
        }
    }
}

/// Why decoding stops before the end.
pub(super) enum Stop {
    Failed(AudioError),
    /// Nobody listens any more.
    Alone,
}

/// The bytes of a file.
pub(super) enum Input<'a> {
    /// All of them, in any order.
    Whole(&'a [u8]),
    /// One after the other.
    Arriving(Box<dyn MediaSource + 'a>),
}

type Emit<'e> = dyn FnMut(Event) -> Result<(), Stop> + 'e;

/// Reads a file of a known kind to its end.
pub(super) fn decode(kind: Kind, input: Input<'_>, emit: &mut Emit<'_>) -> Result<(), Stop> {
    let (mut file, kept) = File::open(kind, input)?;
    if let Some(kept) = kept {
        file.edits = mp4::edits(&kept.take());
    }
    loop {
        let mut stream = Stream::new(&file)?;
        if file.play(&mut stream, emit)? {
            return file.finish(&mut stream, emit);
        }
        stream.begin(emit)?;
    }
}

/// Every decoder that we have.
static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<OpusDecoder>();
    codecs
});

struct File<'a> {
    kind: Kind,
    reader: Box<dyn FormatReader + 'a>,
    edits: Vec<Edit>,
    /// Whether the file so far ends where it may.
    complete: Arc<AtomicBool>,
}

impl<'a> File<'a> {
    fn open(kind: Kind, input: Input<'a>) -> Result<(Self, Option<Kept>), Stop> {
        let mut complete = Arc::new(AtomicBool::new(true));
        let (mut edits, mut kept) = (Vec::new(), None);
        let whole = matches!(input, Input::Whole(_));
        let source: Box<dyn MediaSource + 'a> = match input {
            Input::Whole(bytes) => {
                edits = mp4::edits(bytes);
                let mut boxes = mp4::Boxes::default();
                boxes.see(bytes);
                complete.store(boxes.whole(), Ordering::Relaxed);
                Box::new(Cursor::new(bytes))
            }
            Input::Arriving(source) if kind == Kind::Ogg => {
                let (pages, whole) = Pages::new(source);
                complete = whole;
                Box::new(ReadOnlySource::new(pages))
            }
            Input::Arriving(source) if kind == Kind::Matroska => {
                let (segment, whole) = Segment::new(source);
                complete = whole;
                Box::new(ReadOnlySource::new(segment))
            }
            Input::Arriving(source) if kind == Kind::Mp4 => {
                let (recorder, recorded, whole) = mp4::Recorder::new(source);
                (kept, complete) = (Some(recorded), whole);
                Box::new(ReadOnlySource::new(recorder))
            }
            Input::Arriving(source) => source,
        };
        let stream = MediaSourceStream::new(source, Default::default());
        let reader = reader(kind, stream).map_err(|error| before_samples(kind, whole, error))?;
        let file = File {
            kind,
            reader,
            edits,
            complete,
        };
        Ok((file, kept))
    }

    /// Decodes one stream to its end. Returns whether that is the end of the file; else another stream follows.
    fn play(&mut self, stream: &mut Stream, emit: &mut Emit<'_>) -> Result<bool, Stop> {
        let mut silent = 0;
        loop {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(true),
                Err(Error::ResetRequired) => return Ok(false),
                Err(Error::IoError(e)) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    return self.end(stream).map(|()| true);
                }
                Err(error) => return Err(stream.damaged(&error)),
            };
            if packet.track_id == stream.track && stream.decode(packet, emit)? {
                silent = 0;
                continue;
            }
            silent += 1;
            if silent > MOST_SILENT {
                return Err(malformed("the file has next to no sound in it"));
            }
        }
    }

    /// The bytes are at their end, and the reader is not. For FLAC the number of samples tells whether that is too early.
    fn end(&self, stream: &Stream) -> Result<(), Stop> {
        match self.kind {
            Kind::Ogg | Kind::Matroska if self.complete.load(Ordering::Relaxed) => Ok(()),
            Kind::Ogg | Kind::Mp4 | Kind::Matroska => Err(self.broken_off(stream)),
            _ => Ok(()),
        }
    }

    /// The reader is at its end. Fragments of MP4 promise nothing: the last one must be whole.
    fn finish(&self, stream: &mut Stream, emit: &mut Emit<'_>) -> Result<(), Stop> {
        let fragments = self.kind == Kind::Mp4 && stream.promised.is_none();
        if fragments && (stream.decoded == 0 || !self.complete.load(Ordering::Relaxed)) {
            return Err(self.broken_off(stream));
        }
        stream.begin(emit)
    }

    fn broken_off(&self, stream: &Stream) -> Stop {
        malformed(format!(
            "the {} file breaks off after {:.2} s; send all of it",
            self.kind.name(),
            stream.seconds()
        ))
    }
}

fn reader<'a>(
    kind: Kind,
    mut stream: MediaSourceStream<'a>,
) -> symphonia::core::errors::Result<Box<dyn FormatReader + 'a>> {
    let options = FormatOptions::default();
    Ok(match kind {
        Kind::Wav => return Err(Error::Unsupported("WAV has a reader of its own")),
        Kind::Flac => Box::new(FlacReader::try_new(stream, options)?),
        Kind::Mp3 => Box::new(MpaReader::try_new(stream, options)?),
        Kind::Adts => Box::new(AdtsReader::try_new(stream, options)?),
        Kind::Ogg => Box::new(OggReader::try_new(stream, options)?),
        Kind::Matroska => Box::new(MkvReader::try_new(stream, options)?),
        Kind::Mp4 => {
            stream.ignore_bytes(4)?; // it wants to be where the `ftyp` is
            Box::new(IsoMp4Reader::try_new(stream, options)?)
        }
    })
}

/// One stream of a file, as it is decoded.
struct Stream {
    kind: Kind,
    track: u32,
    decoder: Box<dyn AudioDecoder>,
    /// What the header says; the samples themselves have the last word.
    shape: Option<Shape>,
    /// Whether the header has been told.
    begun: bool,
    /// Frames that the header claims, after cutting.
    promised: Option<u64>,
    /// Where an MP3's own count of frames ends, its padding included; what is appended to the file is beyond.
    counted: Option<i64>,
    /// Seconds that are still to be cut away at the beginning, and to be let through after that.
    edit: Option<Edit>,
    /// Frames that came out of the decoder, and those of them that went on.
    decoded: u64,
    told: u64,
}

impl Stream {
    /// The first track of sound.
    fn new(file: &File<'_>) -> Result<Self, Stop> {
        let kind = file.kind;
        let sound = |track: &&Track| track.codec_params.as_ref().is_some_and(|p| p.audio().is_some());
        let none = || {
            malformed(format!(
                "the {} file has no audio track that can be read",
                kind.name()
            ))
        };
        let track = file.reader.tracks().iter().find(sound).ok_or_else(none)?;
        let parameters = track
            .codec_params
            .as_ref()
            .and_then(|p| p.audio())
            .ok_or_else(none)?;
        let decoder = CODECS
            .make_audio_decoder(&parameters_for(kind, parameters), &AudioDecoderOptions::default())
            .map_err(|error| not_decodable(kind, &error))?;
        let shape = match (parameters.sample_rate, &parameters.channels) {
            (Some(rate), Some(channels)) => Some(shape(rate, channels.count())?),
            _ => None,
        };
        let mut edit = file.edits.iter().copied().find(|edit| edit.track == track.id);
        if parameters.codec == CODEC_ID_OPUS
            && let Some(edit) = &mut edit
        {
            edit.skip = 0.0; // the decoder does it
        }
        let counted = track.num_frames.filter(|_| kind == Kind::Mp3);
        let padding = u64::from(track.padding.unwrap_or(0));
        Ok(Stream {
            kind,
            track: track.id,
            decoder,
            shape,
            begun: false,
            promised: promised(kind, track, shape, edit),
            counted: counted.map(|frames| i64::try_from(frames + padding).unwrap_or(i64::MAX)),
            edit,
            decoded: 0,
            told: 0,
        })
    }

    /// Tells the header, once.
    fn begin(&mut self, emit: &mut Emit<'_>) -> Result<(), Stop> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        match self.shape {
            Some(shape) => emit(Event::Begin(shape, self.promised)),
            None => Err(malformed(format!(
                "the {} file ends before its samples",
                self.kind.name()
            ))),
        }
    }

    /// Decodes a packet of this stream. Returns whether there was sound in it.
    fn decode(&mut self, mut packet: Packet, emit: &mut Emit<'_>) -> Result<bool, Stop> {
        let appended = self.counted.is_some_and(|counted| packet.pts.get() >= counted);
        if appended {
            packet.trim_end = Default::default();
        }
        let buffer = match self.decoder.decode(&packet) {
            Ok(buffer) => buffer,
            Err(_) if appended => return Ok(false), // a tag, taken for a frame
            Err(error) => return Err(self.damaged(&error)),
        };
        let found = shape(buffer.spec().rate(), buffer.spec().channels().count())?;
        let frames = buffer.frames() as u64;
        let mut samples = Vec::new();
        buffer.copy_to_vec_interleaved(&mut samples);
        match self.shape {
            Some(shape) if shape == found => {}
            _ if !self.begun => self.shape = Some(found),
            _ => {
                return Err(malformed(
                    "the rate or the number of channels changes within the file",
                ));
            }
        }
        self.begin(emit)?;
        let kept = self.cut(found, frames);
        self.decoded += frames;
        if kept.is_empty() {
            return Ok(false);
        }
        self.told += kept.end - kept.start;
        let at = |frame: u64| frame as usize * usize::from(found.channels);
        samples.truncate(at(kept.end));
        samples.drain(..at(kept.start));
        emit(Event::Samples(samples))?;
        Ok(true)
    }

    /// Which of the next frames out of the decoder are to be heard.
    fn cut(&self, shape: Shape, frames: u64) -> std::ops::Range<u64> {
        let Some(edit) = self.edit else {
            return 0..frames;
        };
        let (skip, keep) = in_frames(edit, shape.rate);
        let start = skip.saturating_sub(self.decoded).min(frames);
        let end = keep.map_or(frames, |keep| {
            (skip + keep).saturating_sub(self.decoded).min(frames)
        });
        start..end.max(start)
    }

    fn seconds(&self) -> f64 {
        self.told as f64 / f64::from(self.shape.map_or(1, |shape| shape.rate))
    }

    fn damaged(&self, error: &Error) -> Stop {
        malformed(format!(
            "the {} file is damaged after {:.2} s ({error}); please encode it again",
            self.kind.name(),
            self.seconds()
        ))
    }
}

/// Frames to leave out, and frames after them to let through.
fn in_frames(edit: Edit, rate: u32) -> (u64, Option<u64>) {
    let frames = |seconds: f64| (seconds * f64::from(rate)).round() as u64;
    (frames(edit.skip), edit.keep.map(frames))
}

/// The number of frames that the header claims, less what is cut away, and less what encoders count differently.
fn promised(kind: Kind, track: &Track, shape: Option<Shape>, edit: Option<Edit>) -> Option<u64> {
    let rate = shape?.rate;
    let claimed = match (track.num_frames, track.duration, track.time_base) {
        (Some(frames), _, _) => Some(frames),
        (None, Some(duration), Some(base)) if kind == Kind::Mp4 => {
            let seconds = duration.get() as f64 * f64::from(base.numer.get()) / f64::from(base.denom.get());
            Some((seconds * f64::from(rate)) as u64)
        }
        _ => None,
    };
    let claimed = claimed.filter(|&frames| frames > 0)?;
    if kind == Kind::Flac {
        return Some(claimed);
    }
    let (skip, keep) = edit.map_or((0, None), |edit| in_frames(edit, rate));
    let left = claimed.saturating_sub(skip).min(keep.unwrap_or(u64::MAX));
    Some(left.saturating_sub((TOLERANCE * f64::from(rate)) as u64))
}

/// In MP4 the header of Opus is big-endian, which symphonia leaves as it is.
fn parameters_for(kind: Kind, parameters: &AudioCodecParameters) -> AudioCodecParameters {
    let mut parameters = parameters.clone();
    if kind == Kind::Mp4
        && parameters.codec == CODEC_ID_OPUS
        && let Some(header) = &mut parameters.extra_data
        && header.len() >= 18
    {
        header.swap(10, 11);
        header.swap(16, 17);
    }
    parameters
}

fn shape(rate: u32, channels: usize) -> Result<Shape, Stop> {
    Shape::new(rate, u16::try_from(channels).unwrap_or(u16::MAX)).map_err(Stop::Failed)
}

fn not_decodable(kind: Kind, error: &Error) -> Stop {
    Stop::Failed(AudioError::Unsupported(format!(
        "the sound in the {} file is encoded in a way that is not read here ({error}); convert it, for example to FLAC",
        kind.name()
    )))
}

fn before_samples(kind: Kind, whole: bool, error: Error) -> Stop {
    let name = kind.name();
    match error {
        Error::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            malformed(format!("the {name} file ends before its samples"))
        }
        Error::Unsupported("isomp4: missing moov atom") if whole => {
            malformed("the MP4 file has no index (moov); its recording was not finished, or it is cut off")
        }
        Error::Unsupported("isomp4: missing moov atom") => Stop::Failed(AudioError::Unsupported(
            "the index (moov) of this MP4 file is behind its samples, so it cannot be decoded as it arrives; send it \
             as a whole file, or move the index to the front (`ffmpeg -i IN -c copy -movflags +faststart OUT`)"
                .to_owned(),
        )),
        other => malformed(format!("the beginning of the {name} file makes no sense ({other})")),
    }
}

fn malformed(what: impl Into<String>) -> Stop {
    Stop::Failed(AudioError::Malformed(what.into()))
}
