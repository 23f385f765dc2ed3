//! The tokens of one window in; stretches of tokens with their times, and where the next window begins, out. Pure.
//!
//! Source: `openai/whisper`, `whisper/transcribe.py`, where it slices at pairs of timestamps.

/// A token of 0.02 s: two frames of 10 ms.
pub(crate) const SECONDS_PER_TIMESTAMP: f64 = 0.02;

/// Tokens said one after another, and when, in seconds from the start of the audio.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Stretch {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) tokens: Vec<u32>,
    /// The words of the tokens, in order, where they were asked for.
    pub(super) words: Vec<Timing>,
}

/// A word, and when it was said, in seconds from the start of the audio.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Timing {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) text: String,
    pub(super) tokens: Vec<u32>,
    pub(super) probability: f32,
}

/// Splits at the timestamps, which are left out; without any, all is one stretch of the window's length `seconds`. The window
/// begins at `offset` seconds.
///
/// For windows that do not begin at the last timestamp of the one before: a stretch that has no end yet lasts to the end of
/// the window instead of being dropped. Times are within the window and never run backwards, whatever the model says.
pub(super) fn split(tokens: &[u32], timestamp_begin: Option<u32>, offset: f64, seconds: f64) -> Vec<Stretch> {
    let (mut stretches, mut text, mut start, mut latest) = (Vec::new(), Vec::new(), 0.0, 0.0f64);
    let mut close = |text: &mut Vec<u32>, start: f64, end: f64| {
        if !text.is_empty() {
            stretches.push(Stretch {
                start: offset + start,
                end: offset + end,
                tokens: std::mem::take(text),
                words: vec![],
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

/// What a window of the sequential long form said, and how the audio goes on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sliced {
    /// In order; their tokens hold the timestamps.
    pub(super) stretches: Vec<Stretch>,
    /// Frames of 10 ms from the window's start to the next window's.
    pub(super) advance: usize,
    /// Whether the window ends in one timestamp: nothing is said after it.
    pub(super) single_ending: bool,
}

/// Slices a window of `frames` frames, which begins at `offset` seconds, exactly as `transcribe` does.
pub(super) fn slice(tokens: &[u32], timestamp_begin: u32, offset: f64, frames: usize) -> Sliced {
    let steps = |token: u32| token.saturating_sub(timestamp_begin);
    let seconds = |token: u32| offset + f64::from(steps(token)) * SECONDS_PER_TIMESTAMP;
    let is_timestamp = |token: &u32| *token >= timestamp_begin;
    let single_ending = match tokens {
        [.., before, last] => !is_timestamp(before) && is_timestamp(last),
        _ => false,
    };
    let pairs = tokens.windows(2).enumerate();
    let mut ends: Vec<usize> = pairs
        .filter(|(_, pair)| pair.iter().all(is_timestamp))
        .map(|(i, _)| i + 1)
        .collect();
    if ends.is_empty() {
        let last = tokens.iter().rev().find(|token| is_timestamp(token));
        let end = match last.filter(|last| steps(**last) > 0) {
            Some(&last) => seconds(last),
            None => offset + frames as f64 / 100.0,
        };
        let all = Stretch {
            start: offset,
            end,
            tokens: tokens.to_vec(),
            words: vec![],
        };
        return Sliced {
            stretches: vec![all],
            advance: frames,
            single_ending,
        };
    }
    let advance = match (single_ending, ends.last()) {
        (false, Some(&last)) => 2 * steps(tokens[last - 1]) as usize,
        _ => frames,
    };
    if single_ending {
        ends.push(tokens.len());
    }
    let begins = std::iter::once(0).chain(ends.iter().copied());
    let stretches = begins
        .zip(&ends)
        .map(|(begin, &end)| Stretch {
            start: seconds(tokens[begin]),
            end: seconds(tokens[end - 1]),
            tokens: tokens[begin..end].to_vec(),
            words: vec![],
        })
        .collect();
    Sliced {
        stretches,
        advance,
        single_ending,
    }
}

/// Where the last word ends; without words, where the last stretch does.
pub(super) fn end_of_words(stretches: &[Stretch]) -> Option<f64> {
    let word = stretches.iter().rev().find_map(|stretch| stretch.words.last());
    word.map(|word| word.end)
        .or(stretches.last().map(|stretch| stretch.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(start: f64, end: f64, tokens: &[u32]) -> Stretch {
        Stretch {
            start,
            end,
            tokens: tokens.to_vec(),
            words: vec![],
        }
    }

    #[test]
    fn pairs_of_timestamps_are_the_times() {
        let tokens = [1000, 1, 2, 1050, 1100, 3, 1150];
        assert_eq!(
            split(&tokens, Some(1000), 0.0, 30.0),
            [stretch(0.0, 1.0, &[1, 2]), stretch(2.0, 3.0, &[3])]
        );
    }

    #[test]
    fn without_timestamps_the_window_is_the_time() {
        assert_eq!(split(&[1, 2], Some(1000), 0.0, 2.5), [stretch(0.0, 2.5, &[1, 2])]);
        assert_eq!(split(&[1, 2], None, 0.0, 2.5), [stretch(0.0, 2.5, &[1, 2])]);
        assert_eq!(split(&[], None, 0.0, 2.5), []);
        assert_eq!(
            split(&[1, 1050], Some(1000), 60.0, 2.5),
            [stretch(60.0, 61.0, &[1])]
        );
    }

    #[test]
    fn a_stretch_without_an_end_is_kept() {
        let tokens = [1000, 1, 1050, 1060, 2];
        assert_eq!(
            split(&tokens, Some(1000), 0.0, 4.0),
            [stretch(0.0, 1.0, &[1]), stretch(1.2, 4.0, &[2])]
        );
    }

    #[test]
    fn times_beyond_the_audio_or_backwards_are_mended() {
        let tokens = [1400, 1, 1500, 1100, 2, 1050];
        let stretches = split(&tokens, Some(1000), 0.0, 9.0);
        assert_eq!(stretches, [stretch(8.0, 9.0, &[1]), stretch(9.0, 9.0, &[2])]);
    }

    #[test]
    fn a_window_goes_on_where_its_last_finished_stretch_ends() {
        let sliced = slice(&[1000, 1, 1050, 1060, 2, 1100, 1100, 3], 1000, 0.0, 3000);
        assert_eq!(
            sliced.stretches,
            [
                stretch(0.0, 1.0, &[1000, 1, 1050]),
                stretch(1.2, 2.0, &[1060, 2, 1100])
            ]
        );
        assert_eq!((sliced.advance, sliced.single_ending), (200, false));
    }

    #[test]
    fn one_timestamp_at_the_end_means_that_no_more_is_said() {
        let sliced = slice(&[1000, 1, 1050, 1060, 2, 1100], 1000, 0.0, 1200);
        assert_eq!(sliced.stretches.len(), 2);
        assert_eq!((sliced.advance, sliced.single_ending), (1200, true));
    }

    #[test]
    fn without_a_pair_all_is_one_stretch() {
        let sliced = slice(&[1000, 1, 1050], 1000, 0.0, 3000);
        assert_eq!(sliced.stretches, [stretch(0.0, 1.0, &[1000, 1, 1050])]);
        assert_eq!((sliced.advance, sliced.single_ending), (3000, true));
        assert_eq!(
            slice(&[1000, 1], 1000, 0.0, 500).stretches,
            [stretch(0.0, 5.0, &[1000, 1])]
        );
        assert_eq!(slice(&[], 1000, 0.0, 500).stretches, [stretch(0.0, 5.0, &[])]);
    }
}
