//! The tokens of one window in; stretches of tokens with their times out. Pure.
//!
//! Source: `openai/whisper`, `whisper/transcribe.py`, where it slices at pairs of timestamps. Different here: windows do
//! not begin at the last timestamp, so a stretch that has no end yet lasts to the end of the window instead of being dropped.

/// A token of 0.02 s: two frames of 10 ms.
const SECONDS_PER_TIMESTAMP: f64 = 0.02;

/// Tokens said one after another, and when, in seconds from the start of the window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stretch {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) tokens: Vec<u32>,
}

/// Splits at the timestamps; without any, all is one stretch of the window's length `seconds`.
///
/// Times are within the window and never run backwards, whatever the model says.
pub(super) fn split(tokens: &[u32], timestamp_begin: Option<u32>, seconds: f64) -> Vec<Stretch> {
    let (mut stretches, mut text, mut start, mut latest) = (Vec::new(), Vec::new(), 0.0, 0.0f64);
    let mut close = |text: &mut Vec<u32>, start: f64, end: f64| {
        if !text.is_empty() {
            stretches.push(Stretch {
                start,
                end,
                tokens: std::mem::take(text),
            });
        }
    };
    for &token in tokens {
        match timestamp_begin.and_then(|begin| token.checked_sub(begin)) {
            Some(steps) => {
                latest = (f64::from(steps) * SECONDS_PER_TIMESTAMP).clamp(latest, latest.max(seconds));
                close(&mut text, start, latest);
                start = latest;
            }
            None => text.push(token),
        }
    }
    close(&mut text, start, seconds.max(start));
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(start: f64, end: f64, tokens: &[u32]) -> Stretch {
        Stretch {
            start,
            end,
            tokens: tokens.to_vec(),
        }
    }

    #[test]
    fn pairs_of_timestamps_are_the_times() {
        let tokens = [1000, 1, 2, 1050, 1100, 3, 1150];
        assert_eq!(
            split(&tokens, Some(1000), 30.0),
            [stretch(0.0, 1.0, &[1, 2]), stretch(2.0, 3.0, &[3])]
        );
    }

    #[test]
    fn without_timestamps_the_window_is_the_time() {
        assert_eq!(split(&[1, 2], Some(1000), 2.5), [stretch(0.0, 2.5, &[1, 2])]);
        assert_eq!(split(&[1, 2], None, 2.5), [stretch(0.0, 2.5, &[1, 2])]);
        assert_eq!(split(&[], None, 2.5), []);
    }

    #[test]
    fn a_stretch_without_an_end_is_kept() {
        let tokens = [1000, 1, 1050, 1060, 2];
        assert_eq!(
            split(&tokens, Some(1000), 4.0),
            [stretch(0.0, 1.0, &[1]), stretch(1.2, 4.0, &[2])]
        );
    }

    #[test]
    fn times_beyond_the_audio_or_backwards_are_mended() {
        let tokens = [1400, 1, 1500, 1100, 2, 1050];
        let stretches = split(&tokens, Some(1000), 9.0);
        assert_eq!(stretches, [stretch(8.0, 9.0, &[1]), stretch(9.0, 9.0, &[2])]);
    }
}
