//! The protobuf of a graph in; the weights of its layers out, found by the names that exporters give them after the modules of
//! `transformers`. What is not found where it is expected is said, and nothing is guessed.

use std::{collections::HashMap, path::Path};

use tract_onnx::{
    data_resolver,
    pb::{GraphProto, NodeProto, TensorProto},
    prelude::{Datum, DatumType},
    tensor::load_tensor,
};

use super::proto::{Floats, Left};

/// Rows that are looked at together.
const PIECE: usize = 2048;

/// Numbers with their shape.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// A linear map: `[in, out]` and the offset of each value that comes out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Map {
    pub(super) weight: Array,
    pub(super) bias: Option<Vec<f32>>,
}

/// The weights of a graph.
pub(super) struct Weights<'g> {
    folder: Option<&'g str>,
    left: &'g Left,
    initial: HashMap<&'g str, &'g TensorProto>,
    made: HashMap<&'g str, &'g NodeProto>,
    nodes: &'g [NodeProto],
}

impl<'g> Weights<'g> {
    /// Those of a graph in the file at `path`, whose values were left there.
    pub(super) fn of(graph: &'g GraphProto, left: &'g Left, path: &'g Path) -> Self {
        let initial = graph
            .initializer
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor));
        let outputs = |node: &'g NodeProto| node.output.iter().map(move |output| (output.as_str(), node));
        Weights {
            folder: path.parent().and_then(Path::to_str),
            left,
            initial: initial.collect(),
            made: graph.node.iter().flat_map(outputs).collect(),
            nodes: &graph.node,
        }
    }

    /// Whether a node has one of these operators.
    pub(super) fn any(&self, operators: &[&str]) -> Option<&'g str> {
        let mut found = self.nodes.iter().map(|node| node.op_type.as_str());
        found.find(|operator| operators.contains(operator))
    }

    /// The node of an operator in a module, such as `MatMul` in `layers.0/fc1`.
    fn node(&self, module: &str, operator: &str) -> Option<&'g NodeProto> {
        let wanted = format!("{module}/{operator}");
        let is = |node: &&NodeProto| {
            let before = node.name.strip_suffix(&wanted);
            node.op_type == operator
                && before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
        };
        self.nodes.iter().find(is)
    }

    /// The linear map of a module.
    pub(super) fn map(&self, module: &str) -> Result<Map, String> {
        let node = self.node(module, "MatMul");
        let node = node.ok_or_else(|| format!("no operator MatMul belongs to {module}"))?;
        let weight = node.input.get(1).and_then(|name| self.array(name));
        let weight = weight.filter(|weight| weight.shape.len() == 2);
        let weight = weight.ok_or_else(|| format!("the weights of {module} are not plain numbers"))?;
        let bias = match self.node(module, "Add") {
            None => None,
            Some(node) => {
                let bias = node.input.iter().find_map(|name| self.array(name));
                let bias = bias.filter(|bias| bias.shape == weight.shape[1..]);
                Some(
                    bias.ok_or_else(|| format!("the bias of {module} is not plain numbers"))?
                        .values,
                )
            }
        };
        Ok(Map { weight, bias })
    }

    /// Whether a linear map, which has no bias, is a parameter with rows for columns: what is left in files is compared piece by piece.
    pub(super) fn is_transposed(
        &self,
        module: &str,
        name: &str,
        [rows, width]: [usize; 2],
    ) -> Result<bool, String> {
        let node = self.node(module, "MatMul");
        let given = node.and_then(|node| self.initial.get(node.input.get(1)?.as_str()));
        let given = given.filter(|tensor| tensor.dims == [width as i64, rows as i64]);
        let given = given.and_then(|tensor| self.left.floats(tensor));
        let own = self.left_rows(name, [rows, width]);
        let (Some(given), Some(own), None) = (given, own, self.node(module, "Add")) else {
            let (map, own) = (self.map(module)?, self.parameter(name, &[rows, width])?);
            let mut values = map.weight.values.iter().enumerate();
            return Ok(map.bias.is_none()
                && map.weight.shape == [width, rows]
                && values.all(|(at, x)| *x == own[at % rows * width + at / rows]));
        };
        let failed = |error| format!("the weights of {module} cannot be read: {error}");
        for from in (0..rows).step_by(PIECE) {
            let count = PIECE.min(rows - from);
            let own = own.take(from * width, count * width).map_err(failed)?;
            for column in 0..width {
                let given = given.take(column * rows + from, count).map_err(failed)?;
                let own = own[column..].iter().step_by(width);
                if !given.iter().eq(own) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Gives the rows of a parameter one after another. Those that are left in a file are never in memory together.
    pub(super) fn each_row(
        &self,
        name: &str,
        [rows, width]: [usize; 2],
    ) -> Result<impl FnMut(&mut [f32]) -> Result<(), String>, String> {
        let left = self.left_rows(name, [rows, width]);
        let (mut piece, mut next) = match left {
            Some(_) => (Vec::new(), 0),
            None => (self.parameter(name, &[rows, width])?, rows),
        };
        let (name, mut at) = (name.to_owned(), 0);
        Ok(move |row: &mut [f32]| {
            if let Some(left) = left.filter(|_| at == piece.len()) {
                let count = PIECE.min(rows - next);
                let read = left.take(next * width, count * width);
                piece = read.map_err(|error| format!("{name} cannot be read: {error}"))?;
                (next, at) = (next + count, 0);
            }
            row.copy_from_slice(&piece[at..at + width]);
            at += width;
            Ok(())
        })
    }

    /// A parameter whose values were left in the file.
    fn left_rows(&self, name: &str, [rows, width]: [usize; 2]) -> Option<Floats<'g>> {
        let tensors = self
            .initial
            .iter()
            .filter(|(candidate, _)| is_named(candidate, name));
        let mut shaped = tensors.filter(|(_, tensor)| tensor.dims == [rows as i64, width as i64]);
        let floats = shaped.find_map(|(_, tensor)| self.left.floats(tensor))?;
        (floats.count == rows * width).then_some(floats)
    }

    /// A parameter of a module, by its name in `transformers`, such as `layers.0.self_attn_layer_norm.weight`.
    pub(super) fn parameter(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let candidates = self.initial.keys().chain(self.made.keys()).copied();
        let found = candidates
            .filter(|candidate| is_named(candidate, name))
            .find_map(|name| self.array(name));
        let found = found.ok_or_else(|| format!("there is no parameter {name}"))?;
        if found.shape == shape {
            return Ok(found.values);
        }
        Err(format!(
            "{name} has the shape {:?}, {shape:?} is expected",
            found.shape
        ))
    }

    /// Numbers of a shape that an operator is given.
    pub(super) fn given(&self, operator: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let nodes = self.nodes.iter().filter(|node| node.op_type == operator);
        let arrays = nodes
            .flat_map(|node| &node.input)
            .filter(|name| self.could_be(name, shape));
        let found = arrays
            .filter_map(|name| self.array(name))
            .find(|array| array.shape == shape);
        found
            .map(|array| array.values)
            .ok_or_else(|| format!("no operator {operator} is given numbers of shape {shape:?}"))
    }

    /// The epsilon of a layer normalisation.
    pub(super) fn epsilon(&self, module: &str) -> f32 {
        let node = self.node(module, "LayerNormalization");
        let attribute = node.and_then(|node| node.attribute.iter().find(|a| a.name == "epsilon"));
        attribute.map_or(1e-5, |attribute| attribute.f)
    }

    /// Whether the numbers of a name may have a shape, without reading them.
    fn could_be(&self, name: &str, shape: &[usize]) -> bool {
        match self.initial.get(name) {
            Some(tensor) => tensor.dims.iter().map(|&d| d as usize).eq(shape.iter().copied()),
            None => self.made.contains_key(name),
        }
    }

    /// Floats that are there, or are made of such in a way that changes no value.
    fn array(&self, name: &str) -> Option<Array> {
        if let Some(tensor) = self.initial.get(name) {
            return self.read(tensor);
        }
        let node = self.made.get(name)?;
        match node.op_type.as_str() {
            "Constant" => self.read(node.attribute.iter().find_map(|a| a.t.as_ref())?),
            "Identity" | "Cast" => self.array(node.input.first()?),
            "Transpose" => {
                let array = self.array(node.input.first()?)?;
                let [rows, columns] = array.shape[..] else {
                    return None;
                };
                let values = (0..columns).flat_map(|j| (0..rows).map(move |i| i * columns + j));
                Some(Array {
                    shape: vec![columns, rows],
                    values: values.map(|at| array.values[at]).collect(),
                })
            }
            _ => None,
        }
    }

    fn read(&self, tensor: &TensorProto) -> Option<Array> {
        let shape: Vec<usize> = tensor.dims.iter().map(|&d| d as usize).collect();
        if let Some(floats) = self.left.floats(tensor) {
            let values = floats.take(0, floats.count).ok()?;
            return (shape.iter().product::<usize>() == values.len()).then_some(Array { shape, values });
        }
        let tensor = self.left.whole(tensor).ok()?;
        let tensor = load_tensor(&*data_resolver::default(), &tensor, self.folder).ok()?;
        if ![f32::datum_type(), DatumType::F16].contains(&tensor.datum_type()) {
            return None;
        }
        let floats = tensor.cast_to::<f32>().ok()?;
        Some(Array {
            shape: floats.shape().to_vec(),
            values: floats.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec(),
        })
    }
}

/// Whether a name is that of a parameter, after the modules that it lies in.
fn is_named(candidate: &str, name: &str) -> bool {
    let before = candidate.strip_suffix(name);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tract_onnx::pb::{ModelProto, tensor_proto::DataType};

    use super::{
        super::proto::{self, Part},
        *,
    };

    /// More than a piece, and not a whole number of them.
    const ROWS: usize = PIECE + 100;
    const WIDTH: usize = 3;

    fn token(row: usize, column: usize) -> f32 {
        (row * 7 + column) as f32
    }

    fn tensor(name: &str, dims: [usize; 2], values: Vec<f32>, kind: DataType) -> TensorProto {
        let bytes = |x: &f32| match kind {
            DataType::Float16 => tract_onnx::prelude::f16::from_f32(*x).to_le_bytes().to_vec(),
            _ => x.to_le_bytes().to_vec(),
        };
        TensorProto {
            name: name.to_owned(),
            dims: dims.map(|dim| dim as i64).to_vec(),
            data_type: kind as i32,
            raw_data: values.iter().flat_map(bytes).collect(),
            ..TensorProto::default()
        }
    }

    /// What is found in a file with tokens and a map to their scores, of which one number may be another.
    fn found<T>(kind: DataType, other: Option<(usize, usize)>, find: impl Fn(&Weights<'_>) -> T) -> T {
        let tokens = (0..ROWS).flat_map(|row| (0..WIDTH).map(move |column| token(row, column)));
        let at = |row, column| token(row, column) + if other == Some((row, column)) { 8.0 } else { 0.0 };
        let map = (0..WIDTH).flat_map(|column| (0..ROWS).map(move |row| at(row, column)));
        let node = NodeProto {
            name: "/proj_out/MatMul".to_owned(),
            op_type: "MatMul".to_owned(),
            input: vec!["states".to_owned(), "onnx::MatMul_1".to_owned()],
            output: vec!["logits".to_owned()],
            ..NodeProto::default()
        };
        let model = ModelProto {
            graph: Some(GraphProto {
                node: vec![node],
                initializer: vec![
                    tensor(
                        "decoder.embed_tokens.weight",
                        [ROWS, WIDTH],
                        tokens.collect(),
                        kind,
                    ),
                    tensor("onnx::MatMul_1", [WIDTH, ROWS], map.collect(), kind),
                ],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), model.encode_to_vec()).unwrap();
        let (read, left) = proto::read_without_values(&tract_onnx::onnx(), file.path(), Part::Whole).unwrap();
        find(&Weights::of(read.graph.as_ref().unwrap(), &left, file.path()))
    }

    #[test]
    fn scores_come_from_the_tokens_own_rows_only_where_every_number_is_the_same() {
        let same = |other| {
            found(DataType::Float, other, |weights| {
                weights.is_transposed("proj_out", "embed_tokens.weight", [ROWS, WIDTH])
            })
        };
        assert_eq!(same(None), Ok(true));
        for other in [(0, 0), (0, 2), (PIECE - 1, 2), (PIECE, 0), (ROWS - 1, 1)] {
            assert_eq!(same(Some(other)), Ok(false), "{other:?} is another");
        }
    }

    #[test]
    fn rows_come_one_after_another_over_the_ends_of_pieces() {
        for kind in [DataType::Float, DataType::Float16] {
            found(kind, None, |weights| {
                let mut next = weights.each_row("embed_tokens.weight", [ROWS, WIDTH]).unwrap();
                let mut row = [0.0; WIDTH];
                for number in 0..ROWS {
                    next(&mut row).unwrap();
                    let exact = |x: f32| match kind {
                        DataType::Float16 => tract_onnx::prelude::f16::from_f32(x).to_f32(),
                        _ => x,
                    };
                    assert_eq!(row, std::array::from_fn(|column| exact(token(number, column))));
                }
            });
        }
    }
}
