//! Samples, or what the decoder said of them, in; whether anybody speaks out. Pure.

use std::ops::Range;

use crate::{audio::SAMPLE_RATE, decoder::Tokens};

/// When a window counts as having no speech in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// A window with no 100 ms louder than this is not even decoded, in dB of full scale (RMS, mean removed).
    ///
    /// -60: the noise of a room in a 16-bit recording is near it, quiet speech 20 dB above.
    pub silence_dbfs: f32,
    /// A window is dropped when the no-speech probability is above this and the words are unlikely as well.
    ///
    /// 0.6, as `openai/whisper` has it.
    pub no_speech: f32,
    /// Words with a mean log-probability below this are unlikely. -1.0, as `openai/whisper` has it.
    pub logprob: f32,
    /// A window is dropped when the no-speech probability is above this, however likely the words.
    ///
    /// A language forced upon noise makes some models, the bundled one among them, say a word with confidence; the
    /// no-speech probability, taken before the language token has any say, is then near 1.
    pub certainly_no_speech: f32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            silence_dbfs: -60.0,
            no_speech: 0.6,
            logprob: -1.0,
            certainly_no_speech: 0.9,
        }
    }
}

impl Thresholds {
    /// Whether a window is so quiet that there is nothing to decode.
    pub fn silent(&self, samples: &[f32]) -> bool {
        let most = 10f32.powf(self.silence_dbfs / 20.0);
        samples
            .chunks(SAMPLE_RATE as usize / 10)
            .all(|frame| rms(frame) < most)
    }

    /// Whether what the decoder said was made up for want of speech.
    pub fn invented(&self, tokens: &Tokens) -> bool {
        let doubtful = tokens.no_speech_prob > self.no_speech && tokens.avg_logprob < self.logprob;
        doubtful || tokens.no_speech_prob > self.certainly_no_speech
    }
}

/// Samples of a step when looking for a pause, 20 ms.
const STEP: usize = SAMPLE_RATE as usize / 50;
/// Steps that make a pause, 160 ms: longer than the closure of a plosive within a word.
const PAUSE: usize = 8;
/// Below this part of the window's loudness it is a pause: 20 dB.
const QUIET: f32 = 0.1;

/// The middle of the longest pause within `range`, where a window may end without cutting a word.
pub(super) fn pause(samples: &[f32], range: Range<usize>) -> Option<usize> {
    let quiet = QUIET * rms(samples);
    let first = range.start;
    let (mut best, mut run) = (0..0, 0..0);
    for (step, frame) in samples[range].chunks_exact(STEP).enumerate() {
        if rms(frame) > quiet {
            continue;
        }
        run = if run.end == step {
            run.start..step + 1
        } else {
            step..step + 1
        };
        if run.len() >= best.len() {
            best = run.clone();
        }
    }
    (best.len() >= PAUSE).then(|| first + (best.start + best.end) * STEP / 2)
}

/// Root mean square about the mean, so that an offset of the recorder is no sound.
fn rms(samples: &[f32]) -> f32 {
    let n = samples.len().max(1) as f64;
    let mean = samples.iter().map(|&s| f64::from(s)).sum::<f64>() / n;
    (samples
        .iter()
        .map(|&s| (f64::from(s) - mean).powi(2))
        .sum::<f64>()
        / n)
        .sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(level: f32, seconds: f32) -> Vec<f32> {
        (0..(seconds * 16_000.0) as usize)
            .map(|i| (i as f32 * 0.3).sin() * level)
            .collect()
    }

    #[test]
    fn an_offset_is_silent_and_a_short_word_is_not() {
        let thresholds = Thresholds::default();
        assert!(thresholds.silent(&[]));
        assert!(thresholds.silent(&vec![0.2; 16_000]));
        assert!(thresholds.silent(&tone(0.001, 1.0)));
        let mut word = vec![0.0; 160_000];
        word[80_000..83_200].copy_from_slice(&tone(0.02, 0.2));
        assert!(!thresholds.silent(&word));
    }

    #[test]
    fn words_are_invented_when_doubtful_or_certainly_not_spoken() {
        let thresholds = Thresholds::default();
        let invented = |no_speech_prob, avg_logprob| {
            thresholds.invented(&Tokens {
                ids: vec![1],
                avg_logprob,
                no_speech_prob,
            })
        };
        assert!(invented(0.7, -1.1));
        assert!(invented(0.95, -0.1));
        assert!(!invented(0.7, -0.5));
        assert!(!invented(0.2, -3.0));
    }

    #[test]
    fn a_pause_is_found_in_its_middle_and_only_in_the_range() {
        let mut samples = tone(0.5, 4.0);
        samples[16_000..24_000].fill(0.0);
        samples[48_000..52_000].fill(0.0);
        let found = pause(&samples, 40_000..64_000).unwrap();
        assert!(found.abs_diff(50_000) <= STEP, "{found}");
        assert_eq!(pause(&samples, 25_000..47_000), None);
        samples[48_000..52_000].copy_from_slice(&tone(0.2, 0.25));
        assert_eq!(pause(&samples, 40_000..64_000), None);
    }
}
