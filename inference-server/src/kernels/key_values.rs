//! Keys and values of a window, in the order in which attention's products read them.
//!
//! In eight bits each position of each head has a scale, as the values of KIVI have (Liu et al., 2024); those of the values go into the
//! weights of attention.

use bytemuck::cast_slice;

use super::{
    attention::Heads,
    functions::{fours, pairs, scale_of_row, sum_of_bytes},
    matrix::{Panels, Rows, bits, bits_mut, size},
    pool::Pool,
    share::Shared,
    tile::{Format, Isa},
};

/// Keys and values of all heads over some positions, in the order in which products read them.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    pub(super) isa: Isa,
    pub(super) format: Format,
    pub(super) heads: Heads,
    pub(super) positions: usize,
    keys: &'a [u32],
    values: &'a [u32],
}

/// Words that the keys, and the values, of so many positions take.
pub fn sizes(isa: Isa, format: Format, heads: Heads, positions: usize) -> (usize, usize) {
    let (keys, values) = head_sizes(isa, format, heads.width, positions);
    (heads.count * keys, heads.count * values)
}

/// Of one head. In eight bits scales and surpluses of the positions come after the keys, and after the values scales of the positions and
/// surpluses of the columns.
fn head_sizes(isa: Isa, format: Format, width: usize, positions: usize) -> (usize, usize) {
    let (keys, values) = (
        size(isa, format, width, positions),
        size(isa, format, positions, width),
    );
    if format.is_integer() {
        (keys + 2 * positions, values + positions + width)
    } else {
        (keys, values)
    }
}

/// Puts keys in order: `rows` has one row a position, the heads side by side. All of `out` is written.
pub fn order_keys(isa: Isa, format: Format, pool: &Pool, heads: Heads, rows: Rows<'_>, out: &mut [f32]) {
    let (each, _) = head_sizes(isa, format, heads.width, rows.count);
    let (words, width) = (size(isa, format, heads.width, rows.count), isa.panel());
    let depth = heads.width.div_ceil(format.per_word());
    let of_columns = if format.is_integer() { Format::Int8 } else { format };
    let shared = Shared::new(bits_mut(out));
    pool.each(heads.count, true, |head| {
        // Sound: each head has a part of its own.
        let (out, beside) = unsafe { shared.part(head * each, each) }.split_at_mut(words);
        let (scales, surplus) = beside.split_at_mut(beside.len() / 2);
        for (panel, out) in out.chunks_mut(width * depth).enumerate() {
            let (first, count) = (panel * width, width.min(rows.count - panel * width));
            let keys = Rows {
                values: &rows.values[first * rows.stride + head * heads.width..],
                count,
                ..rows
            };
            let keys = keys.words(isa, of_columns, 0, heads.width);
            for (i, scale) in keys.scales.iter().enumerate() {
                let words = &keys.words[i * keys.stride..][..keys.stride];
                scales[first + i] = scale.to_bits();
                surplus[first + i] = (isa.offset() * sum_of_bytes(isa, words)).cast_unsigned();
            }
            for (i, out) in out.chunks_mut(width).enumerate() {
                let words = keys.words[i..].iter().step_by(keys.stride);
                out[..count]
                    .iter_mut()
                    .zip(words)
                    .for_each(|(out, &word)| *out = word);
                out[count..].fill(0);
            }
        }
    });
}

