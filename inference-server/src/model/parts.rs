//! The name of a part of a Whisper in; the part out: made of the graphs' weights now, or kept in a file since it was made.

use std::{cell::RefCell, path::Path, sync::Arc};

use tract_onnx::pb::ModelProto;

use super::{prepacked::Prepacked, proto::Left, weights::Weights};
use crate::kernels::matrix::Matrix;

/// Where the parts come from.
pub(super) enum Parts<'a> {
    /// Of the weights of the encoder's graph and of the decoder's. What is made of them is noted where somebody wants it.
    Graphs(Box<[Weights<'a>; 2]>, Option<RefCell<Vec<(String, Part)>>>),
    /// Of a file.
    Prepacked(&'a Prepacked),
}

/// Something that a Whisper is made of.
pub(super) enum Part {
    Matrix(Arc<Matrix>),
    Numbers(Vec<f32>),
}

/// A matrix, and the numbers that belong to it: offsets, or what the matrix does not tell.
pub(super) type WithNumbers<M> = (M, Option<Vec<f32>>);

/// Operators that a Whisper has not: the graph is another model's, or its weights are in 8 bits.
const FOREIGN: [&str; 9] = [
    "Tanh",
    "Relu",
    "Sigmoid",
    "MatMulInteger",
    "DynamicQuantizeLinear",
    "DequantizeLinear",
    "QLinearMatMul",
    "ConvInteger",
    "RotaryEmbedding",
];

impl<'a> Parts<'a> {
    /// Those of the encoder's protobuf and the decoder's, from these paths; fails with the reason where they are no Whisper's.
    pub(super) fn of(
        protobufs: [&'a (ModelProto, Left); 2],
        paths: [&'a Path; 2],
    ) -> Result<Parts<'a>, String> {
        let weights = |half: usize| {
            let (model, left) = protobufs[half];
            let graph = model.graph.as_ref().ok_or("a file holds no graph")?;
            let weights = Weights::of(graph, left, paths[half]);
            match weights.any(&FOREIGN) {
                Some(operator) => Err(format!("it has the operator {operator}")),
                None => Ok(weights),
            }
        };
        Ok(Parts::Graphs(Box::new([weights(0)?, weights(1)?]), None))
    }

    /// The same, with a note of what is made of them.
    pub(super) fn noted(self) -> Parts<'a> {
        match self {
            Parts::Graphs(weights, _) => Parts::Graphs(weights, Some(RefCell::default())),
            kept => kept,
        }
    }

    /// What was noted.
    pub(super) fn made(self) -> Vec<(String, Part)> {
        match self {
            Parts::Graphs(_, Some(made)) => made.into_inner(),
            _ => Vec::new(),
        }
    }

    /// The encoder's.
    pub(super) fn encoder(&self) -> Half<'_> {
        Half(self, 0)
    }

    /// The decoder's.
    pub(super) fn decoder(&self) -> Half<'_> {
        Half(self, 1)
    }
}

/// The parts of the encoder or of the decoder.
#[derive(Clone, Copy)]
pub(super) struct Half<'p>(&'p Parts<'p>, usize);

impl Half<'_> {
    /// A matrix, made as `make` says unless it was kept.
    pub(super) fn matrix(
        &self,
        name: &str,
        make: impl FnOnce(&Weights<'_>) -> Result<WithNumbers<Matrix>, String>,
    ) -> Result<WithNumbers<Arc<Matrix>>, String> {
        let name = self.full(name);
        let beside = format!("{name}.numbers");
        match self.0 {
            Parts::Prepacked(file) => Ok((Arc::new(file.matrix(&name)?), file.numbers(&beside))),
            Parts::Graphs(weights, made) => {
                let (matrix, numbers) = make(&weights[self.1])?;
                let matrix = Arc::new(matrix);
                if let Some(made) = made {
                    let numbers = numbers.clone().map(|numbers| (beside, Part::Numbers(numbers)));
                    made.borrow_mut().push((name, Part::Matrix(matrix.clone())));
                    made.borrow_mut().extend(numbers);
                }
                Ok((matrix, numbers))
            }
        }
    }

    /// Numbers, made as `make` says unless they were kept.
    pub(super) fn numbers(
        &self,
        name: &str,
        make: impl FnOnce(&Weights<'_>) -> Result<Vec<f32>, String>,
    ) -> Result<Vec<f32>, String> {
        let name = self.full(name);
        match self.0 {
            Parts::Prepacked(file) => file.numbers(&name).ok_or_else(|| format!("they have no {name}")),
            Parts::Graphs(weights, made) => {
                let numbers = make(&weights[self.1])?;
                if let Some(made) = made {
                    made.borrow_mut().push((name, Part::Numbers(numbers.clone())));
                }
                Ok(numbers)
            }
        }
    }

    /// A parameter as it is.
    pub(super) fn parameter(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        self.numbers(name, |weights| weights.parameter(name, shape))
    }

    fn full(&self, name: &str) -> String {
        format!("{}.{name}", ["encoder", "decoder"][self.1])
    }
}
