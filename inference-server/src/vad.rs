//! Samples at 16 kHz in; where somebody speaks out. Knows nothing of Whisper, of windows or of requests.
//!
//! ```text
//! samples -activity-> probability of each 32 ms -spans-> stretches of speech -chunks-> pieces to transcribe
//!                                               -endpoint-> "speech began", "speech ended", as it happens
//! ```
//!
//! The detector is Silero VAD, compiled into the program (`models/silero-vad`); the rules that make stretches of its
//! probabilities are those of its own Python package, version 6.2.3 (`silero_vad/utils_vad.py`).

mod activity;
mod chunks;
mod detector;
mod endpoint;
mod settings;
mod spans;

#[cfg(test)]
mod tests;

pub use activity::Activity;
pub use chunks::{chunks, speech_within};
pub use detector::Detector;
pub use endpoint::{Endpoint, Event};
pub use settings::{Limits, Settings};
pub use spans::spans;

use crate::model::ModelError;

/// Samples that one probability is about: 32 ms.
pub const FRAME: usize = 512;

/// Why there is no word on whether anybody speaks.
#[derive(Debug, thiserror::Error)]
pub enum VadError {
    /// The engine does not take the detector: a fault of the program.
    #[error("the voice activity detector: {0}")]
    Load(#[source] ModelError),
    /// The engine failed while it listened: a fault of the program.
    #[error("the voice activity detector: {0}")]
    Engine(String),
    /// The settings contradict each other.
    #[error("voice activity: {0}")]
    InvalidSettings(String),
}
