//! The worker of a stream, whatever brings its audio: bytes in, updates out, in turn, so a slow model or a slow client slows the
//! sender down. Channels that are not mixed are conversations beside each other. Knows neither gRPC nor WebSockets.

use std::time::{Duration, Instant};

use tokio_util::bytes::Bytes;

use crate::{
    admission::Permit,
    audio::{ChannelStream, Channels, SAMPLE_RATE},
    model::Model,
    pipeline::{Cancel, Conversation, LiveOptions, Options, PipelineError, Update},
    stages::{self, Stage, Stages},
    status::Failure,
};

/// What a client sends.
pub enum Input {
    /// The next bytes of its audio.
    Audio(Bytes),
    /// What was said until now is to be final.
    Commit,
    /// What is not final is to be forgotten.
    Clear,
}

/// The client, as the worker sees it.
pub trait Peer {
    /// The next of what it sends; `None` when it has sent all. Blocks.
    fn next(&mut self) -> Result<Option<Input>, Failure>;

    /// Sends news of a channel, from 1, or of all where they are mixed, no faster than it takes them. Blocks.
    fn send(&mut self, channel: Option<u16>, updates: Vec<Update>) -> Result<(), Failure>;
}

/// How a stream went.
pub struct Outcome {
    /// Length of its audio, of all channels together where each is transcribed by itself.
    pub audio: Duration,
    /// How long the model worked on it.
    pub work: Duration,
    /// How it ended.
    pub end: Result<(), Failure>,
}

/// What is to be done with a stream.
pub struct Session {
    /// How to transcribe.
    pub options: Options,
    /// What to tell early.
    pub live: LiveOptions,
    /// What the bytes are.
    pub audio: ChannelStream,
    /// Whom its stages are told.
    pub stages: Stages,
}

impl Session {
    /// Works until the stream has ended, one way or another; holds the permit as long.
    pub fn work(self, permit: Permit, model: &Model, peer: &mut impl Peer, cancel: &Cancel) -> Outcome {
        let _permit = permit;
        let Session {
            options,
            live,
            mut audio,
            stages,
        } = self;
        let _following = stages.follow();
        let mut talk = Talk {
            model,
            separate: options.channels == Channels::Each,
            options,
            live,
            conversations: Vec::new(),
            samples: 0,
            work: Duration::ZERO,
        };
        let run = || -> Result<(), Failure> {
            while let Some(input) = peer.next()? {
                match input {
                    Input::Audio(bytes) => {
                        let timed = stages::enter(Stage::Audio);
                        let lanes = audio.push(&bytes)?;
                        drop(timed);
                        talk.hear(lanes, peer, cancel)?;
                    }
                    Input::Commit => talk.commit(peer, cancel)?,
                    Input::Clear => talk.conversations.iter_mut().for_each(Conversation::clear),
                }
            }
            talk.hear(audio.finish()?, peer, cancel)?;
            talk.finish(peer, cancel)
        };
        let end = run();
        Outcome {
            audio: Duration::from_secs_f64(talk.samples as f64 / f64::from(SAMPLE_RATE)),
            work: talk.work,
            end,
        }
    }
}

/// The conversations of all channels.
struct Talk<'m> {
    model: &'m Model,
    options: Options,
    live: LiveOptions,
    separate: bool,
    conversations: Vec<Conversation<'m>>,
    /// Of all channels.
    samples: usize,
    work: Duration,
}

impl<'m> Talk<'m> {
    /// The next samples of each channel.
    fn hear(&mut self, lanes: Vec<Vec<f32>>, peer: &mut impl Peer, cancel: &Cancel) -> Result<(), Failure> {
        // How many channels there are is known with the first samples.
        while self.conversations.len() < lanes.len() {
            let one = Conversation::new(self.model, &self.options, self.live.clone())?;
            self.conversations.push(one.beside(lanes.len() - 1));
        }
        self.samples += lanes.iter().map(Vec::len).sum::<usize>();
        let mut lanes = lanes.into_iter();
        self.each(peer, |conversation| {
            conversation.push(&lanes.next().unwrap_or_default(), cancel)
        })
    }

    fn commit(&mut self, peer: &mut impl Peer, cancel: &Cancel) -> Result<(), Failure> {
        self.each(peer, |conversation| conversation.commit(cancel))
    }

    fn each(
        &mut self,
        peer: &mut impl Peer,
        mut news: impl FnMut(&mut Conversation<'m>) -> Result<Vec<Update>, PipelineError>,
    ) -> Result<(), Failure> {
        for (i, conversation) in self.conversations.iter_mut().enumerate() {
            let started = Instant::now();
            let updates = news(conversation)?;
            self.work += started.elapsed();
            peer.send(channel(i, self.separate), updates)?;
        }
        Ok(())
    }

    fn finish(&mut self, peer: &mut impl Peer, cancel: &Cancel) -> Result<(), Failure> {
        for (i, conversation) in std::mem::take(&mut self.conversations).into_iter().enumerate() {
            let started = Instant::now();
            let updates = conversation.finish(cancel)?;
            self.work += started.elapsed();
            peer.send(channel(i, self.separate), updates)?;
        }
        Ok(())
    }
}

fn channel(i: usize, separate: bool) -> Option<u16> {
    u16::try_from(i + 1).ok().filter(|_| separate)
}
