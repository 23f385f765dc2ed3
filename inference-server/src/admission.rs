//! Requests in; permits to work out: at most N at once, first come first served, with a bounded number waiting.
//! Knows neither clocks of requests nor what the work is. Leaving the queue is dropping: a request that is gone holds nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// A guess of how long one request takes, until one has been measured.
const FIRST_GUESS: Duration = Duration::from_secs(1);
/// Bounds of the delay that is suggested to a refused client.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The one queue that every request of the server goes through.
#[derive(Debug)]
pub struct Admission {
    max_running: usize,
    queue_limit: usize,
    permits: Arc<Semaphore>,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    places: usize,
    running: usize,
    service_time: Duration,
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
    place: Place,
    _semaphore: OwnedSemaphorePermit,
}

impl Admission {
    /// `max_running` permits (at least one) and `queue_limit` places to wait in.
    pub fn new(max_running: usize, queue_limit: usize) -> Arc<Self> {
        let max_running = max_running.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Admission {
            max_running,
            queue_limit,
            permits: Arc::new(Semaphore::new(max_running)),
            state: watch::Sender::new(State {
                places: 0,
                running: 0,
                service_time: FIRST_GUESS,
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

    /// Returns when nothing runs and nothing waits.
    pub async fn idle(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.state.subscribe().wait_for(|state| state.places == 0).await;
    }

    fn full(&self) -> Full {
        let state = *self.state.borrow();
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
            queued: self.places - self.running,
        }
    }
}

impl Place {
    /// Waits for a permit, behind those who asked before. Dropping the future leaves the queue.
    pub async fn permit(self) -> Permit {
        let permits = self.admission.permits.clone();
        let semaphore = permits
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        self.admission.state.send_modify(|state| state.running += 1);
        Permit {
            since: Instant::now(),
            place: self,
            _semaphore: semaphore,
        }
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
            state.running -= 1;
            // A moving average: the newest request weighs one fifth.
            state.service_time = (state.service_time * 4 + took) / 5;
        });
    }
}

#[cfg(test)]
mod tests;
