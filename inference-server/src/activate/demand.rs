//! Requests that come, get a pod and end in; how many wait and run, and since when none does, out. What the operator reads to
//! decide whether there should be pods. It holds no request and knows no pod.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tokio::{sync::watch, time::timeout};

/// What is asked of the service at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Demand {
    /// Grows when nothing becomes something, and when something becomes nothing. It begins with the time, so that no version of
    /// an activator before this one is a version of this one.
    pub version: u64,
    /// Requests that wait for a pod.
    pub waiting: usize,
    /// Requests that a pod works on.
    pub running: usize,
    /// Time since anything waited or ran, or since the start.
    pub idle_seconds: f64,
}

/// The counts; pure but for the clock that it is told.
#[derive(Clone, Copy, Debug)]
struct Counts {
    version: u64,
    waiting: usize,
    running: usize,
    idle_since: Instant,
}

impl Counts {
    fn busy(&self) -> bool {
        self.waiting + self.running > 0
    }

    /// The counts after a change of them, and whether nothing became something or the reverse.
    fn after(mut self, change: impl FnOnce(&mut Counts), now: Instant) -> (Counts, bool) {
        let before = self.busy();
        change(&mut self);
        let turned = before != self.busy();
        if turned {
            self.version += 1;
        }
        if before && !self.busy() {
            self.idle_since = now;
        }
        (self, turned)
    }

    fn demand(&self, now: Instant) -> Demand {
        let idle = now.saturating_duration_since(self.idle_since);
        Demand {
            version: self.version,
            waiting: self.waiting,
            running: self.running,
            idle_seconds: if self.busy() { 0.0 } else { idle.as_secs_f64() },
        }
    }
}

/// Why a request gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Requests that wait.
    pub waiting: usize,
    /// Requests that run.
    pub running: usize,
}

/// Counts the requests of one service; every clone counts the same.
#[derive(Clone, Debug)]
pub struct Counter {
    counts: Arc<Mutex<Counts>>,
    turned: Arc<watch::Sender<u64>>,
}

impl Default for Counter {
    fn default() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let version = u64::try_from(since_epoch.as_millis()).unwrap_or_default();
        let counts = Counts {
            version,
            waiting: 0,
            running: 0,
            idle_since: Instant::now(),
        };
        Counter {
            counts: Arc::new(Mutex::new(counts)),
            turned: Arc::new(watch::channel(version).0),
        }
    }
}

impl Counter {
    /// A request that waits from now on, if fewer than `most` do.
    pub fn wait(&self, most: usize) -> Result<Waiting, Full> {
        let mut full = None;
        self.change(|counts| {
            if counts.waiting >= most {
                full = Some(Full {
                    waiting: counts.waiting,
                    running: counts.running,
                });
            } else {
                counts.waiting += 1;
            }
        });
        match full {
            Some(full) => Err(full),
            None => Ok(Waiting {
                counter: self.clone(),
                over: false,
            }),
        }
    }

    /// What is asked at this moment.
    pub fn now(&self) -> Demand {
        self.read().demand(Instant::now())
    }

    /// What is asked, as soon as that has another version than `since`, or after `patience`.
    pub async fn after(&self, since: Option<u64>, patience: Duration) -> Demand {
        let mut turned = self.turned.subscribe();
        // Subscribed first: what turns from here on is not missed.
        if since == Some(self.now().version) {
            let _ = timeout(patience, turned.changed()).await;
        }
        self.now()
    }

    /// Ends when nothing waits or runs.
    pub async fn idle(&self) {
        let mut turned = self.turned.subscribe();
        while self.read().busy() {
            // The sender lives in `self`.
            let _ = turned.changed().await;
        }
    }

    fn read(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (after, turned) = counts.after(change, Instant::now());
        *counts = after;
        if turned {
            self.turned.send_replace(after.version);
        }
    }
}

/// A request that waits; one that is dropped waits no more.
#[derive(Debug)]
pub struct Waiting {
    counter: Counter,
    over: bool,
}

impl Waiting {
    /// A pod has it.
    pub fn run(mut self) -> Running {
        self.over = true;
        self.counter.change(|counts| {
            counts.waiting -= 1;
            counts.running += 1;
        });
        Running(self.counter.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.over {
            self.counter.change(|counts| counts.waiting -= 1);
        }
    }
}

/// A request that a pod works on; dropping it ends that.
#[derive(Debug)]
pub struct Running(Counter);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.change(|counts| counts.running -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nothing_and_something_turn_the_version() {
        let counter = Counter::default();
        let version = counter.now().version;
        let first = counter.wait(9).unwrap();
        assert_eq!(counter.now().version, version + 1);
        let second = counter.wait(9).unwrap();
        let running = first.run();
        let now = counter.now();
        assert_eq!((now.version, now.waiting, now.running), (version + 1, 1, 1));
        assert_eq!(now.idle_seconds, 0.0);
        drop(second);
        assert_eq!(counter.now().version, version + 1);
        drop(running);
        let now = counter.now();
        assert_eq!((now.version, now.waiting, now.running), (version + 2, 0, 0));
    }

    #[test]
    fn idleness_begins_when_the_last_one_ends() {
        let start = Instant::now();
        let counts = Counts {
            version: 1,
            waiting: 0,
            running: 0,
            idle_since: start,
        };
        let second = Duration::from_secs(1);
        assert_eq!(counts.demand(start + second).idle_seconds, 1.0);
        let (busy, turned) = counts.after(|counts| counts.waiting += 1, start + second * 2);
        assert!(turned);
        assert_eq!(busy.demand(start + second * 9).idle_seconds, 0.0);
        let (idle, _) = busy.after(|counts| counts.waiting -= 1, start + second * 10);
        assert_eq!(idle.demand(start + second * 13).idle_seconds, 3.0);
    }

    #[test]
    fn no_more_wait_than_may() {
        let counter = Counter::default();
        let one = counter.wait(1).unwrap();
        let full = Full {
            waiting: 1,
            running: 0,
        };
        assert_eq!(counter.wait(1).unwrap_err(), full);
        let _running = one.run();
        assert!(
            counter.wait(1).is_ok(),
            "who runs takes no place of those who wait"
        );
    }

    #[tokio::test]
    async fn who_knows_the_version_waits_for_the_next() {
        let counter = Counter::default();
        let known = counter.now().version;
        let second = Duration::from_secs(3600);
        assert_eq!(
            counter.after(None, second).await.version,
            known,
            "who knows none is told at once"
        );
        let asking = {
            let counter = counter.clone();
            tokio::spawn(async move { counter.after(Some(known), second).await })
        };
        tokio::task::yield_now().await;
        let _waiting = counter.wait(1).unwrap();
        let told = asking.await.unwrap();
        assert_eq!((told.version, told.waiting), (known + 1, 1));
        assert_eq!(counter.after(Some(known), second).await.version, known + 1);
        assert_eq!(
            counter.after(Some(known + 1), Duration::ZERO).await.version,
            known + 1
        );
    }
}
