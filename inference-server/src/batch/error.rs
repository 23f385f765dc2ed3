//! Why a run of the batch did not transcribe everything, as a sentence and an exit code.

use super::tally::Tally;

/// What ended a run, or what is missing at its end.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// It could not begin.
    #[error("{0}")]
    Begin(String),
    /// Something that every recording would meet.
    #[error("{why}; {tally}")]
    Stopped {
        /// What it met.
        why: String,
        /// How far it came.
        tally: Tally,
    },
    /// It came to its end, and some recordings have no transcripts.
    #[error("{0}")]
    Failed(Tally),
    /// It was told to end.
    #[error("told to end, the next run goes on; {0}")]
    Ended(Tally),
}

impl BatchError {
    /// 1: another run may do better. 3: it will not. 143, as of a program that SIGTERM ends: it was told to.
    pub fn exit_code(&self) -> u8 {
        match self {
            BatchError::Begin(_) | BatchError::Stopped { .. } => 1,
            BatchError::Failed(tally) if tally.passing == 0 => 3,
            BatchError::Failed(_) => 1,
            BatchError::Ended(_) => 143,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_run_cannot_change_has_a_code_of_its_own() {
        let failed = |failed, passing| {
            let tally = Tally {
                failed,
                passing,
                ..Tally::default()
            };
            BatchError::Failed(tally).exit_code()
        };
        assert_eq!((failed(2, 0), failed(2, 1), failed(0, 1)), (3, 1, 1));
        assert_eq!(BatchError::Ended(Tally::default()).exit_code(), 143);
    }
}
