//! The typed contents of a message in; the bytes of a tensor out, and back.

use super::super::{Datatype, elements};
use crate::proto::inference::InferTensorContents;
use elements::{Element, Loose};

/// The field in which the elements of a datatype are; FP16 has none.
fn field(datatype: Datatype) -> Option<&'static str> {
    Some(match datatype {
        Datatype::Bool => "bool_contents",
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => "int_contents",
        Datatype::Int64 => "int64_contents",
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => "uint_contents",
        Datatype::Uint64 => "uint64_contents",
        Datatype::Fp16 => return None,
        Datatype::Fp32 => "fp32_contents",
        Datatype::Fp64 => "fp64_contents",
    })
}

/// Whether it holds nothing at all.
pub(super) fn is_empty(contents: &InferTensorContents) -> bool {
    filled(contents).is_empty()
}

/// The fields that hold something.
fn filled(contents: &InferTensorContents) -> Vec<&'static str> {
    let InferTensorContents {
        bool_contents,
        int_contents,
        int64_contents,
        uint_contents,
        uint64_contents,
        fp32_contents,
        fp64_contents,
        bytes_contents,
    } = contents;
    [
        ("bool_contents", bool_contents.is_empty()),
        ("int_contents", int_contents.is_empty()),
        ("int64_contents", int64_contents.is_empty()),
        ("uint_contents", uint_contents.is_empty()),
        ("uint64_contents", uint64_contents.is_empty()),
        ("fp32_contents", fp32_contents.is_empty()),
        ("fp64_contents", fp64_contents.is_empty()),
        ("bytes_contents", bytes_contents.is_empty()),
    ]
    .into_iter()
    .filter(|(_, empty)| !empty)
    .map(|(name, _)| name)
    .collect()
}

/// The bytes of a tensor of this datatype.
pub(super) fn bytes(datatype: Datatype, contents: InferTensorContents) -> Result<Vec<u8>, String> {
    let Some(field) = field(datatype) else {
        return Err(format!(
            "{datatype} has no typed contents: send raw_input_contents"
        ));
    };
    if let Some(other) = filled(&contents).into_iter().find(|other| *other != field) {
        return Err(format!(
            "the contents of {datatype} belong into {field}, but {other} holds some"
        ));
    }
    let loose = match datatype {
        Datatype::Bool => Loose::Bools(contents.bool_contents),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => {
            Loose::Ints(contents.int_contents.into_iter().map(i64::from).collect())
        }
        Datatype::Int64 => Loose::Ints(contents.int64_contents),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => {
            Loose::Ints(contents.uint_contents.into_iter().map(i64::from).collect())
        }
        Datatype::Uint64 => Loose::Unsigned(contents.uint64_contents),
        Datatype::Fp32 => return Ok(written(&contents.fp32_contents)),
        Datatype::Fp16 | Datatype::Fp64 => return Ok(written(&contents.fp64_contents)),
    };
    loose.bytes(datatype)
}

fn written<T: Element>(values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * T::SIZE);
    values.iter().for_each(|value| value.write(&mut bytes));
    bytes
}

fn read<T: Element, V: From<T>>(bytes: &[u8]) -> Vec<V> {
    bytes
        .chunks_exact(T::SIZE)
        .map(|chunk| T::read(chunk).into())
        .collect()
}

/// The typed contents of a tensor; of FP16, which has none, nothing.
pub(super) fn of(datatype: Datatype, bytes: &[u8]) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    match datatype {
        Datatype::Bool => contents.bool_contents = read::<bool, _>(bytes),
        Datatype::Int8 => contents.int_contents = read::<i8, _>(bytes),
        Datatype::Int16 => contents.int_contents = read::<i16, _>(bytes),
        Datatype::Int32 => contents.int_contents = read::<i32, _>(bytes),
        Datatype::Int64 => contents.int64_contents = read::<i64, _>(bytes),
        Datatype::Uint8 => contents.uint_contents = read::<u8, _>(bytes),
        Datatype::Uint16 => contents.uint_contents = read::<u16, _>(bytes),
        Datatype::Uint32 => contents.uint_contents = read::<u32, _>(bytes),
        Datatype::Uint64 => contents.uint64_contents = read::<u64, _>(bytes),
        Datatype::Fp16 => {}
        Datatype::Fp32 => contents.fp32_contents = read::<f32, _>(bytes),
        Datatype::Fp64 => contents.fp64_contents = read::<f64, _>(bytes),
    }
    contents
}
