//! What a client asks for and what the model takes in; the inputs in the model's order, or what is wrong with them, out. Pure.

use std::collections::HashMap;

use tokio_util::bytes::Bytes;

use super::{
    Datatype, Signature, TensorSpec,
    signature::{Dim, written},
};
use crate::status::Failure;

/// A request, however it came.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The tensors sent.
    pub inputs: Vec<AskedInput>,
    /// The names of the outputs wanted; none: all of them.
    pub outputs: Vec<String>,
}

/// A tensor that was sent.
#[derive(Clone, Debug)]
pub struct AskedInput {
    /// Its name.
    pub name: String,
    /// What its elements are said to be.
    pub datatype: Datatype,
    /// Its shape.
    pub shape: Vec<i64>,
    /// Its elements, row by row, little endian.
    pub bytes: Bytes,
}

/// A tensor that the model gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// Its name.
    pub name: String,
    /// What its elements are.
    pub datatype: Datatype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, row by row, little endian.
    pub bytes: Vec<u8>,
}

/// A request that fits the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fitting {
    /// Shape and elements of each input, in the model's order.
    pub(super) inputs: Vec<(Vec<usize>, Bytes)>,
    /// The outputs wanted, by their places in the model.
    pub(super) outputs: Vec<usize>,
}

/// Puts a request into the model's order.
pub(super) fn fit(signature: &Signature, asked: Asked) -> Result<Fitting, Failure> {
    let mut sent: HashMap<String, AskedInput> = HashMap::new();
    for input in asked.inputs {
        if !signature.inputs.iter().any(|known| known.name == input.name) {
            let (name, known) = (&input.name, names(&signature.inputs));
            return Err(wrong(format!(
                "the model has no input named {name:?}; its inputs are: {known}"
            )));
        }
        if let Some(twice) = sent.insert(input.name.clone(), input) {
            return Err(wrong(format!("the input {:?} was sent twice", twice.name)));
        }
    }
    let (mut fitting, mut sizes) = (Fitting::default(), HashMap::new());
    for spec in &signature.inputs {
        let input = sent
            .remove(&spec.name)
            .ok_or_else(|| wrong(format!("the input {:?} is missing", spec.name)))?;
        let shape = shape(spec, &input, &mut sizes)?;
        fitting.inputs.push((shape, input.bytes));
    }
    fitting.outputs = outputs(signature, &asked.outputs)?;
    Ok(fitting)
}

fn outputs(signature: &Signature, wanted: &[String]) -> Result<Vec<usize>, Failure> {
    if wanted.is_empty() {
        return Ok((0..signature.outputs.len()).collect());
    }
    let place = |name: &String| {
        let place = signature.outputs.iter().position(|known| known.name == *name);
        place.ok_or_else(|| {
            let known = names(&signature.outputs);
            Failure::invalid(
                "outputs",
                format!("the model has no output named {name:?}; its outputs are: {known}"),
            )
        })
    };
    wanted.iter().map(place).collect()
}

/// The shape of an input, if it is one that the model takes and has so many bytes.
fn shape<'s>(
    spec: &'s TensorSpec,
    input: &AskedInput,
    sizes: &mut HashMap<&'s str, (usize, &'s str)>,
) -> Result<Vec<usize>, Failure> {
    let name = &spec.name;
    if input.datatype != spec.datatype {
        let (is, sent) = (spec.datatype, input.datatype);
        return Err(wrong(format!(
            "the input {name:?} is {is}, but was sent as {sent}"
        )));
    }
    let dims = spec.shape.as_deref().unwrap_or_default();
    let fits = |(dim, size): (&Dim, &i64)| match dim {
        Dim::Fixed(wanted) => usize::try_from(*size).is_ok_and(|size| size == *wanted),
        Dim::Named(_) | Dim::Any => *size >= 0,
    };
    if dims.len() != input.shape.len() || !dims.iter().zip(&input.shape).all(fits) {
        return Err(wrong(format!(
            "the input {name:?} has the shape [{}], but was sent with {:?}",
            written(dims),
            input.shape
        )));
    }
    let shape: Vec<usize> = input
        .shape
        .iter()
        .map(|size| usize::try_from(*size).unwrap_or(usize::MAX))
        .collect();
    for (dim, size) in dims.iter().zip(&shape) {
        if let Dim::Named(dim) = dim {
            let (before, of) = *sizes.entry(dim).or_insert((*size, name));
            if before != *size {
                return Err(wrong(format!(
                    "the dimension {dim} is {before} in the input {of:?}, but {size} in {name:?}"
                )));
            }
        }
    }
    let elements = shape
        .iter()
        .try_fold(spec.datatype.size(), |so_far, size| so_far.checked_mul(*size));
    if elements != Some(input.bytes.len()) {
        let needed = elements.map_or("more bytes than there are".to_owned(), |bytes| {
            format!("{bytes} bytes")
        });
        return Err(wrong(format!(
            "the input {name:?} of shape {:?} and datatype {} needs {needed}, but {} were sent",
            input.shape,
            spec.datatype,
            input.bytes.len()
        )));
    }
    Ok(shape)
}

fn wrong(message: String) -> Failure {
    Failure::invalid("inputs", message)
}

fn names(specs: &[TensorSpec]) -> String {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    names.join(", ")
}
