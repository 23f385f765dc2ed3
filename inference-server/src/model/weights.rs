//! The protobuf of a graph in; the weights of its layers out, found by the names that exporters give them after the modules of
//! `transformers`. What is not found where it is expected is said, and nothing is guessed.

use std::{collections::HashMap, path::Path};

use tract_onnx::{
    data_resolver,
    pb::{GraphProto, NodeProto, TensorProto},
    prelude::{Datum, DatumType},
    tensor::load_tensor,
};

use super::proto::Left;

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

    /// Whether the weights of a linear map, which has no bias, are of a shape, and what `value(row, column)` gives. Where they were left in
    /// the file they are looked at row by row.
    pub(super) fn is(
        &self,
        module: &str,
        [rows, columns]: [usize; 2],
        value: impl Fn(usize, usize) -> f32,
    ) -> Result<bool, String> {
        let same = |row: usize, values: &[f32]| {
            let mut values = values.iter().enumerate();
            values.all(|(column, x)| *x == value(row, column))
        };
        let node = self.node(module, "MatMul");
        let tensor = node.and_then(|node| self.initial.get(node.input.get(1)?.as_str()));
        let tensor = tensor.filter(|tensor| tensor.dims == [rows as i64, columns as i64]);
        let left = tensor.and_then(|tensor| self.left.pieces(tensor, columns));
        if let Some(left) = left.filter(|_| self.node(module, "Add").is_none()) {
            for (i, values) in left.enumerate() {
                let values =
                    values.map_err(|error| format!("the weights of {module} cannot be read: {error}"))?;
                if !same(i, &values) {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let Map { weight, bias } = self.map(module)?;
        let mut values = weight.values.chunks(columns.max(1)).enumerate();
        Ok(bias.is_none() && weight.shape == [rows, columns] && values.all(|(i, row)| same(i, row)))
    }

    /// A parameter of a module, by its name in `transformers`, such as `layers.0.self_attn_layer_norm.weight`.
    pub(super) fn parameter(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let is = |candidate: &&str| {
            let before = candidate.strip_suffix(name);
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        let candidates = self.initial.keys().chain(self.made.keys()).copied();
        let found = candidates
            .filter(|candidate| is(candidate))
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
        if let Some(values) = self.left.floats(tensor) {
            let values = values.ok()?;
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
