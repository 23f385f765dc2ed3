//! Requests in; permits to work out: at most N at once, with a bounded number waiting, first come first served within two lanes,
//! so that a clip does not wait behind hours of audio. Knows neither clocks of requests nor what the work is. Leaving the queue is
//! dropping: a request that is gone holds nothing.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

/// A guess of how long one request takes, until one has been measured.
const FIRST_GUESS: Duration = Duration::from_secs(1);
/// Bounds of the delay that is suggested to a refused client.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Audio that is longer than this is a long job.
pub const SHORT: Duration = Duration::from_secs(60);
/// A job that still holds its permit so long after its time is stuck: jobs look at their deadline at each step.
const STUCK_AFTER: Duration = Duration::from_secs(120);
/// Short jobs that may go before a long one that waits.
const PATIENCE: usize = 4;

/// The one queue that every request of the server goes through.
#[derive(Debug)]
pub struct Admission {
    max_running: usize,
    queue_limit: usize,
    state: watch::Sender<State>,
}

#[derive(Debug)]
struct State {
    places: usize,
    running: usize,
    service_time: Duration,
    /// Time that the model takes for a second of audio, as far as that is known.
    real_time_factor: Option<f64>,
    short: VecDeque<Waiter>,
    long: VecDeque<Waiter>,
    /// Short jobs that went before a long one that waits.
    overtaken: usize,
    /// When those who hold a permit must be over.
    ends: Vec<(u64, Instant)>,
    permits: u64,
}

#[derive(Debug)]
struct Waiter {
    audio: Duration,
    turn: oneshot::Sender<Slot>,
}

/// How busy the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests that hold a permit.
    pub running: usize,
    /// Requests that have a place and no permit yet: they wait, or still send their audio.
    pub queued: usize,
}

/// Every place is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Requests that run, and requests that wait.
    pub load: Load,
    /// When a place may be free, by the time that requests took lately.
    pub retry_after: Duration,
}

/// A place in the queue; dropping it leaves.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
}

/// The right to work; dropping it lets the next one in.
#[derive(Debug)]
pub struct Permit {
    since: Instant,
    audio: Duration,
    id: u64,
    // Before the place: who waits is let in first.
    slot: Option<Slot>,
    place: Place,
}

/// One of those that run; `None` once it is given back.
#[derive(Debug)]
struct Slot(Option<Arc<Admission>>);

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(admission) = self.0.take() {
            admission.state.send_modify(|state| state.running -= 1);
            admission.grant();
        }
    }
}

impl Admission {
    /// `max_running` permits (at least one) and `queue_limit` places to wait in.
    pub fn new(max_running: usize, queue_limit: usize) -> Arc<Self> {
        Arc::new(Admission {
            max_running: max_running.max(1),
            queue_limit,
            state: watch::Sender::new(State {
                places: 0,
                running: 0,
                service_time: FIRST_GUESS,
                real_time_factor: None,
                short: VecDeque::new(),
                long: VecDeque::new(),
                overtaken: 0,
                ends: Vec::new(),
                permits: 0,
            }),
        })
    }

    /// Takes a place, or says at once that there is none.
    pub fn enter(self: &Arc<Self>) -> Result<Place, Full> {
        let limit = self.max_running.saturating_add(self.queue_limit);
        let entered = self.state.send_if_modified(|state| {
            let free = state.places < limit;
            state.places += usize::from(free);
            free
        });
        if entered {
            Ok(Place {
                admission: self.clone(),
            })
        } else {
            Err(self.full())
        }
    }

    /// How many run and wait at this moment.
    pub fn load(&self) -> Load {
        self.state.borrow().load()
    }

    /// Audio of the requests that wait for a permit, as far as its length is known.
    pub fn queued_audio(&self) -> Duration {
        let state = self.state.borrow();
        state
            .short
            .iter()
            .chain(&state.long)
            .map(|waiter| waiter.audio)
            .sum()
    }

    /// Why a job of so much audio had better not wait: the work before it takes longer than it may.
    pub fn overdue(&self, audio: Duration, time_left: Duration) -> Option<Full> {
        let wait = self.expected_wait(audio);
        (wait > time_left).then(|| Full {
            load: self.load(),
            retry_after: wait.clamp(RETRY_AFTER.0, RETRY_AFTER.1),
        })
    }

    /// How long a job would wait for its permit, by the work that is before it; nothing until that has been measured.
    fn expected_wait(&self, audio: Duration) -> Duration {
        let state = self.state.borrow();
        if state.running < self.max_running {
            return Duration::ZERO;
        }
        let before =
            |lane: &VecDeque<Waiter>| -> f64 { lane.iter().map(|waiter| waiter.audio.as_secs_f64()).sum() };
        let long = if audio > SHORT { before(&state.long) } else { 0.0 };
        let work = (before(&state.short) + long) * state.real_time_factor.unwrap_or(0.0);
        Duration::try_from_secs_f64(work / self.max_running as f64).unwrap_or(Duration::MAX)
    }

