//! A model that has just been loaded in; how fast it is on this machine out, before anybody waits for it. It also brings the weights
//! into memory.

use std::time::{Duration, Instant};

use crate::{decoder::Decoder, encoder, features::LogMel, model::Model, pipeline::PipelineError};

/// Tokens of a second of speech, as people talk.
const TOKENS_PER_SECOND: f64 = 4.0;
/// Steps that are timed.
const STEPS: usize = 4;

/// How fast a model is here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// One window through the encoder.
    pub encoder: Duration,
    /// One token through the decoder.
    pub step: Duration,
    /// Time for a second of audio in full windows of speech.
    pub real_time_factor: f64,
}

/// Times one window without a sound in it.
pub fn calibrate(model: &Model) -> Result<Calibration, PipelineError> {
    let features = &model.config().features;
    let (bins, frames) = (features.mel_bins, features.frames());
    let silence = LogMel {
        bins,
        frames,
        values: vec![0.0; bins * frames],
    };
    let started = Instant::now();
    let encoded = encoder::encode(model, &silence)?;
    let encoder = started.elapsed();
    let mut decoder = Decoder::new(model, &encoded)?;
    let start = model.config().tokens.start;
    let mut sequence = decoder.first(start)?;
    let started = Instant::now();
    for _ in 0..STEPS {
        decoder.step(&mut sequence, start)?;
    }
    let step = started.elapsed() / STEPS as u32;
    let window = (frames * features.hop_length) as f64 / f64::from(crate::audio::SAMPLE_RATE);
    let work = encoder.as_secs_f64() + step.as_secs_f64() * TOKENS_PER_SECOND * window;
    Ok(Calibration {
        encoder,
        step,
        real_time_factor: work / window,
    })
}
