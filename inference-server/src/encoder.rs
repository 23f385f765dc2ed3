//! [`LogMel`] in; [`Encoded`] out: one run of the encoder graph.

use tract_onnx::prelude::{TValue, Tensor, tvec};

use crate::{
    features::LogMel,
    model::{Model, graph::one_line},
    stages::{self, Stage},
};

/// What the encoder makes of one window: `[1, positions, width]`.
pub struct Encoded(pub(crate) TValue);

/// The engine failed at the encoder.
#[derive(Debug, thiserror::Error)]
#[error("the encoder: {0}")]
pub struct EncoderError(String);

impl Encoded {
    /// The values, row by row: `positions * width`.
    pub fn values(&self) -> Result<Vec<f32>, EncoderError> {
        let read = || {
            Ok(self
                .0
                .cast_to::<f32>()?
                .try_as_plain_ram()?
                .as_slice::<f32>()?
                .to_vec())
        };
        read().map_err(|e| EncoderError(one_line(&e)))
    }
}

/// Encodes one window.
pub fn encode(model: &Model, features: &LogMel) -> Result<Encoded, EncoderError> {
    let _timed = stages::enter(Stage::Encoder);
    let run = || {
        let input = Tensor::from_shape(&[1, features.bins, features.frames], &features.values)?;
        let mut running = model.encoder.start()?;
        model.encoder.run(&mut running, tvec![input.into()])
    };
    let mut outputs = run().map_err(|e| EncoderError(one_line(&e)))?;
    let states = model
        .encoder
        .output("last_hidden_state")
        .filter(|&slot| slot < outputs.len());
    let states = states.ok_or_else(|| EncoderError("no output named last_hidden_state".to_owned()))?;
    Ok(Encoded(outputs.swap_remove(states)))
}
