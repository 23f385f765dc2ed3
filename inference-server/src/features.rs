//! 16 kHz samples of one window in; [`LogMel`] out, as Whisper wants it. Pure arithmetic; knows no model files.
//!
//! Source: `openai/whisper`, `whisper/audio.py` (`log_mel_spectrogram`), and `WhisperFeatureExtractor` of transformers,
//! which pads the samples with zeros to the full window first; the filters are `librosa.filters.mel` with Slaney's scale.

use std::{borrow::Cow, sync::Arc};

use realfft::{RealFftPlanner, RealToComplex};

use crate::{
    model::FeatureConfig,
    stages::{self, Stage},
};

/// Powers below this count as this.
const FLOOR: f64 = 1e-10;
/// The top of the filters in Hz, whatever the rate.
const TOP: f64 = 8000.0;

/// Log-mel features of one window: `bins * frames` values, bin by bin.
#[derive(Clone, Debug, PartialEq)]
pub struct LogMel {
    /// Mel bins, 80 or 128.
    pub bins: usize,
    /// Frames, 3000, or fewer of a window that was cut off.
    pub frames: usize,
    /// `values[bin * frames + frame]`, about -1 to 1.5.
    pub values: Vec<f32>,
}

impl LogMel {
    /// The first frames of the window, an even number of them, which the encoder halves; all where there are no more.
    pub fn first(&self, frames: usize) -> Cow<'_, LogMel> {
        let frames = frames.next_multiple_of(2).max(2);
        if frames >= self.frames {
            return Cow::Borrowed(self);
        }
        let rows = self.values.chunks(self.frames);
        Cow::Owned(LogMel {
            bins: self.bins,
            frames,
            values: rows.flat_map(|row| &row[..frames]).copied().collect(),
        })
    }
}

/// Computes [`LogMel`]s; made once a model, since filters, window and transform do not change.
pub struct MelExtractor {
    config: FeatureConfig,
    window: Vec<f64>,
    filters: Vec<Filter>,
    fft: Arc<dyn RealToComplex<f64>>,
}

/// A triangle over neighbouring frequency bins.
struct Filter {
    first: usize,
    weights: Vec<f64>,
}

