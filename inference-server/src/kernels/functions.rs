//! Functions of one row of numbers: soft-max, layer normalisation, GELU, sums. Each is compiled for every instruction set.

use bytemuck::cast_slice_mut;

use super::tile::Isa;

/// Numbers that are worked on side by side: as many as the widest registers hold.
pub(super) const LANES: usize = 16;

/// Gives a function one body for each instruction set.
macro_rules! for_each_isa {
    ($(#[$doc:meta])* $name:ident, $body:ident, ($($argument:ident: $type:ty),*) $(-> $result:ty)?) => {
        $(#[$doc])*
        pub fn $name(isa: Isa, $($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            fn avx512($($argument: $type),*) $(-> $result)? { $body($($argument),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $type),*) $(-> $result)? { $body($($argument),*) }
            match isa {
                // Sound: `Isa` says that the machine has them.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => unsafe { avx512($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => unsafe { avx2($($argument),*) },
                #[allow(unreachable_patterns)]
                _ => $body($($argument),*),
            }
        }
    };
}
pub(super) use for_each_isa;

for_each_isa!(
    /// Soft-max of a row, in place.
    softmax, softmax_body, (row: &mut [f32])
);
for_each_isa!(
    /// Powers of e over a row, less its greatest number; returns their sum.
    powers, powers_body, (row: &mut [f32]) -> f32
);
for_each_isa!(
    /// `(x - mean) / sqrt(variance + epsilon) * weight + bias`.
    layer_norm, layer_norm_body, (x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32])
);
for_each_isa!(
    /// `ln(sum(e^x))` of a row, minus infinity for none.
    log_sum_exp, log_sum_exp_body, (row: &[f32]) -> f32
);
for_each_isa!(
    /// Where the greatest number of a row is, the first of equals; 0 for none.
    greatest, greatest_body, (row: &[f32]) -> usize
);
for_each_isa!(
    /// The sum of `row` times each of 16 columns, which lie beside each other in `columns`.
    times_columns, times_columns_body, (row: &[f32], columns: &[f32]) -> [f32; LANES]
);
for_each_isa!(
    /// The same for columns in bf16.
    times_halves, times_halves_body, (row: &[f32], columns: &[u16]) -> [f32; LANES]
);
for_each_isa!(
    /// Adds to `out` rows that are as long, each times its factor.
    add_rows, add_rows_body, (out: &mut [f32], factors: &[f32], rows: &[f32])
);
for_each_isa!(
    /// The same for rows in bf16.
    add_halves, add_halves_body, (out: &mut [f32], factors: &[f32], rows: &[u16])
);

for_each_isa!(
    /// Numbers in eight bits, four a word, plus `offset`; returns their scale. Whole words only.
    quantise, quantise_body, (row: &[f32], offset: i32, words: &mut [u32]) -> f32
);
for_each_isa!(
    /// Numbers in two digits of eight bits, the greater in the first half of `words`, plus `offset`; returns the scale of the lesser. Whole
    /// words only.
    digits, digits_body, (row: &[f32], offset: i32, words: &mut [u32]) -> f32
);
for_each_isa!(
    /// One number of each of four rows in eight bits in a word, after its row's factor; adds the numbers of each word to `sums`.
    fours, fours_body, (rows: [&[f32]; 4], factors: [f32; 4], words: &mut [u32], sums: &mut [i32])
);
for_each_isa!(
    /// What numbers of eight bits are multiplied by to be those of a row, and the other way.
    scale_of_row, scale_of_row_body, (row: &[f32]) -> (f32, f32)
);
for_each_isa!(
    /// The sum of numbers of eight bits, four a word.
    sum_of_bytes, sum_of_bytes_body, (words: &[u32]) -> i32
);
for_each_isa!(
    /// One number of each of two rows as bf16 in a word. All rows are as long as the first.
    pairs, pairs_body, (row: &[f32], other: &[f32], words: &mut [u32])
);
for_each_isa!(
    /// Numbers as bf16, two a word, rounded to the nearest. Whole words only.
    round, round_body, (row: &[f32], words: &mut [u32])
);

/// The greatest whole number of eight bits.
const BYTE: f32 = 127.0;
/// What the greater of two digits counts for: the lesser is between -64 and 63.
pub(super) const DIGIT: i32 = 128;
/// The greatest number of two digits.
const WORD: f32 = BYTE * DIGIT as f32;

#[inline(always)]
fn quantise_body(row: &[f32], offset: i32, words: &mut [u32]) -> f32 {
    let (scale, inverse) = scale_of(row, BYTE);
    for (byte, x) in cast_slice_mut::<u32, u8>(words).iter_mut().zip(row) {
        *byte = (whole(x * inverse, BYTE) + offset) as u8;
    }
    scale
}

#[inline(always)]
fn digits_body(row: &[f32], offset: i32, words: &mut [u32]) -> f32 {
    let (scale, inverse) = scale_of(row, WORD);
    let (greater, lesser) = cast_slice_mut::<u32, u8>(words).split_at_mut(row.len());
    for ((greater, lesser), x) in greater.iter_mut().zip(lesser).zip(row) {
        let number = whole(x * inverse, WORD);
        let digit = (number + DIGIT / 2) >> DIGIT.trailing_zeros();
        *greater = (digit + offset) as u8;
        *lesser = (number - DIGIT * digit + offset) as u8;
    }
    scale
}

#[inline(always)]
fn fours_body(rows: [&[f32]; 4], factors: [f32; 4], words: &mut [u32], sums: &mut [i32]) {
    let [a, b, c, d] = rows;
    let four = a.iter().zip(b).zip(c.iter().zip(d));
    for ((word, sum), ((a, b), (c, d))) in words.iter_mut().zip(sums).zip(four) {
        let four = [a, b, c, d];
        let numbers: [i32; 4] = std::array::from_fn(|i| whole(four[i] * factors[i], BYTE));
        *word = u32::from_le_bytes(numbers.map(|x| x as u8));
        *sum += numbers.iter().sum::<i32>();
    }
}

#[inline(always)]
fn sum_of_bytes_body(words: &[u32]) -> i32 {
    let of = |word: &u32| word.to_le_bytes().map(|byte| i32::from(byte as i8));
    words.iter().map(|word| of(word).iter().sum::<i32>()).sum()
}

#[inline(always)]
fn scale_of_row_body(row: &[f32]) -> (f32, f32) {
    scale_of(row, BYTE)
}

/// What whole numbers up to `limit` are multiplied by to be those of a row, and the other way.
#[inline(always)]
fn scale_of(row: &[f32], limit: f32) -> (f32, f32) {
    let mut most = [0f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (most, &x) in most.iter_mut().zip(chunk) {
            let x = x.abs();
            *most = if x > *most { x } else { *most };
        }
    }
    let most = most
        .into_iter()
        .chain(rest.iter().map(|x| x.abs()))
        .fold(0.0, f32::max);
    if most > 0.0 {
        (most / limit, limit / most)
    } else {
        (0.0, 0.0)
    }
}

/// The nearest whole number, at most `limit` in size, and zero for what is no number.
#[inline(always)]
fn whole(x: f32, limit: f32) -> i32 {
    let x = if x > limit { limit } else { x };
    let x = if x < -limit { -limit } else { x };
    let x = if x.is_nan() { 0.0 } else { x };
    // Sound: it is within what an integer holds.
    unsafe { x.round_ties_even().to_int_unchecked::<i32>() }
}

#[inline(always)]
fn round_body(row: &[f32], words: &mut [u32]) {
    let (pairs, _) = row.as_chunks::<2>();
    for (word, pair) in words.iter_mut().zip(pairs) {
        *word = bf16(pair[0]) | bf16(pair[1]) << 16;
    }
}

#[inline(always)]
fn pairs_body(row: &[f32], other: &[f32], words: &mut [u32]) {
    for (word, (&x, &y)) in words.iter_mut().zip(row.iter().zip(other)) {
        *word = bf16(x) | bf16(y) << 16;
    }
}

/// The upper half of a number, rounded to the nearest, of two as near to the even one.
#[inline(always)]
pub(super) fn bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16
}

#[inline(always)]
fn softmax_body(row: &mut [f32]) {
    let scale = 1.0 / powers_body(row);
    for x in row {
        *x *= scale;
    }
}

#[inline(always)]
fn powers_body(row: &mut [f32]) -> f32 {
    let most = most_body(row);
    let (mut sums, mut sum) = ([0f32; LANES], 0f32);
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *x = exp(*x - most);
            *sum += *x;
        }
    }
    for x in rest {
        *x = exp(*x - most);
        sum += *x;
    }
    sum + sums.iter().sum::<f32>()
}

