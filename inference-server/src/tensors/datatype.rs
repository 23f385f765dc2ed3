//! The datatypes of the protocol in; those of ONNX and of tract out, and back.

use std::{fmt, str::FromStr};

use tract_onnx::{pb::tensor_proto::DataType, prelude::DatumType};

/// What the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each is what its name in the protocol says
pub enum Datatype {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Fp16,
    Fp32,
    Fp64,
}

impl Datatype {
    /// All of them.
    pub const ALL: [Datatype; 12] = [
        Datatype::Bool,
        Datatype::Int8,
        Datatype::Int16,
        Datatype::Int32,
        Datatype::Int64,
        Datatype::Uint8,
        Datatype::Uint16,
        Datatype::Uint32,
        Datatype::Uint64,
        Datatype::Fp16,
        Datatype::Fp32,
        Datatype::Fp64,
    ];

    /// The name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Datatype::Bool => "BOOL",
            Datatype::Int8 => "INT8",
            Datatype::Int16 => "INT16",
            Datatype::Int32 => "INT32",
            Datatype::Int64 => "INT64",
            Datatype::Uint8 => "UINT8",
            Datatype::Uint16 => "UINT16",
            Datatype::Uint32 => "UINT32",
            Datatype::Uint64 => "UINT64",
            Datatype::Fp16 => "FP16",
            Datatype::Fp32 => "FP32",
            Datatype::Fp64 => "FP64",
        }
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Datatype::Bool | Datatype::Int8 | Datatype::Uint8 => 1,
            Datatype::Int16 | Datatype::Uint16 | Datatype::Fp16 => 2,
            Datatype::Int32 | Datatype::Uint32 | Datatype::Fp32 => 4,
            Datatype::Int64 | Datatype::Uint64 | Datatype::Fp64 => 8,
        }
    }

    /// That of a tensor of an ONNX file; `None`: it cannot be served.
    pub(super) fn of_onnx(data_type: i32) -> Option<Self> {
        Some(match DataType::try_from(data_type).ok()? {
            DataType::Bool => Datatype::Bool,
            DataType::Int8 => Datatype::Int8,
            DataType::Int16 => Datatype::Int16,
            DataType::Int32 => Datatype::Int32,
            DataType::Int64 => Datatype::Int64,
            DataType::Uint8 => Datatype::Uint8,
            DataType::Uint16 => Datatype::Uint16,
            DataType::Uint32 => Datatype::Uint32,
            DataType::Uint64 => Datatype::Uint64,
            DataType::Float16 => Datatype::Fp16,
            DataType::Float => Datatype::Fp32,
            DataType::Double => Datatype::Fp64,
            _ => return None,
        })
    }

    /// What tract calls it.
    pub(super) fn datum_type(self) -> DatumType {
        match self {
            Datatype::Bool => DatumType::Bool,
            Datatype::Int8 => DatumType::I8,
            Datatype::Int16 => DatumType::I16,
            Datatype::Int32 => DatumType::I32,
            Datatype::Int64 => DatumType::I64,
            Datatype::Uint8 => DatumType::U8,
            Datatype::Uint16 => DatumType::U16,
            Datatype::Uint32 => DatumType::U32,
            Datatype::Uint64 => DatumType::U64,
            Datatype::Fp16 => DatumType::F16,
            Datatype::Fp32 => DatumType::F32,
            Datatype::Fp64 => DatumType::F64,
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Datatype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Datatype::ALL.into_iter().find(|datatype| datatype.name() == text);
        found.ok_or_else(|| match text {
            "BYTES" => "the datatype BYTES is not served: models here take and give numbers".to_owned(),
            other => {
                let names = Datatype::ALL.map(Datatype::name).join(", ");
                format!("there is no datatype {other:?} here, but {names}")
            }
        })
    }
}

/// Runs a block with a type's name for the Rust type of a datatype.
macro_rules! of_datatype {
    ($datatype:expr, $T:ident => $block:expr) => {{
        use tract_onnx::prelude::f16;
        match $datatype {
            Datatype::Bool => {
                type $T = bool;
                $block
            }
            Datatype::Int8 => {
                type $T = i8;
                $block
            }
            Datatype::Int16 => {
                type $T = i16;
                $block
            }
            Datatype::Int32 => {
                type $T = i32;
                $block
            }
            Datatype::Int64 => {
                type $T = i64;
                $block
            }
            Datatype::Uint8 => {
                type $T = u8;
                $block
            }
            Datatype::Uint16 => {
                type $T = u16;
                $block
            }
            Datatype::Uint32 => {
                type $T = u32;
                $block
            }
            Datatype::Uint64 => {
                type $T = u64;
                $block
            }
            Datatype::Fp16 => {
                type $T = f16;
                $block
            }
            Datatype::Fp32 => {
                type $T = f32;
                $block
            }
            Datatype::Fp64 => {
                type $T = f64;
                $block
            }
        }
    }};
}
pub(super) use of_datatype;
