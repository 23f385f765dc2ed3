//! The words of one window in; which of them are probably not said but invented, and where the next window begins for it, out.
//! Pure.
//!
//! Source: `openai/whisper`, `whisper/transcribe.py`, `hallucination_silence_threshold`.

use super::segments::{Stretch, Timing};

/// What belongs to no word.
const PUNCTUATION: &str = "\"'“¿([{-\"'.。,，!！?？:：”)]}、";
/// Words of a stretch that are looked at.
const LOOKED_AT: usize = 8;
/// A stretch so near to either end of its window may be invented, in seconds.
const EDGE: f64 = 2.0;
const FRAMES_PER_SECOND: f64 = 100.0;

/// One window whose words have their times.
pub(super) struct Window {
    /// The silence that counts, in seconds.
    pub(super) threshold: f64,
    /// Its first frame of 10 ms, and how many of its frames are audio.
    pub(super) seek: usize,
    pub(super) size: usize,
    /// Frames of a whole window.
    pub(super) whole: usize,
    /// Whether it ends in one timestamp: nothing is said after it.
    pub(super) single_ending: bool,
    /// Where the speech before it ended, in seconds.
    pub(super) last_speech: f64,
    /// Frames of all the audio, once they are known.
    pub(super) content: Option<usize>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The words stay. The next window begins at this frame, where it does not begin where it would without a verdict.
    Keep(Option<usize>),
    /// So many stretches at the beginning stay; the next window begins at this frame.
    Cut { keep: usize, next: usize },
    /// Silence and then words that may be invented: nothing stays, and the words are heard again from this frame on.
    Again(usize),
}

impl Window {
    pub(super) fn judge(&self, stretches: &[Stretch]) -> Verdict {
        let frames = |seconds: f64| (seconds * FRAMES_PER_SECOND).round_ties_even() as usize;
        let seconds = |frames: usize| frames as f64 / FRAMES_PER_SECOND;
        let (offset, end) = (seconds(self.seek), seconds(self.seek + self.whole));
        let mut next = None;
        if let Some(last) = super::segments::end_of_words(stretches)
            && !self.single_ending
            && last > offset
        {
            next = Some(if end - last > self.threshold {
                frames(last)
            } else {
                self.seek + self.size
            });
        }
        if let Some(first) = with_words(stretches).filter(|first| anomalous(first)) {
            let gap = first.start - offset;
            if gap > self.threshold {
                return Verdict::Again(self.seek + frames(gap));
            }
        }
        let mut before = self.last_speech;
        for (i, stretch) in stretches.iter().enumerate() {
            if stretch.words.is_empty() {
                continue;
            }
            let following = with_words(&stretches[i + 1..]);
            let after = following
                .and_then(|next| next.words.first())
                .map_or(offset + seconds(self.size), |word| word.start);
            let silence_before = stretch.start - before > self.threshold
                || stretch.start < self.threshold
                || stretch.start - offset < EDGE;
            let silence_after = after - stretch.end > self.threshold
                || following.is_some_and(anomalous)
                || end - stretch.end < EDGE;
            if anomalous(stretch) && silence_before && silence_after {
                let next = match self.content {
                    Some(content) if seconds(content) - stretch.end < self.threshold => content,
                    _ => frames((offset + 1.0).max(stretch.start)),
                };
                return Verdict::Cut { keep: i, next };
            }
            before = stretch.end;
        }
        Verdict::Keep(next)
    }
}

fn with_words(stretches: &[Stretch]) -> Option<&Stretch> {
    stretches.iter().find(|stretch| !stretch.words.is_empty())
}

/// Whether the words of a stretch are too short, too long or too improbable to have been said.
fn anomalous(stretch: &Stretch) -> bool {
    let words = stretch.words.iter();
    let words: Vec<&Timing> = words
        .filter(|word| !PUNCTUATION.contains(word.text.as_str()))
        .take(LOOKED_AT)
        .collect();
    let score: f64 = words.iter().map(|word| anomaly(word)).sum();
    !stretch.words.is_empty() && (score >= 3.0 || score + 0.01 >= words.len() as f64)
}

