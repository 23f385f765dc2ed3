//! An ONNX graph as its file has it in; the names, datatypes and shapes of what it takes and gives out. Runs nothing.

use std::{collections::HashSet, fmt};

use tract_onnx::pb::{
    GraphProto, ValueInfoProto, tensor_shape_proto::dimension::Value as DimValue, type_proto,
};

use super::Datatype;

/// A dimension, as the graph declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// Always of this size.
    Fixed(usize),
    /// Of any size, the same wherever this name stands.
    Named(String),
    /// Of any size.
    Any,
}

/// A tensor that a model takes or gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// What its elements are.
    pub datatype: Datatype,
    /// Its dimensions; `None` for an output of which the file tells none.
    pub shape: Option<Vec<Dim>>,
}

/// What a model takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// What it takes, in the graph's order.
    pub inputs: Vec<TensorSpec>,
    /// What it gives, in the graph's order.
    pub outputs: Vec<TensorSpec>,
}

impl Signature {
    /// Reads it; fails, in words, where something could not be served.
    pub(super) fn of(graph: &GraphProto) -> Result<Signature, String> {
        // Old exporters name the weights among the inputs.
        let weights: HashSet<&str> = graph
            .initializer
            .iter()
            .map(|weight| weight.name.as_str())
            .collect();
        let inputs = graph
            .input
            .iter()
            .filter(|input| !weights.contains(input.name.as_str()))
            .map(|input| TensorSpec::of(input, "input"))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(input) = inputs.iter().find(|input| input.shape.is_none()) {
            return Err(format!(
                "its input {} is declared without a shape: export it with one",
                input.name
            ));
        }
        let outputs = graph.output.iter().map(|output| TensorSpec::of(output, "output"));
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        if outputs.is_empty() {
            return Err("it has no outputs".to_owned());
        }
        Ok(Signature { inputs, outputs })
    }
}

impl TensorSpec {
    fn of(value: &ValueInfoProto, what: &str) -> Result<TensorSpec, String> {
        let name = value.name.clone();
        let declared = value.r#type.as_ref().and_then(|declared| declared.value.as_ref());
        let Some(type_proto::Value::TensorType(tensor)) = declared else {
            return Err(format!("its {what} {name} is no tensor"));
        };
        let datatype = Datatype::of_onnx(tensor.elem_type).ok_or_else(|| {
            format!("its {what} {name} is of a type that is not served: models here take and give numbers")
        })?;
        let dims = |shape: &tract_onnx::pb::TensorShapeProto| {
            let dims = shape.dim.iter().map(|dim| match &dim.value {
                Some(DimValue::DimValue(size)) => usize::try_from(*size).map_or(Dim::Any, Dim::Fixed),
                Some(DimValue::DimParam(name)) if !name.is_empty() && name != "?" => Dim::Named(name.clone()),
                _ => Dim::Any,
            });
            dims.collect()
        };
        Ok(TensorSpec {
            name,
            datatype,
            shape: tensor.shape.as_ref().map(dims),
        })
    }

    /// The shape as the protocol has it: -1 where a dimension may be of any size.
    pub fn shape_of_protocol(&self) -> Vec<i64> {
        let dims = self.shape.iter().flatten();
        dims.map(|dim| match dim {
            Dim::Fixed(size) => i64::try_from(*size).unwrap_or(-1),
            Dim::Named(_) | Dim::Any => -1,
        })
        .collect()
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.datatype)?;
        match &self.shape {
            Some(dims) => write!(f, " [{}]", written(dims)),
            None => Ok(()),
        }
    }
}

/// A shape for people.
pub(super) fn written(dims: &[Dim]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    dims.join(", ")
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(size) => size.fmt(f),
            Dim::Named(name) => f.write_str(name),
            Dim::Any => f.write_str("?"),
        }
    }
}
