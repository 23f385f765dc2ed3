//! The powers of soft-max, rounded to bf16 as they are made: what attention in that format multiplies values with.

#[cfg(not(target_arch = "x86_64"))]
use super::functions::{LANES, exp, round};
#[cfg(target_arch = "x86_64")]
use super::tile::Format;
use super::{functions::most, tile::Isa};

/// Writes powers of e over a row less its greatest number, two a word, rounded to bf16; the last word is filled up with nearly nothing.
/// Returns their sum before they were rounded. Each is right to three millionths.
///
/// Only for a machine that [takes](super::tile::Isa::takes) bf16.
#[cfg(target_arch = "x86_64")]
pub(super) fn rounded_powers(row: &[f32], words: &mut [u32]) -> f32 {
    debug_assert!(Isa::Avx512.takes(Format::Bf16));
    assert_eq!(
        words.len(),
        row.len().div_ceil(2),
        "words for {} numbers",
        row.len()
    );
    // Sound: as the caller says.
    unsafe { avx512(row, most(Isa::Avx512, row), words) }
}

/// The same by plain loops, for other machines.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn rounded_powers(row: &[f32], words: &mut [u32]) -> f32 {
    assert_eq!(
        words.len(),
        row.len().div_ceil(2),
        "words for {} numbers",
        row.len()
    );
    let most = most(Isa::best(), row);
    let mut sums = [0f32; LANES];
    for (chunk, words) in row.chunks(LANES).zip(words.chunks_mut(LANES / 2)) {
        let mut powers = [f32::NEG_INFINITY; LANES];
        powers[..chunk.len()].copy_from_slice(chunk);
        for (sum, x) in sums.iter_mut().zip(&mut powers) {
            *x = exp(*x - most);
            *sum += *x;
        }
        round(Isa::best(), &powers, words);
    }
    sums.iter().sum()
}

/// 2^r for r from -1/2 to 1/2, by powers of r: least relative error, found by repeated least squares.
#[cfg(target_arch = "x86_64")]
const POLYNOMIAL: [f32; 5] = [0.009_570_1, 0.055_917_86, 0.240_247_45, 0.693_121_8, 0.999_999_3];

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn avx512(row: &[f32], most: f32, words: &mut [u32]) -> f32 {
    use std::arch::x86_64::*;

    // e^(x - most) is 2^(x log2 e - most log2 e), which is 2^n times 2^r.
    let (log2e, offset) = (
        _mm512_set1_ps(std::f32::consts::LOG2_E),
        _mm512_set1_ps(-most * std::f32::consts::LOG2_E),
    );
    let least = _mm512_set1_ps(-126.0);
    let power = |x: __m512| {
        // The least comes first: what is no number stays so.
        let x = _mm512_max_ps(least, _mm512_fmadd_ps(x, log2e, offset));
        let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
        let r = _mm512_sub_ps(x, n);
        let [first, rest @ ..] = POLYNOMIAL;
        let p = rest.into_iter().fold(_mm512_set1_ps(first), |p, c| {
            _mm512_fmadd_ps(p, r, _mm512_set1_ps(c))
        });
        _mm512_scalef_ps(p, n)
    };
    let rounded = |low: __m512, high: __m512| {
        // Sound: both are 64 bytes of any bits.
        unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
    };
    let mut sums = [_mm512_setzero_ps(); 2];
    let (chunks, rest) = row.as_chunks::<32>();
    let (whole, last) = words.split_at_mut(chunks.len() * 16);
    for (chunk, words) in chunks.iter().zip(whole.as_chunks_mut::<16>().0) {
        // Sound: a chunk has 32 numbers, and its words are 16.
        unsafe {
            let low = power(_mm512_loadu_ps(chunk.as_ptr()));
            let high = power(_mm512_loadu_ps(chunk.as_ptr().add(16)));
            sums = [_mm512_add_ps(sums[0], low), _mm512_add_ps(sums[1], high)];
            _mm512_storeu_si512(words.as_mut_ptr().cast(), rounded(low, high));
        }
    }
    if !rest.is_empty() {
        let mut filled = [f32::NEG_INFINITY; 32];
        filled[..rest.len()].copy_from_slice(rest);
        let mut own = [0u32; 16];
        // Sound: as above.
        unsafe {
            let low = power(_mm512_loadu_ps(filled.as_ptr()));
            let high = power(_mm512_loadu_ps(filled.as_ptr().add(16)));
            sums = [_mm512_add_ps(sums[0], low), _mm512_add_ps(sums[1], high)];
            _mm512_storeu_si512(own.as_mut_ptr().cast(), rounded(low, high));
        }
        last.copy_from_slice(&own[..last.len()]);
    }
    _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]))
}
