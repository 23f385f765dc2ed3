//! The stages of a request in, as they begin and end on the thread that works on it; how long each took out, for its metrics and
//! its trace. A stage says where it begins with one line, [`enter`], and knows nothing of requests: outside of one it costs nothing.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What the time of a request goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Waiting for a permit.
    Queue,
    /// Decoding the audio file.
    Audio,
    /// Finding where somebody speaks.
    Vad,
    /// Log-mel features.
    Features,
    /// The encoder.
    Encoder,
    /// The decoder: every temperature, and the times of words.
    Decoder,
    /// A model of tensors, from its inputs to its outputs.
    Infer,
}

impl Stage {
    /// The name in metrics and traces.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Queue => "queue",
            Stage::Audio => "audio",
            Stage::Vad => "vad",
            Stage::Features => "features",
            Stage::Encoder => "encoder",
            Stage::Decoder => "decoder",
            Stage::Infer => "infer",
        }
    }

    /// Whether it runs piece by piece, in between the others, so that its runs are told as one.
    fn in_pieces(self) -> bool {
        matches!(self, Stage::Audio | Stage::Vad)
    }
}

/// Runs that are told one by one; an hour of audio has some hundreds.
const MAX_RUNS: usize = 512;

/// A stage at work, once or piece by piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// Which stage.
    pub stage: Stage,
    /// When it began.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
    /// How much of the time between was its own.
    pub busy: Duration,
}

/// What the stages of a request took so far.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// The runs, in the order in which they ended; those in pieces where their first piece did.
    pub runs: Vec<Run>,
    /// All of each stage that ran.
    pub busy: Vec<(Stage, Duration)>,
}

/// The stages of one request; every clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Stages(Arc<Mutex<Taken>>);

thread_local! {
    /// The request that this thread works on.
    static CURRENT: RefCell<Option<Stages>> = const { RefCell::new(None) };
}

impl Stages {
    /// The request's stages run on this thread, as long as what is returned lives.
    #[must_use]
    pub fn follow(&self) -> Followed {
        Followed(CURRENT.replace(Some(self.clone())))
    }

    /// A stage began then, and was busy for so long until now.
    pub fn add(&self, stage: Stage, began: Instant, busy: Duration) {
        let run = Run {
            stage,
            began,
            ended: Instant::now(),
            busy,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(run);
    }

    /// What they took; from now on they begin anew.
    pub fn take(&self) -> Taken {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Taken {
    fn add(&mut self, run: Run) {
        match self.busy.iter_mut().find(|(stage, _)| *stage == run.stage) {
            Some((_, busy)) => *busy += run.busy,
            None => self.busy.push((run.stage, run.busy)),
        }
        let room = self.runs.len() < MAX_RUNS;
        let before = self
            .runs
            .iter_mut()
            .find(|before| run.stage.in_pieces() && before.stage == run.stage);
        match before {
            Some(before) => {
                before.ended = run.ended;
                before.busy += run.busy;
            }
            None if room => self.runs.push(run),
            None => {}
        }
    }
}

/// Until it is dropped, the thread works on a request.
pub struct Followed(Option<Stages>);

impl Drop for Followed {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// A stage begins on this thread; it ends when what is returned is dropped.
#[must_use]
pub fn enter(stage: Stage) -> Entered {
    let current = CURRENT.with_borrow(Clone::clone);
    Entered(current.map(|stages| (stages, stage, Instant::now())))
}

/// A stage that runs.
pub struct Entered(Option<(Stages, Stage, Instant)>);

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some((stages, stage, began)) = self.0.take() {
            stages.add(stage, began, began.elapsed());
        }
    }
}

/// A stage of this thread's request began then, and was busy for only so long until now.
pub fn add(stage: Stage, began: Instant, busy: Duration) {
    if let Some(stages) = CURRENT.with_borrow(Clone::clone) {
        stages.add(stage, began, busy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_told_of_the_request_that_the_thread_works_on() {
        let (outer, inner) = (Stages::default(), Stages::default());
        drop(enter(Stage::Encoder));
        let following = outer.follow();
        drop(enter(Stage::Encoder));
        {
            let _inner = inner.follow();
            drop(enter(Stage::Decoder));
        }
        drop(enter(Stage::Features));
        drop(following);
        drop(enter(Stage::Decoder));
        let names = |stages: &Stages| stages.take().runs.iter().map(|run| run.stage).collect::<Vec<_>>();
        assert_eq!(names(&outer), [Stage::Encoder, Stage::Features]);
        assert_eq!(names(&inner), [Stage::Decoder]);
        assert_eq!(names(&outer), [], "what was taken is gone");
    }

    #[test]
    fn pieces_of_a_stage_are_one_run_and_their_time_is_added_up() {
        let stages = Stages::default();
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        stages.add(Stage::Audio, began, second);
        stages.add(Stage::Encoder, began, second);
        stages.add(Stage::Audio, began, second * 2);
        stages.add(Stage::Encoder, began, second * 4);
        let Taken { runs, busy } = stages.take();
        let told: Vec<_> = runs.iter().map(|run| (run.stage, run.busy)).collect();
        let each = [
            (Stage::Audio, second * 3),
            (Stage::Encoder, second),
            (Stage::Encoder, second * 4),
        ];
        assert_eq!(told, each);
        assert_eq!(busy, [(Stage::Audio, second * 3), (Stage::Encoder, second * 5)]);
    }

    #[test]
    fn however_long_the_audio_runs_that_are_told_are_bounded_and_time_is_not() {
        let stages = Stages::default();
        for _ in 0..MAX_RUNS * 2 {
            stages.add(Stage::Encoder, Instant::now(), Duration::from_secs(1));
        }
        let Taken { runs, busy } = stages.take();
        assert_eq!(runs.len(), MAX_RUNS);
        assert_eq!(busy, [(Stage::Encoder, Duration::from_secs(MAX_RUNS as u64 * 2))]);
    }
}
