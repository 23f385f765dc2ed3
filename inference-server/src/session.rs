//! The worker of a stream, whatever brings its audio: bytes in, updates out, in turn, so a slow model or a slow client slows the
//! sender down. Knows neither gRPC nor WebSockets.

use std::time::{Duration, Instant};

use tokio_util::bytes::Bytes;

use crate::{
    admission::Permit,
    audio::{AudioStream, SAMPLE_RATE},
    model::Model,
    pipeline::{Cancel, Conversation, LiveOptions, Options, Update},
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

    /// Sends news to it, no faster than it takes them. Blocks.
    fn send(&mut self, updates: Vec<Update>) -> Result<(), Failure>;
}

/// How a stream went.
pub struct Outcome {
    /// Length of its audio.
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
    pub audio: AudioStream,
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
        let (mut samples, mut work) = (0_usize, Duration::ZERO);
        let run = || -> Result<(), Failure> {
            let mut conversation = Conversation::new(model, &options, live)?;
            while let Some(input) = peer.next()? {
                let new = match &input {
                    Input::Audio(bytes) => {
                        let _timed = stages::enter(Stage::Audio);
                        audio.push(bytes)?
                    }
                    Input::Commit | Input::Clear => vec![],
                };
                samples += new.len();
                let started = Instant::now();
                let mut updates = conversation.push(&new, cancel)?;
                match input {
                    Input::Audio(_) => {}
                    Input::Commit => updates.extend(conversation.commit(cancel)?),
                    Input::Clear => conversation.clear(),
                }
                work += started.elapsed();
                peer.send(updates)?;
            }
            let rest = audio.finish()?;
            samples += rest.len();
            let started = Instant::now();
            let mut updates = conversation.push(&rest, cancel)?;
            updates.extend(conversation.finish(cancel)?);
            work += started.elapsed();
            peer.send(updates)
        };
        let end = run();
        Outcome {
            audio: Duration::from_secs_f64(samples as f64 / f64::from(SAMPLE_RATE)),
            work,
            end,
        }
    }
}
