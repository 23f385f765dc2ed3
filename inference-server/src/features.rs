//! 16 kHz samples of one window in; [`LogMel`] out, as Whisper wants it. Pure arithmetic; knows no model files.
//!
//! Source: `openai/whisper`, `whisper/audio.py` (`log_mel_spectrogram`), and `WhisperFeatureExtractor` of transformers,
//! which pads the samples with zeros to the full window first; the filters are `librosa.filters.mel` with Slaney's scale.

use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

use crate::model::FeatureConfig;

/// Powers below this count as this.
const FLOOR: f64 = 1e-10;
/// The top of the filters in Hz, whatever the rate.
const TOP: f64 = 8000.0;

/// Log-mel features of one window: `bins * frames` values, bin by bin.
#[derive(Clone, Debug, PartialEq)]
pub struct LogMel {
    /// Mel bins, 80 or 128.
    pub bins: usize,
    /// Frames, 3000.
    pub frames: usize,
    /// `values[bin * frames + frame]`, about -1 to 1.5.
    pub values: Vec<f32>,
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
        let (bins, frames, hop) = (self.config.mel_bins, self.config.frames(), self.config.hop_length);
        let samples = &samples[..samples.len().min(self.config.n_samples)];
        let padded = self.reflected(samples);
        let mut logs = vec![FLOOR.log10(); bins * frames];
        // A frame that begins after the last sample is silence, which the logs are already.
        let sounding = (samples.len() + self.config.n_fft / 2).div_ceil(hop).min(frames);
        let mut frame_samples = self.fft.make_input_vec();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        for frame in 0..sounding {
            let source = &padded[frame * hop..frame * hop + self.config.n_fft];
            for ((slot, &sample), weight) in frame_samples.iter_mut().zip(source).zip(&self.window) {
                *slot = f64::from(sample) * weight;
            }
            // Fails only for buffers of another length than the plan's own.
            if self
                .fft
                .process_with_scratch(&mut frame_samples, &mut spectrum, &mut scratch)
                .is_err()
            {
                continue;
            }
            for (bin, filter) in self.filters.iter().enumerate() {
                let bands = spectrum[filter.first..].iter().zip(&filter.weights);
                let power: f64 = bands.map(|(c, weight)| c.norm_sqr() * weight).sum();
                logs[bin * frames + frame] = power.max(FLOOR).log10();
            }
        }
        let floor = logs.iter().fold(f64::MIN, |most, &log| most.max(log)) - 8.0;
        let values = logs
            .into_iter()
            .map(|log| ((log.max(floor) + 4.0) / 4.0) as f32)
            .collect();
        LogMel { bins, frames, values }
    }

    /// The window's samples with silence up to its length, and half a transform mirrored at either edge.
    fn reflected(&self, samples: &[f32]) -> Vec<f32> {
        let (n, edge) = (self.config.n_samples, self.config.n_fft / 2);
        let at = |i: usize| samples.get(i).copied().unwrap_or(0.0);
        let before = (1..=edge).rev().map(at);
        let after = (0..edge).map(|i| at((n - 2).saturating_sub(i)));
        before.chain((0..n).map(at)).chain(after).collect()
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
