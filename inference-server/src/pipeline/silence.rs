//! Samples, their features, or what the decoder said of them, in; whether anybody speaks out. Pure.

use std::ops::Range;

use crate::{audio::SAMPLE_RATE, decoder::Tokens, features::LogMel};

/// When a window counts as having no speech in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// A window with no 100 ms louder than this is not even decoded, in dB of full scale (RMS, mean removed).
    ///
    /// -60: the noise of a room in a 16-bit recording is near it, quiet speech 20 dB above.
    pub silence_dbfs: f32,
    /// A window in which no part of the spectrum ever rises this much above its own median is not decoded, in dB.
    ///
    /// 6: what changes less is the hum of a machine or a noise, whatever its level; speech, also in noise as loud as
    /// itself, rises by more in some part of the spectrum at each syllable.
    pub steady_db: f32,
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
            steady_db: 6.0,
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

    /// Whether a sound is too steady to be speech; `frames` of the features are sound, the rest is padding.
    ///
    /// Sounds of less than 0.8 s are not judged: they may be one vowel.
    pub fn steady(&self, features: &LogMel, frames: usize) -> bool {
        // Where the sound starts and stops there is a click in every part of the spectrum.
        let frames = EDGE..frames.saturating_sub(EDGE).min(features.frames);
        if frames.len() < SHORTEST {
            return false;
        }
        let bands = (0..features.bins).step_by(BAND).map(|bin| {
            let mut levels = levels(features, bin..(bin + BAND).min(features.bins), frames.clone());
            levels.sort_by(f32::total_cmp);
            (levels[levels.len() / 2], levels[levels.len() - 1])
        });
        let bands: Vec<(f32, f32)> = bands.collect();
        let loudest = bands.iter().fold(f32::MIN, |most, (_, peak)| most.max(*peak));
        let heard = bands.iter().filter(|(_, peak)| *peak > loudest - RANGE);
        heard
            .into_iter()
            .all(|(median, peak)| peak - median < self.steady_db)
    }

    /// Whether the model is certain that nobody speaks, whatever words it then found.
    pub fn certainly_none(&self, tokens: &Tokens) -> bool {
        tokens.no_speech_prob > self.certainly_no_speech
    }
}

/// Frames of features, 10 ms each, that are left out at either end of a sound.
const EDGE: usize = 3;
/// Frames that are needed to call a sound steady.
const SHORTEST: usize = 74;
/// Mel bins that are looked at together when looking for change.
const BAND: usize = 10;

/// A band that is never within so many dB of the loudest is not looked at: there is no speech under it.
const RANGE: f32 = 50.0;

/// How loud a band is in each 100 ms, in dB.
fn levels(features: &LogMel, bins: Range<usize>, frames: Range<usize>) -> Vec<f32> {
    let power =
        |bin: usize, frame: usize| 10f32.powf(features.values[bin * features.frames + frame] * 4.0 - 4.0);
    let stretches =
        (0..frames.len() / 10).map(|stretch| frames.start + stretch * 10..frames.start + stretch * 10 + 10);
    let sums = stretches.map(|stretch| {
        bins.clone()
            .flat_map(|bin| stretch.clone().map(move |frame| power(bin, frame)))
            .sum::<f32>()
    });
    sums.map(|sum| 10.0 * sum.log10()).collect()
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
            .map(|i| (f64::from(i as u32) * 0.3).sin() as f32 * level)
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
    fn a_machine_is_steady_and_syllables_are_not() {
        let config = crate::model::FeatureConfig {
            sampling_rate: 16_000,
            n_samples: 480_000,
            n_fft: 400,
            hop_length: 160,
            mel_bins: 80,
        };
        let extractor = crate::features::MelExtractor::new(&config);
        let steady =
            |samples: &[f32]| Thresholds::default().steady(&extractor.extract(samples), samples.len() / 160);
        let mut seed = 1u32;
        let mut noise = |level: f32, seconds: usize| -> Vec<f32> {
            let mut next = || {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 8) as f32 / 8_388_608.0 - 1.0
            };
            (0..seconds * 16_000).map(|_| next() * level).collect()
        };
        for seconds in [1, 5, 30] {
            assert!(steady(&noise(0.3, seconds)), "noise of {seconds} s");
            assert!(steady(&tone(0.5, seconds as f32)), "a hum of {seconds} s");
        }
        // A syllable of 0.2 s, as loud as the noise around it, in 10 s.
        let mut noisy = noise(0.1, 10);
        for (sample, voice) in noisy[80_000..].iter_mut().zip(tone(0.08, 0.2)) {
            *sample += voice;
        }
        assert!(!steady(&noisy));
        assert!(!steady(&tone(0.5, 0.7)));
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
