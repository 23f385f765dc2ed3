//! How a run went, recording by recording, in; the line that ends it out. Pure.

use std::{fmt, time::Duration};

/// How many recordings went which way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Transcribed, all transcripts written.
    pub done: usize,
    /// Had their transcripts.
    pub skipped: usize,
    /// Have none, and will have none if they are tried again.
    pub failed: usize,
    /// Have none, and may have one the next time.
    pub passing: usize,
    /// Were not begun, or not ended.
    pub left: usize,
    /// Audio of those that were transcribed.
    pub audio: Duration,
    /// How long it took.
    pub elapsed: Duration,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failed + self.passing;
        write!(
            f,
            "{} transcribed, {} skipped, {failed} failed",
            self.done, self.skipped
        )?;
        if self.left > 0 {
            write!(f, ", {} left", self.left)?;
        }
        let (audio, took) = (self.audio.as_secs_f64(), self.elapsed.as_secs_f64());
        write!(f, ": {audio:.1} s of audio in {took:.1} s")?;
        if self.audio.is_zero() {
            return Ok(());
        }
        write!(f, ", real-time factor {:.3}", took / audio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_and_tells_the_speed() {
        let mut tally = Tally {
            done: 12,
            skipped: 3,
            failed: 1,
            passing: 1,
            left: 0,
            audio: Duration::from_millis(400_000),
            elapsed: Duration::from_millis(50_040),
        };
        assert_eq!(
            tally.to_string(),
            "12 transcribed, 3 skipped, 2 failed: 400.0 s of audio in 50.0 s, real-time factor 0.125"
        );
        tally.left = 4;
        tally.audio = Duration::ZERO;
        assert_eq!(
            tally.to_string(),
            "12 transcribed, 3 skipped, 2 failed, 4 left: 0.0 s of audio in 50.0 s"
        );
    }
}
