//! The precision in which a model is computed, whatever that of its files; its names, and what this machine can do.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::kernels::tile::{Format, Isa};

/// How the products with weights are computed; everything else is in single precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// The fastest that is near enough to single precision, where it was measured for the model on this kind of machine
    /// ([`Measured`](super::Measured)); otherwise single precision.
    #[default]
    Auto,
    /// Single precision.
    F32,
    /// Weights and what they are multiplied with in bf16.
    Bf16,
    /// Weights and what they are multiplied with in eight bits.
    Int8,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 4] = [Precision::Auto, Precision::F32, Precision::Bf16, Precision::Int8];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Auto => "auto",
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        }
    }

    /// The format of numbers: single precision where the machine has no instructions for what was asked for.
    pub(super) fn format(self, isa: Isa) -> Format {
        let format = match self {
            Precision::Auto | Precision::F32 => Format::F32,
            Precision::Bf16 => Format::Bf16,
            Precision::Int8 => Format::Int8,
        };
        if isa.takes(format) { format } else { Format::F32 }
    }

    /// Whether a machine is faster with it than in single precision.
    pub(super) fn is_faster(self, isa: Isa) -> bool {
        let format = self.format(isa);
        format != Format::F32 && isa.is_faster_in(format)
    }

    /// What a format is called.
    pub(super) fn of(format: Format) -> Precision {
        match format {
            Format::F32 => Precision::F32,
            Format::Bf16 => Precision::Bf16,
            Format::Int8 | Format::W8A16 => Precision::Int8,
        }
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
