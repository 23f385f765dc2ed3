//! Recordings of a folder or a bucket in; their transcripts in another out, by a service that runs elsewhere. The work of a Job.
//!
//! ```text
//! places -list-> Plan -work-> (read, ask the service, write) each -> Tally
//! ```
//!
//! `names` says what belongs to which recording, `plan` what is still to do, `verdict` what an answer means; all of them are pure.
//! `place` reads and writes (`folder`, `objects`), `service` asks once, `work` does one recording, and this file all of them, so
//! many at a time. What was done stays done: a run that ends early is gone on with by the next.

mod error;
mod folder;
mod names;
mod objects;
mod place;
mod plan;
mod service;
mod tally;
mod transcript;
mod verdict;
mod work;

use std::{
    collections::BTreeSet,
    io::Write,
    pin::pin,
    sync::Mutex,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

pub use error::BatchError;
pub use names::{EXTENSIONS, Shard, taken_extension};
pub use place::{Place, Server};
pub use service::{Address, Asked};
pub use tally::Tally;

use crate::{render::Format, run::signals};
use place::{Listed, Store};
use plan::{Kept, Plan, Todo};
use service::Service;
use work::{Outcome, Work};

/// What `parlance-server batch` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where recordings are.
    pub from: Place,
    /// Where transcripts go.
    pub to: Place,
    /// Where buckets are.
    pub server: Server,
    /// Who transcribes.
    pub address: Address,
    /// How.
    pub asked: Asked,
    /// In which shapes; each once, and at least one.
    pub formats: Vec<Format>,
    /// What recordings end in.
    pub extensions: Vec<String>,
    /// Which of them are this run's.
    pub shard: Shard,
    /// Recordings that are under way at a time.
    pub parallel: usize,
    /// The largest recording that is sent, in bytes.
    pub max_message_size: u64,
    /// How long the service may be busy or away.
    pub retry_for: Duration,
    /// After SIGTERM, the longest time for what is under way.
    pub drain_timeout: Duration,
}

/// Transcribes what has no transcripts yet, and says at the end how it went.
pub fn run(request: &Request, out: &mut dyn Write) -> Result<(), BatchError> {
    let began = |error: &dyn std::fmt::Display| BatchError::Begin(format!("failed to begin: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let tally = runtime.map_err(|e| began(&e))?.block_on(async {
        let told = signals().map_err(|e| began(&e))?;
        all(request, told).await
    })?;
    writeln!(out, "{tally}").map_err(|e| began(&e))
}

async fn all(request: &Request, told: mpsc::Receiver<()>) -> Result<Tally, BatchError> {
    check(request)?;
    let started = Instant::now();
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    let work = Work {
        recordings: Store::of_recordings(&request.from, &request.server).map_err(BatchError::Begin)?,
        transcripts: Store::of_transcripts(&request.to, &request.server).map_err(BatchError::Begin)?,
        service: Service::new(&request.address, &request.asked).map_err(BatchError::Begin)?,
        formats: request.formats.clone(),
        task: request.asked.task,
        max_message_size: request.max_message_size,
        retry_for: request.retry_for,
        stop: stop.clone(),
        heard: Mutex::new(started),
    };
    tokio::spawn(end_when_told(
        told,
        stop.clone(),
        cut.clone(),
        request.drain_timeout,
    ));
    let mut run = Run {
        tally: Tally::default(),
        why: None,
        stop: stop.clone(),
    };
    let plan = tokio::select! {
        plan = run.look(request, &work) => plan.map_err(BatchError::Begin)?,
        () = stop.cancelled() => return Err(BatchError::Ended(run.tally)),
    };
    run.tally.left = plan.todo.len();
    tokio::select! {
        () = run.each(plan, &work, request.parallel) => {}
        () = cut.cancelled() => tracing::warn!("out of time: what is under way is given up"),
    }
    run.tally.elapsed = started.elapsed();
    run.outcome()
}

/// Refuses what makes no sense, before anything is read.
fn check(request: &Request) -> Result<(), BatchError> {
    let Shard { index, count } = request.shard;
    if index >= count {
        return Err(BatchError::Begin(format!(
            "there is no shard {index} of {count}, which begin with 0: --shards must be the Job's completions"
        )));
    }
    if request.asked.word_timestamps == Some(true) && !request.formats.contains(&Format::Json) {
        return Err(BatchError::Begin(
            "--word-timestamps needs --format json: the other formats have no times of words".to_owned(),
        ));
    }
    Ok(())
}

