//! Bytes of whole uncompressed samples in; the same samples at full scale 1 out. Knows no container and no rate.

/// How one sample is stored. All are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    Unsigned8,
    /// Two's complement of so many bytes, 2 to 4.
    Signed(usize),
    Float32,
    Float64,
    ALaw,
    MuLaw,
}

impl Sample {
    /// Bytes of a sample.
    pub(super) fn width(self) -> usize {
        match self {
            Sample::Unsigned8 | Sample::ALaw | Sample::MuLaw => 1,
            Sample::Signed(width) => width,
            Sample::Float32 => 4,
            Sample::Float64 => 8,
        }
    }

    /// The samples in `bytes`; what is no whole sample at the end is left out.
    pub(super) fn read(self, bytes: &[u8]) -> Vec<f32> {
        let samples = bytes.chunks_exact(self.width());
        match self {
            Sample::Unsigned8 => samples.map(|b| (f32::from(b[0]) - 128.0) / 128.0).collect(),
            Sample::Signed(_) => samples.map(signed).collect(),
            Sample::Float32 => samples
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            Sample::Float64 => samples
                .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32)
                .collect(),
            Sample::ALaw => samples.map(|b| a_law(b[0])).collect(),
            Sample::MuLaw => samples.map(|b| mu_law(b[0])).collect(),
        }
    }
}

/// Little-endian two's complement of 2 to 4 bytes; fewer bits than that are in the upper ones.
fn signed(bytes: &[u8]) -> f32 {
    let mut word = [0; 4];
    word[4 - bytes.len()..].copy_from_slice(bytes);
    i32::from_le_bytes(word) as f32 / 2_147_483_648.0
}

/// ITU-T G.711 A-law.
fn a_law(byte: u8) -> f32 {
    let byte = byte ^ 0x55;
    let (exponent, mantissa) = (i32::from(byte >> 4 & 7), i32::from(byte & 15));
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    (if byte & 0x80 == 0 { -magnitude } else { magnitude }) as f32 / 32_768.0
}

/// ITU-T G.711 mu-law.
fn mu_law(byte: u8) -> f32 {
    let byte = !byte;
    let (exponent, mantissa) = (i32::from(byte >> 4 & 7), i32::from(byte & 15));
    let magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    (if byte & 0x80 == 0 { magnitude } else { -magnitude }) as f32 / 32_768.0
}
