//! A caller's wish to stop in; `Err(Stopped)` out, at the next point where the work looks.
//! Holds no timer and no thread: the work asks, between decoder steps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// Tells running work to stop; every clone is the same switch.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    cancelled: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Cancel {
    /// A switch that is not thrown and has no deadline.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same switch, with a deadline (`None`: none). Clones made before keep theirs.
    pub fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Throws the switch, for all clones and for good.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// `Err` once cancelled or past the deadline.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Stopped::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Stopped::DeadlineExceeded),
            _ => Ok(()),
        }
    }
}

/// Why work stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The caller went away.
    #[error("cancelled")]
    Cancelled,
    /// The deadline passed.
    #[error("the deadline passed before the transcription was done")]
    DeadlineExceeded,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clone_is_the_same_switch() {
        let cancel = Cancel::new();
        let clone = cancel
            .clone()
            .with_deadline(Some(Instant::now() + Duration::from_secs(3600)));
        assert_eq!(clone.check(), Ok(()));
        cancel.cancel();
        assert_eq!(clone.check(), Err(Stopped::Cancelled));
    }

    #[test]
    fn a_deadline_that_has_passed_stops() {
        let cancel = Cancel::new().with_deadline(Some(Instant::now()));
        assert_eq!(cancel.check(), Err(Stopped::DeadlineExceeded));
        assert_eq!(cancel.with_deadline(None).check(), Ok(()));
    }
}