impl MelExtractor {
    /// Prepares for a model's sizes.
    pub fn new(config: &FeatureConfig) -> Self {
        let n = config.n_fft;
        // The periodic Hann window: as long as the transform, one period.
        let window = (0..n)
            .map(|i| 0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / n as f64).cos())
            .collect();
        let filters = mel_filters(config.mel_bins, n, config.sampling_rate as f64);
        MelExtractor {
            config: config.clone(),
            window,
            filters,
            fft: RealFftPlanner::new().plan_fft_forward(n),
        }
    }

    /// The features of at most a window of samples; fewer are followed by silence, more are cut off.
    ///
    /// Short-time Fourier transform with reflected edges, power, mel filters, `log10(max(x, 1e-10))`, raised to 8 below
    /// the window's maximum, `(x + 4) / 4`.
    pub fn extract(&self, samples: &[f32]) -> LogMel {
        let (hop, n) = (self.config.hop_length, self.config.n_samples);
        let samples = &samples[..samples.len().min(n)];
        // The window's edges are mirrored, as if nothing were known beyond them.
        let at = |i: isize| {
            let mirrored = if i < 0 { i.unsigned_abs() } else { i as usize };
            let mirrored = if mirrored < n {
                mirrored
            } else {
                (2 * n - 2).saturating_sub(mirrored)
            };
            samples.get(mirrored).copied().unwrap_or(0.0)
        };
        // A frame that begins after the last sample is silence, which the logs are already.
        let sounding = (samples.len() + self.config.n_fft / 2)
            .div_ceil(hop)
            .min(self.config.frames());
        let mut logs = vec![FLOOR.log10(); self.config.mel_bins * self.config.frames()];
        self.log_powers(at, sounding, |bin, frame, log| {
            logs[bin * self.config.frames() + frame] = log
        });
        let peak = logs.iter().fold(f64::MIN, |most, &log| most.max(log));
        self.scaled(logs.into_iter(), peak)
    }

    /// The features of `frames` frames in the middle of longer audio, as `openai/whisper` computes them for the whole of it.
    ///
    /// `at` gives the sample at a place relative to the first frame's middle, also before and after the frames. `peak` is
    /// the loudest of the whole audio ([`MelExtractor::peak`]). What is missing to a full window is 0, not silence.
    pub fn extract_at(&self, at: impl Fn(isize) -> f32, frames: usize, peak: f64) -> LogMel {
        let all = self.config.frames();
        let frames = frames.min(all);
        let mut logs = vec![f64::NAN; self.config.mel_bins * all];
        self.log_powers(at, frames, |bin, frame, log| logs[bin * all + frame] = log);
        let mut mel = self.scaled(logs.into_iter(), peak);
        for row in mel.values.chunks_mut(all) {
            row[frames..].fill(0.0);
        }
        mel
    }

    /// The greatest log-power of `frames` frames; `at` as in [`MelExtractor::extract_at`].
    pub fn peak(&self, at: impl Fn(isize) -> f32, frames: usize) -> f64 {
        let mut peak = FLOOR.log10();
        self.log_powers(at, frames, |_, _, log| peak = peak.max(log));
        peak
    }

    fn scaled(&self, logs: impl Iterator<Item = f64>, peak: f64) -> LogMel {
        LogMel {
            bins: self.config.mel_bins,
            frames: self.config.frames(),
            values: logs
                .map(|log| ((log.max(peak - 8.0) + 4.0) / 4.0) as f32)
                .collect(),
        }
    }

    /// The decimal logarithm of the power in each mel bin of each frame.
    fn log_powers(&self, at: impl Fn(isize) -> f32, frames: usize, mut put: impl FnMut(usize, usize, f64)) {
        let _timed = stages::enter(Stage::Features);
        let edge = (self.config.n_fft / 2) as isize;
        let mut samples = self.fft.make_input_vec();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        for frame in 0..frames {
            let begin = (frame * self.config.hop_length) as isize - edge;
            for ((i, slot), weight) in (begin..).zip(&mut samples).zip(&self.window) {
                *slot = f64::from(at(i)) * weight;
            }
            // Fails only for buffers of another length than the plan's own.
            if self
                .fft
                .process_with_scratch(&mut samples, &mut spectrum, &mut scratch)
                .is_err()
            {
                continue;
            }
            for (bin, filter) in self.filters.iter().enumerate() {
                let bands = spectrum[filter.first..].iter().zip(&filter.weights);
                let power: f64 = bands.map(|(c, weight)| c.norm_sqr() * weight).sum();
                put(bin, frame, power.max(FLOOR).log10());
            }
        }
    }
}

/// `librosa.filters.mel(sr, n_fft, n_mels, htk=False, norm="slaney")`: triangles of equal area between mel-spaced points.
fn mel_filters(bins: usize, n_fft: usize, rate: f64) -> Vec<Filter> {
    let top = hz_to_mel(TOP.min(rate / 2.0));
    let edges: Vec<f64> = (0..bins + 2)
        .map(|i| mel_to_hz(top * i as f64 / (bins + 1) as f64))
        .collect();
    let frequency = |i: usize| i as f64 * rate / n_fft as f64;
    edges
        .windows(3)
        .map(|e| {
            let (low, centre, high) = (e[0], e[1], e[2]);
            let weight = |hz: f64| {
                ((hz - low) / (centre - low))
                    .min((high - hz) / (high - centre))
                    .max(0.0)
            };
            let inside: Vec<usize> = (0..=n_fft / 2).filter(|&i| weight(frequency(i)) > 0.0).collect();
            let weights = inside
                .iter()
                .map(|&i| weight(frequency(i)) * 2.0 / (high - low))
                .collect();
            Filter {
                first: inside.first().copied().unwrap_or(0),
                weights,
            }
        })
        .collect()
}

/// Slaney's scale: linear up to 1 kHz, logarithmic above.
const LINEAR_HZ_PER_MEL: f64 = 200.0 / 3.0;
const LOG_FROM_HZ: f64 = 1000.0;

fn log_step() -> f64 {
    6.4f64.ln() / 27.0
}

fn hz_to_mel(hz: f64) -> f64 {
    if hz < LOG_FROM_HZ {
        return hz / LINEAR_HZ_PER_MEL;
    }
    LOG_FROM_HZ / LINEAR_HZ_PER_MEL + (hz / LOG_FROM_HZ).ln() / log_step()
}

