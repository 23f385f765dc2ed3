//! One recording in; its transcripts in their place, or a complaint, out. Waits for the service as long as there is hope.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::body::Bytes;
use backon::{BackoffBuilder, ExponentialBuilder};
use tokio_util::sync::CancellationToken;

use super::{
    names,
    place::{Fault, Store},
    plan::Todo,
    service::Service,
    transcript::Heard,
    verdict::Verdict,
};
use crate::{pipeline::Task, render::Format};

/// How often work on a recording may go wrong.
const ATTEMPTS: usize = 3;
/// The first and the longest wait where the service does not say when to come back.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// What all recordings of a run share.
#[derive(Debug)]
pub struct Work {
    /// Where recordings are.
    pub recordings: Store,
    /// Where transcripts go.
    pub transcripts: Store,
    /// Who transcribes.
    pub service: Service,
    /// In which shapes.
    pub formats: Vec<Format>,
    /// The task that is asked for.
    pub task: Option<Task>,
    /// The largest recording that is sent.
    pub max_message_size: u64,
    /// How long the service may be busy or away.
    pub retry_for: Duration,
    /// Nothing new is to be begun.
    pub stop: CancellationToken,
    /// When the service last heard a recording.
    pub heard: Mutex<Instant>,
}

/// How it went with a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has its transcripts.
    Done {
        /// Its length.
        audio: Duration,
    },
    /// It is gone.
    Gone,
    /// It has none.
    Failed {
        /// Why.
        why: String,
        /// Whether the next run may do better.
        passing: bool,
    },
    /// It has none because the run is to end.
    Left,
    /// It has none, and neither will any other.
    Stop(String),
}

impl Work {
    /// Transcribes a recording and writes what is kept of it.
    pub async fn on(&self, todo: &Todo) -> Outcome {
        let outcome = match self.transcribe(&todo.name).await {
            Ok(outcome) | Err(outcome) => outcome,
        };
        let complaint = names::complaint(&todo.name);
        let kept = match &outcome {
            Outcome::Failed { why, .. } => self.transcripts.write(&complaint, format!("{why}\n")).await,
            Outcome::Done { .. } if todo.complained => self.transcripts.remove(&complaint).await,
            _ => Ok(()),
        };
        match kept {
            Err(Fault::Place(why)) => Outcome::Stop(why),
            Err(Fault::File(why) | Fault::Now(why)) => {
                tracing::warn!(file = complaint, "{why}");
                outcome
            }
            Err(Fault::Gone) | Ok(()) => outcome,
        }
    }

    async fn transcribe(&self, name: &str) -> Result<Outcome, Outcome> {
        let (audio, version) = self.recordings.read(name, self.max_message_size).await?;
        let heard = self.heard(name, audio).await;
        // What was refused may have been half of it.
        let settled = matches!(heard, Ok(_) | Err(Outcome::Failed { .. }));
        if settled && self.recordings.version(name).await? != version {
            return Err(Outcome::Failed {
                why: "it was changed while it was transcribed".to_owned(),
                passing: true,
            });
        }
        let heard = heard?;
        for format in &self.formats {
            let text = heard.written(*format, self.task);
            self.transcripts
                .write(&names::transcript(name, *format), text)
                .await?;
        }
        Ok(Outcome::Done { audio: heard.audio() })
    }

    /// Asks until the service has heard it, refuses it, fails too often at it, or was busy or away for too long.
    async fn heard(&self, name: &str, audio: Bytes) -> Result<Heard, Outcome> {
        let mut waits = ExponentialBuilder::default()
            .with_min_delay(WAITS.0)
            .with_max_delay(WAITS.1)
            .without_max_times()
            .with_jitter()
            .build();
        let (began, mut broken) = (Instant::now(), 0);
        loop {
            let verdict = match self.service.hear(audio.clone()).await {
                Ok(heard) => {
                    *self.last_heard() = Instant::now();
                    return Ok(heard);
                }
                Err(verdict) => verdict,
            };
            let ours = waits.next().unwrap_or(WAITS.1);
            let (said, wait) = match verdict {
                Verdict::Stop(why) => return Err(Outcome::Stop(why)),
                Verdict::Refused(why) => return Err(Outcome::Failed { why, passing: false }),
                Verdict::Broken(why) => {
                    broken += 1;
                    if broken == ATTEMPTS {
                        let why = format!("{why}; so it went {ATTEMPTS} times");
                        return Err(Outcome::Failed { why, passing: true });
                    }
                    (why, ours)
                }
                Verdict::Later { said, after } => {
                    let since = began.max(*self.last_heard());
                    if since.elapsed() > self.retry_for {
                        let patience = humantime::format_duration(self.retry_for);
                        return Err(Outcome::Stop(format!(
                            "the service has heard nothing for {patience} (--retry-for): {said}"
                        )));
                    }
                    (said, after.unwrap_or_default().max(ours))
                }
            };
            tracing::info!(recording = name, wait = ?wait, "{said}; trying again");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return Err(Outcome::Left),
            }
        }
    }

    fn last_heard(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Outcome {
        match fault {
            Fault::Gone => Outcome::Gone,
            Fault::File(why) => Outcome::Failed { why, passing: false },
            Fault::Now(why) => Outcome::Failed { why, passing: true },
            Fault::Place(why) => Outcome::Stop(why),
        }
    }
}
