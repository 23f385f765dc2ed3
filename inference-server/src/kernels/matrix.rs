//! A matrix that is multiplied with often: put in order once, and products of rows with it.
//!
//! Source of the order: Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008); the rows that come are
//! few or short enough here to be read where they lie. In eight bits each column has a scale, and each row gets one when it comes
//! (Dettmers et al., "LLM.int8()", 2022, without their exception for great values).

use std::{borrow::Cow, convert::Infallible, mem::MaybeUninit};

use super::{
    functions::{add, gelu, quantise, rescale, round},
    pool::Pool,
    share::Shared,
    tile::{Format, Isa},
};

/// Words of a block in depth: its part of a panel stays in the nearest cache while it is used.
const DEPTH: usize = 512;
/// Tiles of rows that use a panel one after another.
const TILES: usize = 8;
/// Multiplications below which sharing out costs more than it gives.
const WORTH: usize = 40_000;
/// Most values of a tile.
const TILE: usize = 12 * 32;

/// `depth` rows and `columns` columns, in panels of [`Isa::panel`] columns; the last one is filled up with zeros.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    isa: Isa,
    format: Format,
    depth: usize,
    columns: usize,
    words: &'a [u32],
    /// Of each column, in eight bits.
    scales: &'a [f32],
    /// What the rows' offset adds to each column.
    surplus: &'a [i32],
}

/// [`Panels`] with its values.
#[derive(Clone, Debug)]
pub struct Matrix {
    isa: Isa,
    format: Format,
    depth: usize,
    columns: usize,
    words: Vec<u32>,
    scales: Vec<f32>,
    surplus: Vec<i32>,
}

/// What happens to a product before it is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish<'a> {
    /// Added to every row.
    pub bias: Option<&'a [f32]>,
    /// GELU, after the bias.
    pub gelu: bool,
    /// A matrix of the product's shape that is added in the end.
    pub plus: Option<&'a [f32]>,
}

/// Rows that are multiplied: `count` of them, each `depth` values at `stride` from the one before. They may overlap.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// All values.
    pub values: &'a [f32],
    /// Number of rows.
    pub count: usize,
    /// From the beginning of one to that of the next.
    pub stride: usize,
}

/// Rows in words of a format.
struct Words<'a> {
    words: Cow<'a, [u32]>,
    count: usize,
    stride: usize,
    /// Of each row, in eight bits.
    scales: Vec<f32>,
}

/// Words that panels of this size take.
pub fn size(isa: Isa, format: Format, depth: usize, columns: usize) -> usize {
    columns.next_multiple_of(isa.panel()) * depth.div_ceil(format.per_word())
}

impl Matrix {
    /// Puts `value(row, column)` in order.
    pub fn new(
        isa: Isa,
        format: Format,
        depth: usize,
        columns: usize,
        value: impl Fn(usize, usize) -> f32,
    ) -> Matrix {
        let fill = |column, values: &mut [f32]| {
            let values = values.iter_mut().enumerate();
            values.for_each(|(row, slot)| *slot = value(row, column));
            Ok::<_, Infallible>(())
        };
        let Ok(matrix) = Self::by_columns(isa, format, depth, columns, fill);
        matrix
    }

    /// Puts the columns in order that `fill` writes, one after another from the first; the first error ends it.
    pub fn by_columns<E>(
        isa: Isa,
        format: Format,
        depth: usize,
        columns: usize,
        mut fill: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<Matrix, E> {
        let (width, per_word) = (isa.panel(), format.per_word());
        let mut words = vec![0; size(isa, format, depth, columns)];
        let (mut scales, mut surplus) = (Vec::new(), Vec::new());
        let mut column_values = vec![0.0; depth.next_multiple_of(per_word)];
        let mut packed = vec![0; depth.div_ceil(per_word)];
        for column in 0..columns {
            fill(column, &mut column_values[..depth])?;
            match format {
                Format::F32 => packed
                    .iter_mut()
                    .zip(&column_values)
                    .for_each(|(word, x)| *word = x.to_bits()),
                Format::Bf16 => round(isa, &column_values, &mut packed),
                Format::Int8 => {
                    scales.push(quantise(isa, &column_values, 0, &mut packed));
                    let numbers = packed.iter().flat_map(|word| word.to_le_bytes());
                    surplus.push(isa.offset() * numbers.map(|x| i32::from(x as i8)).sum::<i32>());
                }
            }
            let begin = column / width * width * packed.len() + column % width;
            for (row, word) in packed.iter().enumerate() {
                words[begin + row * width] = *word;
            }
        }
        Ok(Matrix {
            isa,
            format,
            depth,
            columns,
            words,
            scales,
            surplus,
        })
    }

    /// Its panels.
    pub fn panels(&self) -> Panels<'_> {
        Panels {
            isa: self.isa,
            format: self.format,
            depth: self.depth,
            columns: self.columns,
            words: &self.words,
            scales: &self.scales,
            surplus: &self.surplus,
        }
    }