fn mel_to_hz(mel: f64) -> f64 {
    let from = LOG_FROM_HZ / LINEAR_HZ_PER_MEL;
    if mel < from {
        mel * LINEAR_HZ_PER_MEL
    } else {
        LOG_FROM_HZ * ((mel - from) * log_step()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(mel_bins: usize) -> FeatureConfig {
        FeatureConfig {
            sampling_rate: 16_000,
            n_samples: 480_000,
            n_fft: 400,
            hop_length: 160,
            mel_bins,
        }
    }

    #[test]
    fn the_first_frames_are_those_of_every_bin_and_an_even_number() {
        let mel = LogMel {
            bins: 2,
            frames: 6,
            values: (0..12).map(|i| i as f32).collect(),
        };
        let first = mel.first(3);
        assert_eq!((first.bins, first.frames), (2, 4));
        assert_eq!(first.values, [0.0, 1.0, 2.0, 3.0, 6.0, 7.0, 8.0, 9.0]);
        assert_eq!(*mel.first(7), mel);
        assert_eq!(mel.first(0).frames, 2, "an encoder of nothing has no positions");
    }

    #[test]
    fn filters_have_the_published_values() {
        // Read off the `mel_filters.npz` that openai/whisper carries: [filter][frequency bin].
        let filters = mel_filters(80, 400, 16_000.0);
        assert_eq!(filters.len(), 80);
        assert_eq!((filters[0].first, filters[0].weights.len()), (1, 1));
        assert!(
            (filters[0].weights[0] - 0.0248625949).abs() < 1e-7,
            "{}",
            filters[0].weights[0]
        );
        let last = &filters[79];
        assert!(
            (last.weights.iter().sum::<f64>() - 0.02492534).abs() < 1e-6,
            "{}",
            last.weights.iter().sum::<f64>()
        );
        let total: f64 = mel_filters(128, 400, 16_000.0)
            .iter()
            .flat_map(|f| &f.weights)
            .sum();
        assert!((total - 3.1909855).abs() < 1e-5, "{total}");
    }

    #[test]
    fn silence_is_flat() {
        let mel = MelExtractor::new(&config(80)).extract(&[]);
        assert_eq!((mel.bins, mel.frames, mel.values.len()), (80, 3000, 240_000));
        assert!(mel.values.iter().all(|&v| v == -1.5));
    }

    #[test]
    fn a_tone_is_loudest_in_its_own_bin_and_frames() {
        let tone: Vec<f32> = (0..16_000)
            .map(|i| (std::f32::consts::TAU * 1000.0 * i as f32 / 16_000.0).sin() * 0.1)
            .collect();
        let mut samples = vec![0.0; 32_000];
        samples.extend(tone);
        let mel = MelExtractor::new(&config(80)).extract(&samples);
        let at = |bin: usize, frame: usize| mel.values[bin * mel.frames + frame];
        let loudest = (0..80)
            .max_by(|&a, &b| at(a, 250).total_cmp(&at(b, 250)))
            .unwrap();
        let centre = mel_to_hz(hz_to_mel(8000.0) * (loudest + 1) as f64 / 81.0);
        assert!((centre - 1000.0).abs() < 50.0, "{centre}");
        assert!(at(loudest, 250) > at(loudest, 100) + 1.0);
        assert!((at(loudest, 250) - at(loudest, 299)).abs() < 0.2);
        assert_eq!(at(loudest, 100), at(0, 400));
    }

    /// Within one window both ways see the same samples, so they differ only in what they put after the end.
    #[test]
    fn frames_of_longer_audio_are_those_of_a_window_of_it() {
        let samples: Vec<f32> = (0..40_000)
            .map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5)
            .collect();
        let extractor = MelExtractor::new(&config(80));
        let whole = extractor.extract(&samples);
        let from = |first: usize| {
            let samples = &samples;
            move |i: isize| {
                let i = (first * 160) as isize + i;
                samples.get(i.unsigned_abs()).copied().unwrap_or(0.0)
            }
        };
        let peak = extractor.peak(from(0), 251);
        let part = extractor.extract_at(from(100), 120, peak);
        for bin in 0..80 {
            for frame in 0..120 {
                assert_eq!(
                    part.values[bin * 3000 + frame],
                    whole.values[bin * 3000 + 100 + frame]
                );
            }
            assert_eq!(part.values[bin * 3000 + 120], 0.0);
        }
    }

    #[test]
    fn more_than_a_window_is_cut_off() {
        let samples: Vec<f32> = (0..500_000)
            .map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5)
            .collect();
        let extractor = MelExtractor::new(&config(128));
        assert_eq!(
            extractor.extract(&samples),
            extractor.extract(&samples[..480_000])
        );
    }
}
