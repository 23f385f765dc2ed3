//! Bytes of a compressed file, cut anywhere, in; interleaved samples out, into an [`Output`].
//!
//! symphonia pulls its bytes, ours are pushed: the decoder runs as a coroutine on a thread of its own. The two never run
//! at once: a push hands over bytes and takes samples until the decoder asks for more. Dropping [`Container`] ends the
//! file for the thread, and waits for its end. A decoder that panics is a broken file, not a broken server.

use std::{
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
};

use symphonia::core::io::ReadOnlySource;

use super::{
    AudioError,
    demux::{self, Event, Input, Stop},
    output::{Lanes, Output},
    sniff::Kind,
};

/// What the decoder says to the pushing side.
enum Message {
    /// It needs more bytes.
    Hungry,
    /// It has read something.
    Event(Event),
    /// It cannot go on.
    Failed(AudioError),
}

/// Takes a file of one kind in pieces.
pub(super) struct Container {
    bytes: Option<Sender<Vec<u8>>>,
    messages: Option<Receiver<Message>>,
    decoder: Option<JoinHandle<()>>,
}

/// The thread ends with the stream, in the middle of a file as well.
impl Drop for Container {
    fn drop(&mut self) {
        self.bytes = None;
        self.messages = None;
        if let Some(decoder) = self.decoder.take() {
            let _ = decoder.join();
        }
    }
}

impl Container {
    pub(super) fn new(kind: Kind) -> Result<Self, AudioError> {
        let (bytes, pushed) = channel();
        // Of no capacity: the decoder is never ahead by more than the samples in its hands.
        let (say, messages) = sync_channel(0);
        let decoder = thread::Builder::new()
            .name(format!("decode {}", kind.name()))
            .spawn(move || run(kind, pushed, &say))
            .map_err(|e| AudioError::Malformed(format!("failed to start the decoder: {e}")))?;
        let _ = messages.recv(); // it is hungry before the first bytes as well
        Ok(Container {
            bytes: Some(bytes),
            messages: Some(messages),
            decoder: Some(decoder),
        })
    }

    pub(super) fn push(&mut self, bytes: &[u8], output: &mut Output) -> Result<(), AudioError> {
        // A decoder that has seen the last frame takes no more; what follows it is no audio.
        if let Some(sender) = &self.bytes
            && sender.send(bytes.to_vec()).is_err()
        {
            self.bytes = None;
        }
        self.listen(output)
    }

    pub(super) fn finish(&mut self, output: &mut Output) -> Result<(), AudioError> {
        self.bytes = None;
        self.listen(output)
    }

    /// Takes samples until all bytes are used up; when there are no more to feed, until the decoder is done.
    fn listen(&mut self, output: &mut Output) -> Result<(), AudioError> {
        while let Some(messages) = &self.messages {
            match messages.recv() {
                Ok(Message::Event(event)) => event.give(output)?,
                Ok(Message::Failed(error)) => return Err(error),
                // At the end of the file it may ask again.
                Ok(Message::Hungry) if self.bytes.is_none() => {}
                Ok(Message::Hungry) => return Ok(()),
                Err(_) => return self.ended(),
            }
        }
        Ok(())
    }

    fn ended(&mut self) -> Result<(), AudioError> {
        self.bytes = None;
        self.messages = None;
        match self.decoder.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(gave_up()),
            _ => Ok(()),
        }
    }
}

/// The thread: decodes what is pushed and says what it finds.
fn run(kind: Kind, pushed: Receiver<Vec<u8>>, say: &SyncSender<Message>) {
    let source = Pushed {
        bytes: pushed,
        messages: say.clone(),
        piece: Vec::new(),
        at: 0,
    };
    let source = Box::new(ReadOnlySource::new(Shared(Mutex::new(source))));
    let mut emit = |event| say.send(Message::Event(event)).map_err(|_| Stop::Alone);
    if let Err(Stop::Failed(error)) = demux::decode(kind, Input::Arriving(source), &mut emit) {
        let _ = say.send(Message::Failed(error));
    }
}

/// Decodes a file that is here as a whole, whatever the order of its parts.
pub(super) fn whole(kind: Kind, bytes: &[u8], output: &mut Output) -> Result<(), AudioError> {
    decode_whole(kind, bytes, &mut |event| event.give(output).map_err(Stop::Failed))
}

/// The same; `each` gets what is ready after every event, and says whether it wants more.
pub(super) fn whole_each(
    kind: Kind,
    bytes: &[u8],
    output: &mut Output,
    each: &mut dyn FnMut(Lanes) -> bool,
) -> Result<(), AudioError> {
    decode_whole(kind, bytes, &mut |event| {
        event.give(output).map_err(Stop::Failed)?;
        if each(output.ready()) {
            Ok(())
        } else {
            Err(Stop::Alone)
        }
    })
}

fn decode_whole(
    kind: Kind,
    bytes: &[u8],
    emit: &mut dyn FnMut(Event) -> Result<(), Stop>,
) -> Result<(), AudioError> {
    let decode = AssertUnwindSafe(|| demux::decode(kind, Input::Whole(bytes), emit));
    match catch_unwind(decode) {
        Ok(Err(Stop::Failed(error))) => Err(error),
        Ok(_) => Ok(()),
        Err(_) => Err(gave_up()),
    }
}

fn gave_up() -> AudioError {
    AudioError::Malformed(
        "the decoder cannot make sense of it; the file is damaged, please encode it again".to_owned(),
    )
}

/// The decoder's end of the pipe: asks for bytes, and is at the end of the file once nobody can push any.
struct Pushed {
    bytes: Receiver<Vec<u8>>,
    messages: SyncSender<Message>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pushed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let _ = self.messages.send(Message::Hungry);
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