    /// Rows of the matrix.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Columns of the matrix.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Copies a column, as exact as its format is.
    pub fn column(&self, column: usize, out: &mut [f32]) {
        let (width, per_word) = (self.isa.panel(), self.format.per_word());
        let begin = column / width * width * self.depth.div_ceil(per_word) + column % width;
        for (row, out) in out.iter_mut().enumerate().take(self.depth) {
            let word = self.words[begin + row / per_word * width];
            let bytes = word.to_le_bytes();
            *out = match self.format {
                Format::F32 => f32::from_bits(word),
                Format::Bf16 if row % 2 == 0 => f32::from_bits(word << 16),
                Format::Bf16 => f32::from_bits(word & 0xffff_0000),
                Format::Int8 => f32::from(bytes[row % 4] as i8) * self.scales[column],
            };
        }
    }
}

impl<'a> Rows<'a> {
    /// The rows in words of a format.
    fn words(self, isa: Isa, format: Format, depth: usize, pool: &Pool) -> Words<'a> {
        let (count, each) = (self.count, depth.div_ceil(format.per_word()));
        if format == Format::F32 {
            let words = Cow::Borrowed(bits(self.values));
            let (stride, scales) = (self.stride, Vec::new());
            return Words {
                words,
                count,
                stride,
                scales,
            };
        }
        let mut words = vec![0u32; count * each];
        let mut scales = vec![0f32; count];
        let some = words.chunks_mut(each * 32).zip(scales.chunks_mut(32));
        pool.share(some, count * depth >= WORTH, |part, (words, scales)| {
            let mut row = vec![0.0; each * format.per_word()];
            for (i, (words, scale)) in words.chunks_mut(each).zip(scales).enumerate() {
                let begin = (part * 32 + i) * self.stride;
                row[..depth].copy_from_slice(&self.values[begin..begin + depth]);
                match format {
                    Format::Int8 => *scale = quantise(isa, &row, isa.offset(), words),
                    _ => round(isa, &row, words),
                }
            }
        });
        Words {
            words: Cow::Owned(words),
            count,
            stride: each,
            scales,
        }
    }
}

