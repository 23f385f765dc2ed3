//! What counts as speech, in durations and probabilities, in; the same checked and in samples out. Pure.

use std::time::Duration;

use super::{FRAME, VadError};
use crate::audio::SAMPLE_RATE;

/// No duration but `max_speech` may be longer.
const LONGEST: Duration = Duration::from_secs(3600);
/// How far `neg_threshold` is below `threshold` when it is not given.
const HYSTERESIS: f64 = 0.15;
/// The lowest `neg_threshold` that is not given, and so the lowest `threshold`.
const LOWEST: f64 = 0.01;

/// What counts as speech. The defaults and the meaning are those of `get_speech_timestamps` of Silero VAD 6.2.3.
///
/// The thresholds are `f64` because Python's are: a probability that is exactly one of them is decided as there.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Speech begins at this probability. 0.5.
    pub threshold: f64,
    /// Speech may end below this probability; `None`: 0.15 below `threshold`, at least 0.01.
    pub neg_threshold: Option<f64>,
    /// Speech that is not longer than this is none. 250 ms.
    pub min_speech: Duration,
    /// Speech ends when it has been below `neg_threshold` for so long. 100 ms.
    pub min_silence: Duration,
    /// Added to either end of a stretch of speech; two that then would overlap meet in their middle. 30 ms.
    pub speech_pad: Duration,
    /// Longer speech is split at its longest pause of more than 98 ms, or where it gets too long if it has none;
    /// `None`: it is not split. The pads count.
    pub max_speech: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            threshold: 0.5,
            neg_threshold: None,
            min_speech: Duration::from_millis(250),
            min_silence: Duration::from_millis(100),
            speech_pad: Duration::from_millis(30),
            max_speech: None,
        }
    }
}

/// [`Settings`] that have been checked; only [`Settings::limits`] makes them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub(super) threshold: f64,
    pub(super) neg_threshold: f64,
    /// In samples, as all below. Speech must be longer.
    pub(super) min_speech: usize,
    /// Silence must be at least so long.
    pub(super) min_silence: usize,
    pub(super) speech_pad: usize,
    /// Speech without its pads that is longer is split.
    pub(super) max_speech: usize,
}

impl Settings {
    /// Checks the settings; the error names the one that does not fit.
    pub fn limits(&self) -> Result<Limits, VadError> {
        self.check().map_err(VadError::InvalidSettings)
    }

    fn check(&self) -> Result<Limits, String> {
        let threshold = self.threshold;
        if !(LOWEST..=1.0).contains(&threshold) {
            return Err(format!("a threshold of {threshold}: from {LOWEST} to 1"));
        }
        let neg_threshold = match self.neg_threshold {
            Some(given) if !(0.0..=threshold).contains(&given) => {
                return Err(format!(
                    "a negative threshold of {given}: from 0 to the threshold of {threshold}"
                ));
            }
            Some(given) => given,
            None => (threshold - HYSTERESIS).max(LOWEST),
        };
        for (name, duration) in [
            ("least speech", self.min_speech),
            ("least silence", self.min_silence),
            ("speech pad", self.speech_pad),
        ] {
            if duration > LONGEST {
                return Err(format!("a {name} of {duration:?}: at most {LONGEST:?}"));
            }
        }
        let (min_speech, speech_pad) = (samples(self.min_speech), samples(self.speech_pad));
        let max_speech = match self.max_speech {
            None => usize::MAX,
            Some(longest) => samples(longest)
                .checked_sub(FRAME + 2 * speech_pad)
                .filter(|&left| left > min_speech)
                .ok_or_else(|| {
                    format!(
                        "a longest speech of {longest:?}: longer than the least speech of {:?}, two pads of {:?} and 32 ms",
                        self.min_speech, self.speech_pad
                    )
                })?,
        };
        Ok(Limits {
            threshold,
            neg_threshold,
            min_speech,
            min_silence: nanosamples(self.min_silence).div_ceil(NANOS) as usize,
            speech_pad,
            max_speech,
        })
    }
}

const NANOS: u128 = 1_000_000_000;

fn nanosamples(duration: Duration) -> u128 {
    duration.as_nanos() * u128::from(SAMPLE_RATE)
}

/// Whole samples of a duration.
fn samples(duration: Duration) -> usize {
    usize::try_from(nanosamples(duration) / NANOS).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_defaults_are_those_of_silero() {
        let limits = Settings::default().limits().unwrap();
        let expected = Limits {
            threshold: 0.5,
            neg_threshold: 0.35,
            min_speech: 4_000,
            min_silence: 1_600,
            speech_pad: 480,
            max_speech: usize::MAX,
        };
        assert_eq!(limits, expected);
        let low = Settings {
            threshold: 0.1,
            max_speech: Some(30_000 * MS),
            ..Settings::default()
        };
        let limits = low.limits().unwrap();
        assert_eq!(
            (limits.neg_threshold, limits.max_speech),
            (0.01, 480_000 - 512 - 960)
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let with = |change: &dyn Fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings
                .limits()
                .map_err(|e| e.to_string())
                .map(|limits| limits.max_speech)
        };
        for (change, problem) in [
            (
                &(|s: &mut Settings| s.threshold = 0.0) as &dyn Fn(&mut Settings),
                "voice activity: a threshold of 0: from 0.01 to 1",
            ),
            (&|s| s.threshold = 1.01, "a threshold of 1.01"),
            (&|s| s.threshold = f64::NAN, "a threshold of NaN"),
            (
                &|s| s.neg_threshold = Some(0.6),
                "a negative threshold of 0.6: from 0 to the threshold of 0.5",
            ),
            (&|s| s.neg_threshold = Some(-0.1), "a negative threshold of -0.1"),
            (
                &|s| s.neg_threshold = Some(f64::NAN),
                "a negative threshold of NaN",
            ),
            (
                &|s| s.min_speech = Duration::MAX,
                "a least speech of 18446744073709551615.999999999s: at most 3600s",
            ),
            (&|s| s.min_silence = 3_600_001 * MS, "a least silence of"),
            (&|s| s.speech_pad = 3_600_001 * MS, "a speech pad of"),
            (
                &|s| s.max_speech = Some(342 * MS),
                "a longest speech of 342ms: longer than the least speech of 250ms, two pads of 30ms and 32 ms",
            ),
        ] {
            let error = with(change).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        assert_eq!(with(&|s| s.max_speech = Some(343 * MS)), Ok(4_016));
        assert!(with(&|s| s.max_speech = Some(Duration::MAX)).is_ok());
        assert!(with(&|s| (s.threshold, s.neg_threshold) = (1.0, Some(1.0))).is_ok());
    }
}
