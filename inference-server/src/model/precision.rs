//! The precision in which a model is computed, whatever that of its files; its names, and what this machine can do.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::whisper::beside;
use crate::kernels::tile::{Format, Isa};

/// How the products with weights are computed; everything else is in single precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// The fastest that is near enough to single precision, where it was measured for the model on this kind of machine
    /// ([`Measured`](super::Measured)); otherwise single precision.
    #[default]
    Auto,
    /// Single precision.
    F32,
    /// Weights and what they are multiplied with in bf16.
    Bf16,
    /// The decoder in eight bits, and the encoder in bf16, or in single precision where the machine has no bf16.
    Int8Bf16,
    /// Weights and what they are multiplied with in eight bits.
    Int8,
}

/// The formats of the linear maps of a Whisper's halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Formats {
    pub(crate) encoder: Format,
    /// The few rows of a step take no longer with twice the bits.
    pub(crate) decoder: Format,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 5] = [
        Precision::Auto,
        Precision::F32,
        Precision::Bf16,
        Precision::Int8Bf16,
        Precision::Int8,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Auto => "auto",
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Int8Bf16 => "int8-bf16",
            Precision::Int8 => "int8",
        }
    }

    /// What a machine computes instead: single precision where it has no instructions for what was asked for.
    pub(super) fn on(self, isa: Isa) -> Precision {
        match self {
            Precision::Bf16 if isa.takes(Format::Bf16) => self,
            Precision::Int8Bf16 | Precision::Int8 if isa.takes(Format::Int8) => self,
            _ => Precision::F32,
        }
    }

    /// The formats of numbers on a machine.
    pub(super) fn formats(self, isa: Isa) -> Formats {
        let [encoder, decoder] = match self.on(isa) {
            Precision::Auto | Precision::F32 => [Format::F32; 2],
            Precision::Bf16 => [Format::Bf16; 2],
            Precision::Int8Bf16 => [beside(isa, Format::Int8), Format::W8A16],
            Precision::Int8 => [Format::Int8, Format::W8A16],
        };
        Formats { encoder, decoder }
    }

    /// Whether a machine is faster with it than in single precision.
    pub(super) fn is_faster(self, isa: Isa) -> bool {
        self != Precision::F32 && self.on(isa) == self && isa.is_faster_in(self.formats(isa).decoder)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Precision::ALL
            .into_iter()
            .find(|precision| precision.name() == name);
        found.ok_or_else(|| format!("it is one of {}", Precision::ALL.map(Precision::name).join(", ")))
    }
}