/// Numbers as words.
pub(super) fn bits(values: &[f32]) -> &[u32] {
    // Sound: of the same size and alignment, and any bits are an integer.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

/// Words to be written where numbers are kept.
pub(super) fn bits_mut(values: &mut [f32]) -> &mut [u32] {
    // Sound: as above, and any bits are a number or none.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) }
}

impl<'a> Panels<'a> {
    /// Words that are in order already, [`size`] of them, in a format that needs no scale.
    pub fn of(isa: Isa, format: Format, depth: usize, columns: usize, words: &'a [u32]) -> Panels<'a> {
        assert!(format != Format::Int8, "panels without scales");
        assert_eq!(
            words.len(),
            size(isa, format, depth, columns),
            "the panels of {depth} x {columns}"
        );
        Panels {
            isa,
            format,
            depth,
            columns,
            words,
            scales: &[],
            surplus: &[],
        }
    }

    /// Writes the product to `out`, whose rows are `stride` apart; `finish.plus` has the same stride.
    pub fn multiply(&self, pool: &Pool, rows: Rows<'_>, out: &mut [f32], stride: usize, finish: Finish<'_>) {
        let shared = Shared::new(out);
        // Sound: `out` is borrowed for as long as this lasts.
        unsafe { self.multiply_into(pool, rows, &shared, (0, stride), finish) }
    }

    /// The same into a part of a buffer that is shared: rows at `at`, `at + stride`, ...
    ///
    /// # Safety
    /// Nobody else uses these rows of `out` meanwhile.
    pub(super) unsafe fn multiply_into(
        &self,
        pool: &Pool,
        rows: Rows<'_>,
        out: &Shared<'_>,
        (at, stride): (usize, usize),
        finish: Finish<'_>,
    ) {
        if rows.count == 0 || self.columns == 0 {
            return;
        }
        assert!(
            (rows.count - 1) * rows.stride + self.depth <= rows.values.len(),
            "too few values for the rows"
        );
        // Also makes sure that the buffer is long enough.
        out.pointer(at, (rows.count - 1) * stride + self.columns);
        let (width, panels) = (self.isa.panel(), self.columns.div_ceil(self.isa.panel()));
        let block = self.isa.rows() * TILES;
        let blocks = rows.count.div_ceil(block);
        // Few rows are shared out by columns, many by rows.
        let parts = if blocks >= 2 * pool.threads() {
            1
        } else {
            (4 * pool.threads()).min(panels)
        };
        let worth = rows.count * self.depth * self.columns >= WORTH;
        let words = rows.words(self.isa, self.format, self.depth, pool);
        pool.each(blocks * parts, worth, |task| {
            let (block_index, part) = (task / parts, task % parts);
            let from = block_index * block;
            let to = (from + block).min(words.count);
            for panel in panels * part / parts..panels * (part + 1) / parts {
                let mut row = from;
                let used = width.min(self.columns - panel * width);
                while row < to {
                    let count = self.isa.rows().min(to - row);
                    // Sound: tasks have different rows or panels, and the bounds were looked at above.
                    unsafe { self.tile(&words, (row, count), (panel, used), out, (at, stride), finish) };
                    row += count;
                }
            }
        });
    }

    /// One tile: rows `row..row + count`, the `used` columns of one panel.
    unsafe fn tile(
        &self,
        rows: &Words<'_>,
        (row, count): (usize, usize),
        (panel, used): (usize, usize),
        out: &Shared<'_>,
        (at, stride): (usize, usize),
        finish: Finish<'_>,
    ) {
        let (isa, width) = (self.isa, self.isa.panel());
        let first = panel * width;
        let place = at + row * stride + first;
        // A panel that is not whole, and integers, go by way of a tile of their own.
        let aside = used < width || self.format == Format::Int8;
        let mut own = [const { MaybeUninit::<u32>::uninit() }; TILE];
        let (tile, tile_stride) = if aside {
            (own.as_mut_ptr().cast::<u32>(), width)
        } else {
            (out.pointer(place, (count - 1) * stride + width).cast(), stride)
        };
        // In eight bits the bias is added when sums become numbers.
        let bias = finish.bias.filter(|_| self.format != Format::Int8);
        if let Some(bias) = bias {
            for i in 0..count {
                // Sound: a row of the tile, which is nobody else's; what is beyond its columns is zero.
                unsafe {
                    let row = tile.add(i * tile_stride).cast::<f32>();
                    row.copy_from_nonoverlapping(bias[first..first + used].as_ptr(), used);
                    row.add(used).write_bytes(0, width - used);
                }
            }
        }
        let all = self.depth.div_ceil(self.format.per_word());
        let panel = &self.words[first * all..(first + width) * all];
        let mut from = 0;
        // Once at least: a product of nothing is written too.
        loop {
            let depth = DEPTH.min(all - from);
            let begin = row * rows.stride + from;
            let a = &rows.words[begin..begin + (count - 1) * rows.stride + depth];
            let b = &panel[from * width..(from + depth) * width];
            let (a, c) = ((a.as_ptr(), rows.stride), (tile, tile_stride));
            let fresh = from == 0 && bias.is_none();
            // Sound: both slices were cut to what is read, and the tile has `count` rows of `width`.
            unsafe { isa.tile(self.format, (count, depth), a, b.as_ptr(), c, fresh) };
            from += depth;
            if from >= all {
                break;
            }
        }
        for i in 0..count {
            let begin = (row + i) * stride + first;
            // Sound: this row of `out` is the task's own.
            let done = unsafe { out.part(at + begin, used) };
            if aside {
                // Sound: the kernel wrote `count` rows of `width`.
                let sums = unsafe { std::slice::from_raw_parts(tile.add(i * width), used) };
                if self.format == Format::Int8 {
                    let columns = first..first + used;
                    let bias = finish.bias.map(|bias| &bias[columns.clone()]);
                    let (surplus, scales) = (&self.surplus[columns.clone()], &self.scales[columns]);
                    rescale(isa, sums, surplus, rows.scales[row + i], scales, bias, done);
                } else {
                    done.iter_mut()
                        .zip(sums)
                        .for_each(|(done, &sum)| *done = f32::from_bits(sum));
                }
            }
            if finish.gelu {
                gelu(isa, done);
            }
            if let Some(plus) = finish.plus {
                add(isa, done, &plus[begin..begin + used]);
            }
        }
    }
}