fn anomaly(word: &Timing) -> f64 {
    let duration = word.end - word.start;
    let improbable = if word.probability < 0.15 { 1.0 } else { 0.0 };
    let short = (0.133 - duration).max(0.0) * 15.0;
    let long = (duration - 2.0).max(0.0);
    improbable + short + long
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(start: f64, end: f64, probability: f32) -> Timing {
        Timing {
            start,
            end,
            text: " word".to_owned(),
            tokens: vec![1],
            probability,
        }
    }

    fn stretch(words: Vec<Timing>) -> Stretch {
        Stretch {
            start: words.first().map_or(0.0, |word| word.start),
            end: words.last().map_or(0.0, |word| word.end),
            tokens: vec![1; words.len()],
            words,
        }
    }

    /// Three words of half a second, sure or not.
    fn said(start: f64, probability: f32) -> Stretch {
        let words = (0..3).map(|i| {
            word(
                start + f64::from(i) * 0.5,
                start + f64::from(i + 1) * 0.5,
                probability,
            )
        });
        stretch(words.collect())
    }

    /// The second window of two minutes, from 30 s on; a second of silence counts.
    fn window() -> Window {
        Window {
            threshold: 1.0,
            seek: 3000,
            size: 3000,
            whole: 3000,
            single_ending: false,
            last_speech: 29.5,
            content: Some(12_000),
        }
    }

    #[test]
    fn words_that_are_too_short_too_long_or_improbable_are_anomalous() {
        // By the original's word_anomaly_score: 1.0, 0.495, 1.5, 0.
        for (word, score) in [
            (word(0.0, 0.5, 0.1), 1.0),
            (word(0.0, 0.1, 0.9), 0.495),
            (word(0.0, 3.5, 0.9), 1.5),
            (word(0.0, 0.5, 0.15), 0.0),
        ] {
            assert!((anomaly(&word) - score).abs() < 1e-6, "{word:?}");
        }
        assert!(anomalous(&said(0.0, 0.1)) && !anomalous(&said(0.0, 0.9)));
        assert!(!anomalous(&stretch(vec![])));
        let mut words = said(0.0, 0.9).words;
        words[0] = word(0.0, 5.0, 0.9);
        assert!(anomalous(&stretch(words)), "one word of five seconds is enough");
        let mut nine: Vec<Timing> = (0..9)
            .map(|i| word(f64::from(i), f64::from(i) + 0.5, 0.9))
            .collect();
        nine[8].probability = 0.0;
        nine[8].end = 20.0;
        assert!(!anomalous(&stretch(nine)), "the ninth word has no say");
        let mark = Timing {
            text: "、".to_owned(),
            ..word(0.0, 0.0, 0.0)
        };
        assert!(anomalous(&stretch(vec![mark])), "nothing but punctuation");
    }

    #[test]
    fn what_is_said_in_earnest_stays_and_the_next_window_begins_after_it() {
        let window = window();
        assert_eq!(window.judge(&[said(31.0, 0.9)]), Verdict::Keep(Some(3250)));
        // Less than a second before the window's end: on with the next one.
        assert_eq!(window.judge(&[said(57.8, 0.9)]), Verdict::Keep(Some(6000)));
        let single_ending = Window {
            single_ending: true,
            ..window
        };
        assert_eq!(single_ending.judge(&[said(31.0, 0.9)]), Verdict::Keep(None));
        assert_eq!(single_ending.judge(&[]), Verdict::Keep(None));
    }

    #[test]
    fn silence_before_doubtful_first_words_is_left_out_and_they_are_heard_again() {
        assert_eq!(
            window().judge(&[said(33.5, 0.1), said(36.0, 0.9)]),
            Verdict::Again(3350)
        );
        let without = stretch(vec![]);
        assert_eq!(window().judge(&[without, said(33.5, 0.1)]), Verdict::Again(3350));
    }

    #[test]
    fn doubtful_words_between_silences_or_doubts_are_cut() {
        let window = window();
        let cut = |stretches: &[Stretch]| window.judge(stretches);
        let (first, invented) = (said(30.2, 0.9), said(40.0, 0.1));
        assert_eq!(
            cut(&[first.clone(), invented.clone()]),
            Verdict::Cut { keep: 1, next: 4000 }
        );
        assert_eq!(
            cut(&[first.clone(), invented.clone(), said(41.8, 0.9)]),
            Verdict::Keep(Some(4330)),
            "words in earnest follow at once"
        );
        assert_eq!(
            cut(&[first.clone(), invented.clone(), said(41.8, 0.1)]),
            Verdict::Cut { keep: 1, next: 4000 },
            "more doubtful words follow"
        );
        assert_eq!(
            cut(&[first, said(31.9, 0.1)]),
            Verdict::Cut { keep: 1, next: 3190 },
            "near the window's beginning"
        );
        assert_eq!(
            cut(&[said(30.1, 0.1)]),
            Verdict::Cut { keep: 0, next: 3100 },
            "a second on at least"
        );
    }

    #[test]
    fn doubtful_words_at_the_end_of_the_audio_end_it() {
        let last = Window {
            content: Some(6000),
            ..window()
        };
        let stretches = [said(30.2, 0.9), said(58.0, 0.1)];
        assert_eq!(last.judge(&stretches), Verdict::Cut { keep: 1, next: 6000 });
        let going_on = Window {
            content: None,
            ..last
        };
        assert_eq!(going_on.judge(&stretches), Verdict::Cut { keep: 1, next: 5800 });
    }
}