/// The first signal: nothing new is begun. The second, or the end of the time: what is under way is given up.
async fn end_when_told(
    mut told: mpsc::Receiver<()>,
    stop: CancellationToken,
    cut: CancellationToken,
    limit: Duration,
) {
    if told.recv().await.is_some() {
        tracing::info!("told to end: nothing new is begun");
        stop.cancel();
        tokio::select! { () = sleep(limit) => {}, _ = told.recv() => {} }
        cut.cancel();
    }
}

/// How far a run is.
struct Run {
    tally: Tally,
    /// What ended it, where it was not a signal.
    why: Option<String>,
    stop: CancellationToken,
}

impl Run {
    /// Lists both places. What cannot even be named fails.
    async fn look(&mut self, request: &Request, work: &Work) -> Result<Plan, String> {
        let mut kept = Kept::new(request.shard, &request.formats);
        let mut list = work.transcripts.list();
        while let Some(listed) = list.next().await {
            if let Listed::File(entry) = listed? {
                kept.see(&entry);
            }
        }
        let (mut plan, mut list) = (Plan::default(), work.recordings.list());
        while let Some(listed) = list.next().await {
            match listed? {
                Listed::File(entry) => {
                    if names::is_recording(&entry.name, &request.extensions) && request.shard.has(&entry.name)
                    {
                        kept.judge(entry, &mut plan);
                    }
                }
                Listed::Strange { name, why } if request.shard.has(&name) => {
                    tracing::warn!(recording = name, "failed: {why}");
                    self.tally.failed += 1;
                }
                Listed::Strange { .. } => {}
            }
        }
        plan.todo.sort_by(|one, other| one.name.cmp(&other.name));
        self.tally.skipped = plan.skipped;
        tracing::info!(to_do = plan.todo.len(), skipped = plan.skipped, "listed");
        Ok(plan)
    }

    /// So many at a time, until all are done or the run is to end.
    async fn each(&mut self, plan: Plan, work: &Work, parallel: usize) {
        let all = plan.todo.len();
        let one = |todo: Todo| async move {
            let began = Instant::now();
            let outcome = work.on(&todo).await;
            (todo.name, outcome, began.elapsed())
        };
        let begun = stream::iter(plan.todo).take_until(self.stop.clone().cancelled_owned());
        let mut ended = pin!(begun.map(one).buffer_unordered(parallel));
        while let Some((name, outcome, took)) = ended.next().await {
            self.count(&name, outcome, took, all);
        }
    }

    fn count(&mut self, name: &str, outcome: Outcome, took: Duration, all: usize) {
        if !matches!(outcome, Outcome::Left | Outcome::Stop(_)) {
            self.tally.left -= 1;
        }
        let of = format!("{} of {all}", all - self.tally.left);
        match outcome {
            Outcome::Done { audio } => {
                self.tally.done += 1;
                self.tally.audio += audio;
                let (audio_seconds, seconds) = (audio.as_secs_f64(), took.as_secs_f64());
                tracing::info!(
                    recording = name,
                    audio_seconds,
                    seconds,
                    ended = of,
                    "transcribed"
                );
            }
            Outcome::Gone => {
                self.tally.skipped += 1;
                tracing::info!(recording = name, ended = of, "skipped: it is gone");
            }
            Outcome::Failed { why, passing } => {
                self.tally.failed += usize::from(!passing);
                self.tally.passing += usize::from(passing);
                tracing::warn!(recording = name, ended = of, "failed: {why}");
            }
            Outcome::Left => {}
            Outcome::Stop(why) => {
                tracing::error!(recording = name, "{why}");
                self.why.get_or_insert(why);
                self.stop.cancel();
            }
        }
    }

    fn outcome(self) -> Result<Tally, BatchError> {
        let Run { tally, why, .. } = self;
        match why {
            Some(why) => Err(BatchError::Stopped { why, tally }),
            None if tally.left > 0 => Err(BatchError::Ended(tally)),
            None if tally.failed + tally.passing > 0 => Err(BatchError::Failed(tally)),
            None => Ok(tally),
        }
    }
}

/// The formats, each once.
pub fn once(formats: Vec<Format>) -> Vec<Format> {
    let mut seen = BTreeSet::new();
    let first = |format: &Format| seen.insert(names::extension(*format));
    formats.into_iter().filter(first).collect()
}
