//! 32 ms of samples and a state in; the probability of speech and the next state out. Holds no state of a stream.

use std::sync::Arc;

use tract_onnx::prelude::{Tensor, TractResult, tvec};

use super::{FRAME, VadError};
use crate::model::{
    ModelError,
    graph::{Dim, Graph, Runner, Running, one_line},
};

/// Silero VAD, its 16 kHz network; `models/silero-vad/README.md` says where it comes from.
const ONNX: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../models/silero-vad/silero_vad.onnx"
));
const FILE: &str = "silero_vad.onnx";

/// Samples of the frame before that the network sees again.
pub(super) const CONTEXT: usize = 64;
/// What the network is shown at once.
pub(super) const WINDOW: usize = CONTEXT + FRAME;
/// Numbers of the state of its LSTM: the hidden ones and the cells, 128 each.
pub(super) const STATE: usize = 2 * WIDTH;
const WIDTH: usize = 128;

/// The voice activity detector: loaded once, immutable; clones share it.
///
/// It runs on the thread that calls it: a frame is too little work to share.
#[derive(Clone)]
pub struct Detector {
    graph: Arc<Graph>,
    probability: usize,
    next_state: usize,
}

impl Detector {
    /// Loads the detector that is part of the program.
    pub fn load() -> Result<Self, VadError> {
        Self::of(ONNX)
    }

    fn of(onnx: &[u8]) -> Result<Self, VadError> {
        let graph = Graph::read(FILE, onnx, &shape, &Runner::cpu(1)).map_err(VadError::Load)?;
        let odd = |problem: &str| {
            VadError::Load(ModelError::Graph {
                file: FILE.to_owned(),
                problem: problem.to_owned(),
            })
        };
        if graph.inputs() != ["input", "state"] {
            return Err(odd("the inputs are not input and state"));
        }
        let output = |name: &str| {
            graph
                .output(name)
                .ok_or_else(|| odd(&format!("no output named {name}")))
        };
        let (probability, next_state) = (output("output")?, output("stateN")?);
        Ok(Detector {
            graph: Arc::new(graph),
            probability,
            next_state,
        })
    }

    /// A running instance, for as many frames as are at hand.
    pub(super) fn start(&self) -> Result<Running, VadError> {
        self.graph.start().map_err(|e| VadError::Engine(one_line(&e)))
    }

    /// The probability of speech in a window; the state becomes the one after it.
    pub(super) fn run(
        &self,
        running: &mut Running,
        window: &[f32; WINDOW],
        state: &mut [f32; STATE],
    ) -> Result<f32, VadError> {
        let mut run = || -> TractResult<f32> {
            let input = Tensor::from_shape(&[1, WINDOW], window)?;
            let before = Tensor::from_shape(&[2, 1, WIDTH], &*state)?;
            let outputs = self.graph.run(running, tvec![input.into(), before.into()])?;
            let after = outputs[self.next_state].try_as_plain_ram()?;
            state.copy_from_slice(after.as_slice::<f32>()?);
            Ok(outputs[self.probability].try_as_plain_ram()?.as_slice::<f32>()?[0])
        };
        run().map_err(|e| VadError::Engine(one_line(&e)))
    }
}

fn shape(input: &str) -> Option<Vec<Dim>> {
    match input {
        "input" => Some(vec![Dim::Fixed(1), Dim::Fixed(WINDOW)]),
        "state" => Some(vec![Dim::Fixed(2), Dim::Fixed(1), Dim::Fixed(WIDTH)]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_detector_is_refused_by_its_name() {
        let whisper = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../models/whisper-nano-digits/encoder_model.onnx"
        );
        for (bytes, problem) in [
            (b"not ONNX".to_vec(), ""),
            (std::fs::read(whisper).unwrap(), "an input named input_features"),
        ] {
            let error = Detector::of(&bytes).err().unwrap().to_string();
            let expected = "the voice activity detector: failed to load silero_vad.onnx: ";
            assert!(error.starts_with(expected) && error.contains(problem), "{error}");
        }
    }
}