    /// Whether every permit is held by a job that should have ended long ago: nothing will be done any more.
    pub fn stuck(&self) -> bool {
        let (state, now) = (self.state.borrow(), Instant::now());
        let late = state
            .ends
            .iter()
            .filter(|(_, end)| now.saturating_duration_since(*end) > STUCK_AFTER);
        late.count() >= self.max_running
    }

    /// The model is expected to take so long for a second of audio, until that has been measured.
    pub fn expect(&self, real_time_factor: f64) {
        self.state
            .send_modify(|state| state.real_time_factor = Some(real_time_factor));
    }

    /// The model took so long for so much audio.
    pub fn measured(&self, audio: Duration, work: Duration) {
        if audio.is_zero() {
            return;
        }
        let new = work.as_secs_f64() / audio.as_secs_f64();
        self.state.send_modify(|state| {
            let old = state.real_time_factor.unwrap_or(new);
            state.real_time_factor = Some((old * 4.0 + new) / 5.0);
        });
    }

    /// Lets in who is next, as long as there is room.
    fn grant(self: &Arc<Self>) {
        loop {
            let mut next = None;
            self.state.send_if_modified(|state| {
                if state.running < self.max_running {
                    next = state.next();
                }
                state.running += usize::from(next.is_some());
                next.is_some()
            });
            let Some(waiter) = next else {
                return;
            };
            if let Err(mut slot) = waiter.turn.send(Slot(Some(self.clone()))) {
                // It is gone. The next one is let in here, and not at the end of its slot.
                slot.0 = None;
                self.state.send_modify(|state| state.running -= 1);
            }
        }
    }

    /// Returns when nothing runs and nothing waits.
    pub async fn idle(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.state.subscribe().wait_for(|state| state.places == 0).await;
    }

    fn full(&self) -> Full {
        let state = self.state.borrow();
        let ahead = u32::try_from(state.load().queued + 1).unwrap_or(u32::MAX);
        let abreast = u32::try_from(self.max_running).unwrap_or(u32::MAX);
        let estimate = state.service_time.saturating_mul(ahead) / abreast;
        Full {
            load: state.load(),
            retry_after: estimate.clamp(RETRY_AFTER.0, RETRY_AFTER.1),
        }
    }
}

impl State {
    fn load(&self) -> Load {
        Load {
            running: self.running,
            queued: self.places.saturating_sub(self.running),
        }
    }

    /// Whose turn it is: short jobs first, but a long one that waits is overtaken only so often.
    fn next(&mut self) -> Option<Waiter> {
        if self.long.is_empty() {
            self.overtaken = 0;
        }
        if self.overtaken < PATIENCE
            && let Some(waiter) = self.short.pop_front()
        {
            self.overtaken += usize::from(!self.long.is_empty());
            return Some(waiter);
        }
        self.overtaken = 0;
        self.long.pop_front().or_else(|| self.short.pop_front())
    }
}

impl Place {
    /// Waits for a permit to work on so much audio (zero: not known, or live), behind those of its lane who asked before.
    /// Dropping the future leaves the queue.
    pub async fn permit(self, audio: Duration) -> Permit {
        let slot = self.wait(audio, false).await;
        let mut id = 0;
        self.admission.state.send_modify(|state| {
            state.permits += 1;
            id = state.permits;
        });
        Permit {
            since: Instant::now(),
            audio,
            id,
            slot: Some(slot),
            place: self,
        }
    }

    async fn wait(&self, audio: Duration, first: bool) -> Slot {
        let admission = &self.admission;
        let (turn, mine) = oneshot::channel();
        let waiter = Waiter { audio, turn };
        admission.state.send_modify(|state| {
            let lane = if audio > SHORT {
                &mut state.long
            } else {
                &mut state.short
            };
            // Those who have left are not in the way, nor in the figures.
            lane.retain(|waiter| !waiter.turn.is_closed());
            if first {
                lane.push_front(waiter);
            } else {
                lane.push_back(waiter);
            }
        });
        admission.grant();
        mine.await.expect("a waiter is answered or stays in its lane")
    }
}

impl Permit {
    /// When the work must be over; see [`Admission::stuck`].
    pub fn must_end_by(&self, end: Instant) {
        self.place
            .admission
            .state
            .send_modify(|state| state.ends.push((self.id, end)));
    }

    /// Between two parts of a long job: lets short ones go first, if any wait. Says whether any did.
    pub async fn let_short_ones_pass(&mut self) -> bool {
        let waiting = {
            let state = self.place.admission.state.borrow();
            state.short.iter().any(|waiter| !waiter.turn.is_closed())
        };
        if self.audio <= SHORT || !waiting {
            return false;
        }
        self.slot = None;
        self.slot = Some(self.place.wait(self.audio, true).await);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.state.send_modify(|state| state.places -= 1);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        self.place.admission.state.send_modify(|state| {
            // A moving average: the newest request weighs one fifth.
            state.service_time = (state.service_time * 4 + took) / 5;
            state.ends.retain(|(id, _)| *id != self.id);
        });
        // Before the place, so that nobody is refused while a permit is free.
        self.slot = None;
    }
}

#[cfg(test)]
mod tests;