/// Puts values in order: `rows` has one row a position, the heads side by side. All of `out` is written.
pub fn order_values(isa: Isa, format: Format, pool: &Pool, heads: Heads, rows: Rows<'_>, out: &mut [f32]) {
    let (_, each) = head_sizes(isa, format, heads.width, rows.count);
    let (words, width) = (size(isa, format, rows.count, heads.width), isa.panel());
    let (depth, per_word) = (rows.count.div_ceil(format.per_word()), format.per_word());
    let shared = Shared::new(bits_mut(out));
    let zeros = vec![0.0; heads.width];
    pool.each(heads.count, true, |head| {
        // Sound: each head has a part of its own.
        let (out, beside) = unsafe { shared.part(head * each, each) }.split_at_mut(words);
        let row = |position: usize| match position {
            position if position < rows.count => {
                &rows.values[position * rows.stride + head * heads.width..][..heads.width]
            }
            _ => &zeros,
        };
        if format.is_integer() {
            return order_in_bytes(isa, [rows.count, heads.width], row, out, beside);
        }
        for i in 0..depth {
            let (one, other) = (row(i * per_word), row(i * per_word + 1));
            let columns = one.chunks(width).zip(other.chunks(width));
            for (panel, (one, other)) in columns.enumerate() {
                let out = &mut out[(panel * depth + i) * width..][..width];
                match format {
                    Format::Bf16 => pairs(isa, one, other, out),
                    _ => out[..one.len()].copy_from_slice(bits(one)),
                }
                out[one.len()..].fill(0);
            }
        }
    });
}

/// The values of a head in eight bits, and what stands beside them.
fn order_in_bytes<'a>(
    isa: Isa,
    [positions, width]: [usize; 2],
    row: impl Fn(usize) -> &'a [f32],
    out: &mut [u32],
    beside: &mut [u32],
) {
    let (per_word, panel_width) = (Format::Int8.per_word(), isa.panel());
    let depth = positions.div_ceil(per_word);
    let (scales, surplus) = beside.split_at_mut(positions);
    let mut sums = vec![0; width];
    for i in 0..depth {
        let four = std::array::from_fn(|j| row(i * per_word + j));
        let mut factors = [0.0; 4];
        for (j, factor) in factors.iter_mut().enumerate() {
            let (scale, inverse) = scale_of_row(isa, four[j]);
            *factor = inverse;
            if let Some(slot) = scales.get_mut(i * per_word + j) {
                *slot = scale.to_bits();
            }
        }
        for (panel, sums) in sums.chunks_mut(panel_width).enumerate() {
            let out = &mut out[(panel * depth + i) * panel_width..][..panel_width];
            let columns = four.map(|row| &row[panel * panel_width..][..sums.len()]);
            fours(isa, columns, factors, out, sums);
            out[sums.len()..].fill(0);
        }
    }
    for (slot, sum) in surplus.iter_mut().zip(sums) {
        *slot = (isa.offset() * sum).cast_unsigned();
    }
}

impl<'a> Memory<'a> {
    /// Keys and values that [`order_keys`] and [`order_values`] made.
    pub fn of(
        isa: Isa,
        format: Format,
        heads: Heads,
        positions: usize,
        keys: &'a [f32],
        values: &'a [f32],
    ) -> Self {
        assert_eq!(
            (keys.len(), values.len()),
            sizes(isa, format, heads, positions),
            "keys and values of {positions}"
        );
        Memory {
            isa,
            format,
            heads,
            positions,
            keys: bits(keys),
            values: bits(values),
        }
    }

    /// Those of a head.
    pub(super) fn keys(&self, head: usize) -> Panels<'a> {
        let (isa, format, shape) = (self.isa, self.format, [self.heads.width, self.positions]);
        let (each, _) = head_sizes(isa, format, self.heads.width, self.positions);
        let all = &self.keys[head * each..(head + 1) * each];
        let (words, beside) = all.split_at(size(isa, format, shape[0], shape[1]));
        let (scales, surplus) = beside.split_at(beside.len() / 2);
        Panels::of(
            isa,
            format,
            shape,
            words,
            (cast_slice(scales), cast_slice(surplus)),
        )
    }

    /// Those of a head, with the scales of the positions, if there are such.
    pub(super) fn values(&self, head: usize) -> (Panels<'a>, &'a [f32]) {
        let (isa, format, shape) = (self.isa, self.format, [self.positions, self.heads.width]);
        let (_, each) = head_sizes(isa, format, self.heads.width, self.positions);
        let all = &self.values[head * each..(head + 1) * each];
        let (words, beside) = all.split_at(size(isa, format, shape[0], shape[1]));
        let (scales, surplus) = beside.split_at(beside.len().min(self.positions));
        let panels = Panels::of(isa, format, shape, words, (&[], cast_slice(surplus)));
        (panels, cast_slice(scales))
    }
}
