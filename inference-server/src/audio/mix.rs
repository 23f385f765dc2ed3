//! Interleaved samples in; one mono channel out, or each channel by itself; finite and in [-1, 1].

use super::AudioError;

/// Rates in Hz that make sense for speech and that a resampler can be built for at bounded cost.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;
/// More channels than any recorder has.
const MAX_CHANNELS: u16 = 64;

/// The shape of interleaved audio, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Hz.
    pub(super) rate: u32,
    /// At least one.
    pub(super) channels: u16,
}

impl Shape {
    /// Refuses rates and channel counts that nothing sensible has.
    pub(super) fn new(rate: u32, channels: u16) -> Result<Self, AudioError> {
        if !RATES.contains(&rate) {
            let (low, high) = (RATES.start(), RATES.end());
            return Err(AudioError::Unsupported(format!(
                "a sample rate of {rate} Hz, not {low} to {high}"
            )));
        }
        if channels == 0 || channels > MAX_CHANNELS {
            return Err(AudioError::Unsupported(format!(
                "{channels} channels, not 1 to {MAX_CHANNELS}"
            )));
        }
        Ok(Shape { rate, channels })
    }
}

/// A sample that later stages can trust: what is not a number is silence, what is over full scale is cut off.
pub(super) fn sane(sample: f32) -> f32 {
    if sample.is_finite() {
        sample.clamp(-1.0, 1.0)
    } else {
        0.0
    }
}

/// Which channels come out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channels {
    /// One: the mean of all.
    #[default]
    Mix,
    /// Each by itself, in the order of the file; at most [`Channels::MOST`].
    Each,
}

/// `mixed` or `separate`.
impl std::str::FromStr for Channels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mixed" => Ok(Channels::Mix),
            "separate" => Ok(Channels::Each),
            other => Err(format!("unknown channels \"{other}\": mixed or separate")),
        }
    }
}

impl Channels {
    /// The most channels that are decoded each by itself.
    pub const MOST: u16 = 8;

    /// How many come out of so many.
    pub(super) fn out_of(self, channels: u16) -> Result<usize, AudioError> {
        match self {
            Channels::Mix => Ok(1),
            Channels::Each if channels <= Self::MOST => Ok(usize::from(channels)),
            Channels::Each => Err(AudioError::Unsupported(format!(
                "{channels} channels are too many to transcribe each by itself, {} are the most; \
                 mix them, or leave some out",
                Self::MOST
            ))),
        }
    }

    /// What comes out, channel by channel.
    pub(super) fn pick(self, interleaved: &[f32], channels: u16) -> Vec<Vec<f32>> {
        let channels = usize::from(channels.max(1));
        let frames = interleaved.chunks_exact(channels);
        match self {
            Channels::Mix => {
                let scale = 1.0 / channels as f32;
                let mean = |frame: &[f32]| frame.iter().copied().map(sane).sum::<f32>() * scale;
                vec![frames.map(mean).collect()]
            }
            Channels::Each => (0..channels)
                .map(|channel| frames.clone().map(|frame| sane(frame[channel])).collect())
                .collect(),
        }
    }
}