#[inline(always)]
fn layer_norm_body(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) {
    let count = x.len() as f32;
    let mean = sum(x, |x| x) / count;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / count;
    let scale = 1.0 / (variance + epsilon).sqrt();
    for (((out, &x), &weight), &bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
        *out = (x - mean) * scale * weight + bias;
    }
}

/// `x / 2 * (1 + erf(x / sqrt(2)))`.
#[inline(always)]
pub(super) fn gelu_of(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn log_sum_exp_body(row: &[f32]) -> f32 {
    let most = most_body(row);
    if most == f32::NEG_INFINITY {
        return most;
    }
    most + sum(row, |x| exp(x - most)).ln()
}

#[inline(always)]
fn greatest_body(row: &[f32]) -> usize {
    let most = most_body(row);
    row.iter().position(|&x| x == most).unwrap_or(0)
}

for_each_isa!(
    /// The greatest number, minus infinity for none.
    most, most_body, (row: &[f32]) -> f32
);

#[inline(always)]
fn most_body(row: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (most, &x) in most.iter_mut().zip(chunk) {
            *most = if x > *most { x } else { *most };
        }
    }
    most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

#[inline(always)]
fn times_columns_body(row: &[f32], columns: &[f32]) -> [f32; LANES] {
    times(row, columns, |x| x)
}

#[inline(always)]
fn times_halves_body(row: &[f32], columns: &[u16]) -> [f32; LANES] {
    times(row, columns, of_half)
}

#[inline(always)]
fn add_rows_body(out: &mut [f32], factors: &[f32], rows: &[f32]) {
    add(out, factors, rows, |x| x);
}

#[inline(always)]
fn add_halves_body(out: &mut [f32], factors: &[f32], rows: &[u16]) {
    add(out, factors, rows, of_half);
}

/// The number that a bf16 is.
#[inline(always)]
fn of_half(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

#[inline(always)]
fn times<T: Copy>(row: &[f32], columns: &[T], number: impl Fn(T) -> f32) -> [f32; LANES] {
    // Four sums, none of which waits for another.
    let mut sums = [[0f32; LANES]; 4];
    let (fours, rest) = row.as_chunks::<4>();
    let (columns, of_rest) = columns.split_at(fours.len() * 4 * LANES);
    for (four, columns) in fours.iter().zip(columns.as_chunks::<{ 4 * LANES }>().0) {
        for (i, sums) in sums.iter_mut().enumerate() {
            for (t, sum) in sums.iter_mut().enumerate() {
                *sum += four[i] * number(columns[i * LANES + t]);
            }
        }
    }
    let mut out = [0f32; LANES];
    for (t, out) in out.iter_mut().enumerate() {
        *out = (sums[0][t] + sums[1][t]) + (sums[2][t] + sums[3][t]);
    }
    for (&x, columns) in rest.iter().zip(of_rest.as_chunks::<LANES>().0) {
        for (out, &y) in out.iter_mut().zip(columns) {
            *out += x * number(y);
        }
    }
    out
}

/// Numbers of a row that are summed up in registers: the width of Whisper's heads.
const WIDE: usize = 4 * LANES;

#[inline(always)]
fn add<T: Copy>(out: &mut [f32], factors: &[f32], rows: &[T], number: impl Fn(T) -> f32) {
    let stride = out.len();
    let (wide, rest) = out.as_chunks_mut::<WIDE>();
    for (i, out) in wide.iter_mut().enumerate() {
        let mut sums = *out;
        for (t, &factor) in factors.iter().enumerate() {
            for (sum, &x) in sums.iter_mut().zip(&rows[t * stride + i * WIDE..][..WIDE]) {
                *sum += factor * number(x);
            }
        }
        *out = sums;
    }
    let from = wide.len() * WIDE;
    for (t, &factor) in factors.iter().enumerate() {
        for (out, &x) in rest.iter_mut().zip(&rows[t * stride + from..]) {
            *out += factor * number(x);
        }
    }
}

#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += of(x);
        }
    }
    let rest: f32 = rest.iter().map(|&x| of(x)).sum();
    rest + sums.iter().sum::<f32>()
}

