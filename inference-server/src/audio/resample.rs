//! Mono samples at any rate in; mono samples at 16 kHz out, aligned with the input and exactly as many as there must be.

use rubato::{
    Fft, FixedSync, Indexing, Resampler as _, WindowFunction, audioadapter_buffers::direct::InterleavedSlice,
};

use super::{AudioError, SAMPLE_RATE, mix};

/// Input samples of one step of the resampler, at least; the true number is a multiple of the ratio's denominator.
const STEP: usize = 512;
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris2;

/// Converts to 16 kHz as samples arrive. At 16 kHz already they pass through untouched.
///
/// Band-limited by rubato's FFT resampler (overlap-add, Blackman-Harris window squared); its delay is dropped from the
/// start and made up at the end, so that output sample `i` is input time `i / 16000` s.
pub(super) struct Resampler {
    rate: u32,
    engine: Option<Engine>,
    received: u64,
    returned: u64,
}

struct Engine {
    fft: Fft<f32>,
    pending: Vec<f32>,
    block: Vec<f32>,
    to_drop: usize,
}

impl Resampler {
    pub(super) fn new(rate: u32) -> Result<Self, AudioError> {
        let engine = if rate == SAMPLE_RATE {
            None
        } else {
            Some(Engine::new(rate)?)
        };
        Ok(Resampler {
            rate,
            engine,
            received: 0,
            returned: 0,
        })
    }

    pub(super) fn push(&mut self, samples: Vec<f32>) -> Result<Vec<f32>, AudioError> {
        self.received += samples.len() as u64;
        let out = match &mut self.engine {
            None => samples,
            Some(engine) => engine.push(&samples)?,
        };
        self.returned += out.len() as u64;
        Ok(out)
    }

    /// The tail: all in all `round(received * 16000 / rate)` samples have been returned afterwards.
    pub(super) fn finish(mut self) -> Result<Vec<f32>, AudioError> {
        let Some(mut engine) = self.engine.take() else {
            return Ok(Vec::new());
        };
        let (rate, target) = (u64::from(self.rate), u64::from(SAMPLE_RATE));
        let total = (self.received * target + rate / 2) / rate;
        let missing = usize::try_from(total.saturating_sub(self.returned)).unwrap_or(usize::MAX);
        let mut out = Vec::new();
        while out.len() < missing {
            let silence = vec![0.0; engine.fft.input_frames_next()];
            out.extend(engine.push(&silence)?);
        }
        out.truncate(missing);
        Ok(out)
    }
}

impl Engine {
    fn new(rate: u32) -> Result<Self, AudioError> {
        // An even number of samples: half of them is the delay, which rubato rounds to whole samples.
        let (input, output) = (rate as usize, SAMPLE_RATE as usize);
        let unit = input / gcd(input, output);
        let block = unit * STEP.div_ceil(unit).next_multiple_of(2);
        let fft = Fft::new_custom(input, output, block, 1, 1, WINDOW, FixedSync::Both)
            .map_err(|e| AudioError::Unsupported(format!("a sample rate of {rate} Hz: {e}")))?;
        let block = vec![0.0; fft.output_frames_max()];
        let to_drop = fft.output_delay();
        Ok(Engine {
            fft,
            pending: Vec::new(),
            block,
            to_drop,
        })
    }

    fn push(&mut self, samples: &[f32]) -> Result<Vec<f32>, AudioError> {
        self.pending.extend_from_slice(samples);
        let (mut out, mut used) = (Vec::new(), 0);
        while self.pending.len() - used >= self.fft.input_frames_next() {
            let (taken, made) = self.step(used).map_err(AudioError::Malformed)?;
            used += taken;
            let skip = self.to_drop.min(made);
            self.to_drop -= skip;
            out.extend(self.block[skip..made].iter().copied().map(mix::sane));
        }
        self.pending.drain(..used);
        Ok(out)
    }

    /// One step from `pending[used..]` into `block`; returns the samples taken and made.
    fn step(&mut self, used: usize) -> Result<(usize, usize), String> {
        let input = &self.pending[used..];
        let frames = input.len();
        let input = InterleavedSlice::new(input, 1, frames).map_err(|e| e.to_string())?;
        let frames = self.block.len();
        let mut output = InterleavedSlice::new_mut(&mut self.block, 1, frames).map_err(|e| e.to_string())?;
        self.fft
            .process_into_buffer(&input, &mut output, Some(&Indexing::new()))
            .map_err(|e| e.to_string())
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: u32, hz: f64, seconds: f64) -> Vec<f32> {
        let n = (f64::from(rate) * seconds).round() as usize;
        (0..n)
            .map(|i| (std::f64::consts::TAU * hz * i as f64 / f64::from(rate)).sin() as f32 * 0.5)
            .collect()
    }

    fn resample(rate: u32, samples: &[f32], piece: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(rate).unwrap();
        let mut out = Vec::new();
        for piece in samples.chunks(piece) {
            out.extend(resampler.push(piece.to_vec()).unwrap());
        }
        out.extend(resampler.finish().unwrap());
        out
    }

    #[test]
    fn a_tone_keeps_its_pitch_phase_and_level_at_every_rate() {
        for rate in [8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000] {
            let out = resample(rate, &sine(rate, 440.0, 1.0), 777);
            let expected = sine(SAMPLE_RATE, 440.0, 1.0);
            assert_eq!(out.len(), expected.len(), "{rate} Hz");
            // The first and last milliseconds ring: the tone starts and stops at once.
            let worst = (800..15_200)
                .map(|i| (out[i] - expected[i]).abs())
                .fold(0.0, f32::max);
            assert!(worst < 1e-3, "{rate} Hz: off by {worst}");
        }
    }

    #[test]
    fn what_16_khz_cannot_hold_is_removed() {
        let out = resample(48_000, &sine(48_000, 12_000.0, 1.0), 1000);
        let loudest = out[800..15_200].iter().fold(0.0f32, |m, s| m.max(s.abs()));
        assert!(loudest < 1e-3, "aliased at {loudest}");
    }

    #[test]
    fn the_length_is_exact_and_the_pieces_do_not_matter() {
        for (rate, n) in [
            (44_100, 1usize),
            (44_100, 100),
            (44_100, 12_345),
            (8_000, 7),
            (22_050, 22_051),
            (47_999, 60_000),
        ] {
            let samples: Vec<f32> = (0..n).map(|i| ((i * 37) % 101) as f32 / 101.0 - 0.5).collect();
            let whole = resample(rate, &samples, n);
            assert_eq!(
                whole.len(),
                ((n as f64) * 16_000.0 / f64::from(rate)).round() as usize,
                "{rate} {n}"
            );
            assert_eq!(whole, resample(rate, &samples, 13.min(n)), "{rate} {n}");
        }
    }

    #[test]
    fn sixteen_khz_passes_through() {
        let samples = sine(16_000, 300.0, 0.1);
        assert_eq!(resample(16_000, &samples, 100), samples);
    }
}
