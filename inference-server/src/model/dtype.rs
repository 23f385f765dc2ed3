//! The precisions in which exports are published; their names and the endings of their files' names.

use std::{fmt, str::FromStr};

/// The precision of a model's graphs, by the names that `transformers.js` and `onnx-community` use.
///
/// The order is the one in which they are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats: `encoder_model.onnx`.
    Fp32,
    /// 16-bit floats: `encoder_model_fp16.onnx`.
    Fp16,
    /// Weights in signed bytes, activations quantised as they come: `encoder_model_int8.onnx`.
    Int8,
    /// 8 bits, signed or not: `encoder_model_quantized.onnx`.
    Q8,
    /// Weights in unsigned bytes: `encoder_model_uint8.onnx`.
    Uint8,
}

impl Dtype {
    /// All of them, the preferred ones first.
    pub const ALL: [Dtype; 5] = [Dtype::Fp32, Dtype::Fp16, Dtype::Int8, Dtype::Q8, Dtype::Uint8];

    /// What a file's name has between its stem and `.onnx`.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Dtype::Fp32 => "",
            Dtype::Fp16 => "_fp16",
            Dtype::Int8 => "_int8",
            Dtype::Q8 => "_quantized",
            Dtype::Uint8 => "_uint8",
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Fp32 => "fp32",
            Dtype::Fp16 => "fp16",
            Dtype::Int8 => "int8",
            Dtype::Q8 => "q8",
            Dtype::Uint8 => "uint8",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dtype {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Dtype::ALL.into_iter().find(|dtype| dtype.name() == name);
        found.ok_or_else(|| format!("it is one of {}", Dtype::ALL.map(Dtype::name).join(", ")))
    }
}
