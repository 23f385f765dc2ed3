//! [`LogMel`] in; [`Encoded`] out: one run of the encoder.

use std::sync::Arc;

use tract_onnx::prelude::{TValue, Tensor, TractResult, tvec};

use crate::{
    decoder::floats,
    features::LogMel,
    kernels::turn::Memories,
    model::{Engine, Exported, Model, graph::one_line},
    stages::{self, Stage},
};

/// What the encoder makes of one window.
pub struct Encoded(pub(crate) States);

/// What the decoder of an engine wants of a window.
pub(crate) enum States {
    /// The states, `[positions, width]`, and what the decoder listens to.
    Own(Arc<Tensor>, Arc<Memories>),
    /// `[1, positions, width]`.
    Exported(TValue),
}

/// The engine failed at the encoder.
#[derive(Debug, thiserror::Error)]
#[error("the encoder: {0}")]
pub struct EncoderError(String);

impl Encoded {
    /// The values, row by row: `positions * width`.
    pub fn values(&self) -> Result<Vec<f32>, EncoderError> {
        let values = match &self.0 {
            States::Own(values, _) => floats(values),
            States::Exported(value) => floats(value),
        };
        values.map_err(|e| EncoderError(one_line(&e)))
    }
}

/// Encodes one window.
pub fn encode(model: &Model, features: &LogMel) -> Result<Encoded, EncoderError> {
    let _timed = stages::enter(Stage::Encoder);
    let states = match &model.engine {
        Engine::Own(turns) => turns
            .whisper()
            .encode(features)
            .map(|(states, memories)| States::Own(states, Arc::new(memories))),
        Engine::Exported(exported) => run(exported, features).map(States::Exported),
    };
    states.map(Encoded).map_err(|e| EncoderError(one_line(&e)))
}

fn run(exported: &Exported, features: &LogMel) -> TractResult<TValue> {
    let encoder = &exported.encoder;
    let input = Tensor::from_shape(&[1, features.bins, features.frames], &features.values)?;
    let mut outputs = encoder.run(&mut encoder.start()?, tvec![input.into()])?;
    let states = encoder
        .output("last_hidden_state")
        .filter(|&slot| slot < outputs.len());
    let states =
        states.ok_or_else(|| tract_onnx::prelude::TractError::msg("no output named last_hidden_state"))?;
    Ok(outputs.swap_remove(states))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bundled, decoder::Decoder};

    #[test]
    fn what_comes_after_the_frames_of_a_window_is_not_heard() {
        let model = Model::load(&bundled::find(bundled::DEFAULT).unwrap(), 2).unwrap();
        let window = |rest: f32| LogMel {
            bins: 80,
            frames: 3000,
            values: (0..80 * 3000)
                .map(|i| {
                    if i % 3000 < 802 {
                        (i % 977) as f32 / 977.0
                    } else {
                        rest
                    }
                })
                .collect(),
        };
        let width = model.config().sizes.width;
        let scores = |rest: f32, frames: usize| {
            let encoded = encode(&model, &window(rest).first(frames)).unwrap();
            assert_eq!(encoded.values().unwrap().len(), frames / 2 * width);
            let mut decoder = Decoder::new(&model, &encoded).unwrap();
            decoder
                .first(model.config().tokens.start)
                .unwrap()
                .scores()
                .to_vec()
        };
        assert_eq!(scores(0.0, 802), scores(1.0, 802));
        assert_ne!(scores(0.0, 1000), scores(1.0, 1000));
        assert_ne!(scores(0.0, 802), scores(0.0, 3000));
    }
}