/// Three halves of the number from which on single precision has whole numbers only.
const WHOLE: f32 = 1.5 * (1 << 23) as f32;

/// e^x for x from -87 to 88, and 0 below, with an error of two units in the last place; what is no number stays so.
///
/// Source: Cephes, `expf`: `x = n ln 2 + r`, a polynomial in r, and n as an exponent.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let tiny = x < -87.0;
    let x = x.clamp(-87.0, 88.0);
    // A number of this size has its whole part in its lowest bits.
    let whole = x * std::f32::consts::LOG2_E + WHOLE;
    let n = whole - WHOLE;
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let value = p * r * r + r + 1.0;
    let power = f32::from_bits(whole.to_bits().wrapping_add(127) << 23);
    if tiny { 0.0 } else { value * power }
}

/// The error function, with an error of a few units in the last place.
///
/// Source: Eigen, `generic_fast_erf_float`: a quotient of polynomials on [-4, 4], beyond which it is 1 in single precision.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let mut p = -2.726_142_3e-10;
    for c in [
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ] {
        p = p * square + c;
    }
    let mut q = -1.456_607_2e-5;
    for c in [-2.133_740_5e-4, -1.682_827e-3, -7.373_329_4e-3, -1.426_474e-2] {
        q = q * square + c;
    }
    x * p / q
}

#[cfg(test)]
pub(super) mod reference {
    //! The same for numbers one by one, to test against.
    pub(in super::super) fn exp(x: f32) -> f32 {
        super::exp(x)
    }
    pub(in super::super) fn erf(x: f32) -> f32 {
        super::erf(x)
    }
}
