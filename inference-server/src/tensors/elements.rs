//! Elements in one of the forms that they travel in, in; the bytes of a tensor in memory out (row by row, little endian), and back.
//! Counts nothing: whether there are enough is `request`'s to say.

use serde::{Serialize, Serializer};
use tract_onnx::prelude::{Datum, Tensor, TractResult, f16};

use super::datatype::{Datatype, of_datatype};

/// A type whose values are elements.
pub(crate) trait Element: Datum + Copy {
    /// Bytes of one.
    const SIZE: usize;
    /// From its bytes, of which there are [`Element::SIZE`].
    fn read(bytes: &[u8]) -> Self;
    /// Its bytes.
    fn write(self, out: &mut Vec<u8>);
    /// From an integer, if it is in range.
    fn of_int(value: i128) -> Option<Self>;
    /// From a number with a fraction.
    fn of_float(value: f64) -> Option<Self>;
    /// As a number with a fraction, for comparing.
    fn to_float(self) -> f64;
    /// What is written into JSON for it.
    type Json: Serialize;
    /// It, for JSON.
    fn to_json(self) -> Self::Json;
}

macro_rules! integer {
    ($($T:ty),*) => {$(
        impl Element for $T {
            const SIZE: usize = size_of::<$T>();
            fn read(bytes: &[u8]) -> Self {
                bytes.try_into().map(<$T>::from_le_bytes).unwrap_or_default()
            }
            fn write(self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }
            fn of_int(value: i128) -> Option<Self> {
                value.try_into().ok()
            }
            fn of_float(_: f64) -> Option<Self> {
                None
            }
            fn to_float(self) -> f64 {
                self as f64
            }
            type Json = $T;
            fn to_json(self) -> $T {
                self
            }
        }
    )*};
}
integer!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Element for bool {
    const SIZE: usize = 1;
    fn read(bytes: &[u8]) -> Self {
        bytes.iter().any(|byte| *byte != 0)
    }
    fn write(self, out: &mut Vec<u8>) {
        out.push(u8::from(self));
    }
    fn of_int(value: i128) -> Option<Self> {
        match value {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
    fn of_float(_: f64) -> Option<Self> {
        None
    }
    fn to_float(self) -> f64 {
        f64::from(u8::from(self))
    }
    type Json = bool;
    fn to_json(self) -> bool {
        self
    }
}

macro_rules! float {
    ($($T:ty: $of:expr, $to:expr, $J:ty, $json:expr;)*) => {$(
        impl Element for $T {
            const SIZE: usize = size_of::<$T>();
            fn read(bytes: &[u8]) -> Self {
                bytes.try_into().map(<$T>::from_le_bytes).unwrap_or_default()
            }
            fn write(self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }
            fn of_int(value: i128) -> Option<Self> {
                Self::of_float(value as f64)
            }
            fn of_float(value: f64) -> Option<Self> {
                Some($of(value))
            }
            fn to_float(self) -> f64 {
                $to(self)
            }
            type Json = $J;
            fn to_json(self) -> $J {
                $json(self)
            }
        }
    )*};
}
float!(
    f16: f16::from_f64, f16::to_f64, f32, f16::to_f32;
    f32: |v| v as f32, f64::from, f32, |v| v;
    f64: |v| v, |v| v, f64, |v| v;
);

/// Elements of a type that is not the tensor's, as JSON and protobuf have them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Loose {
    /// Truths.
    Bools(Vec<bool>),
    /// Integers.
    Ints(Vec<i64>),
    /// Integers that may be too large for the others.
    Unsigned(Vec<u64>),
    /// Numbers with fractions.
    Floats(Vec<f64>),
}

impl Loose {
    /// All of them as numbers with fractions.
    pub(crate) fn floats(&self) -> Vec<f64> {
        match self {
            Loose::Bools(values) => values.iter().map(|value| f64::from(u8::from(*value))).collect(),
            Loose::Ints(values) => values.iter().map(|value| *value as f64).collect(),
            Loose::Unsigned(values) => values.iter().map(|value| *value as f64).collect(),
            Loose::Floats(values) => values.clone(),
        }
    }

    /// The bytes of a tensor of this datatype; fails with the first that it cannot hold.
    pub(crate) fn bytes(&self, datatype: Datatype) -> Result<Vec<u8>, String> {
        of_datatype!(datatype, T => {
            match self {
                Loose::Bools(values) if datatype == Datatype::Bool => written::<T, bool>(values, |v| T::of_int(i128::from(v)), datatype),
                Loose::Bools(_) => Err(format!("its elements are true and false, which are no {datatype}")),
                Loose::Ints(values) => written::<T, i64>(values, |v| T::of_int(i128::from(v)), datatype),
                Loose::Unsigned(values) => written::<T, u64>(values, |v| T::of_int(i128::from(v)), datatype),
                Loose::Floats(values) => written::<T, f64>(values, T::of_float, datatype),
            }
        })
    }
}

fn written<T: Element, V: Copy + std::fmt::Display>(
    values: &[V],
    element: impl Fn(V) -> Option<T>,
    datatype: Datatype,
) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(values.len() * T::SIZE);
    for value in values {
        let element = element(*value).ok_or_else(|| format!("its element {value} is no {datatype}"))?;
        element.write(&mut bytes);
    }
    Ok(bytes)
}

/// The tensor of so many bytes as its datatype and shape need.
pub(crate) fn tensor(datatype: Datatype, shape: &[usize], bytes: &[u8]) -> TractResult<Tensor> {
    of_datatype!(datatype, T => {
        let values: Vec<T> = bytes.chunks_exact(<T as Element>::SIZE).map(T::read).collect();
        Tensor::from_shape(shape, &values)
    })
}

/// The bytes of a tensor that is of this datatype.
pub(crate) fn bytes(datatype: Datatype, tensor: &Tensor) -> TractResult<Vec<u8>> {
    of_datatype!(datatype, T => {
        let values = tensor.try_as_plain_ram()?;
        let values = values.as_slice::<T>()?;
        let mut bytes = Vec::with_capacity(values.len() * <T as Element>::SIZE);
        values.iter().for_each(|value| value.write(&mut bytes));
        Ok(bytes)
    })
}

/// The bytes of a tensor as numbers with fractions.
pub(crate) fn floats(datatype: Datatype, bytes: &[u8]) -> Vec<f64> {
    of_datatype!(datatype, T => {
        bytes.chunks_exact(<T as Element>::SIZE).map(|chunk| T::read(chunk).to_float()).collect()
    })
}

/// The bytes of a tensor as a JSON array. Each of its elements is a number that JSON has: see [`finite`].
pub(crate) struct Array<'b>(pub(crate) Datatype, pub(crate) &'b [u8]);

impl Serialize for Array<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        of_datatype!(self.0, T => {
            serializer.collect_seq(self.1.chunks_exact(<T as Element>::SIZE).map(|chunk| T::read(chunk).to_json()))
        })
    }
}

/// Whether every element is a number that JSON has.
pub(crate) fn finite(datatype: Datatype, bytes: &[u8]) -> bool {
    of_datatype!(datatype, T => {
        bytes.chunks_exact(<T as Element>::SIZE).all(|chunk| T::read(chunk).to_float().is_finite())
    })
}
