//! A matrix that is multiplied with often: put in order once, and products of rows with it.
//!
//! Source of the order: Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008); the rows that come are
//! few or short enough here to be read where they lie. In eight bits each column has a scale, and each row gets one when it comes
//! (Dettmers et al., "LLM.int8()", 2022, without their exception for great values).

use std::{borrow::Cow, convert::Infallible, mem::MaybeUninit, ops::Range};

use super::{
    finish::{Finish, Integers, Sums, finish},
    functions::{digits, quantise, round, sum_of_bytes},
    pool::Pool,
    share::Shared,
    tile::{Format, Isa},
};
use crate::memory::{Mapped, ask_for_huge_pages};

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
    pub(crate) format: Format,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
    pub(crate) words: &'a [u32],
    /// Of each column, in eight bits; none where all are 1.
    pub(crate) scales: &'a [f32],
    /// What the rows' offset adds to each column.
    pub(crate) surplus: &'a [i32],
}

/// [`Panels`] with its values.
#[derive(Clone, Debug)]
pub struct Matrix {
    isa: Isa,
    format: Format,
    depth: usize,
    columns: usize,
    words: Ordered,
    scales: Vec<f32>,
    surplus: Vec<i32>,
}

/// Words in order.
#[derive(Clone, Debug)]
enum Ordered {
    /// In memory.
    Made(Vec<u32>),
    /// In a file.
    Kept(Mapped),
}

impl Ordered {
    fn words(&self) -> &[u32] {
        match self {
            Ordered::Made(words) => words,
            Ordered::Kept(words) => words.words(),
        }
    }
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

/// Rows in words of a format; of two digits, the row of the greater ones comes before that of the lesser.
pub(super) struct Words<'a> {
    /// All words.
    pub(super) words: Cow<'a, [u32]>,
    /// Number of rows.
    pub(super) count: usize,
    /// From the beginning of one to that of the next.
    pub(super) stride: usize,
    /// What each row's sums are multiplied by; nothing where that is 1.
    pub(super) scales: Vec<f32>,
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
        ask_for_huge_pages(&mut words);
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
                Format::Int8 | Format::W8A16 => {
                    scales.push(quantise(isa, &column_values, 0, &mut packed));
                    surplus.push(isa.offset() * sum_of_bytes(isa, &packed));
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
            words: Ordered::Made(words),
            scales,
            surplus,
        })
    }

    /// One whose words are in a file, in the order that another of this instruction set and format had; nothing where their number or that of
    /// `scales` and `surplus` does not fit.
    pub(crate) fn kept(
        isa: Isa,
        format: Format,
        [depth, columns]: [usize; 2],
        words: Mapped,
        (scales, surplus): (Vec<f32>, Vec<i32>),
    ) -> Option<Matrix> {
        let each = if format.is_integer() { columns } else { 0 };
        let fits = words.words().len() == size(isa, format, depth, columns)
            && [scales.len(), surplus.len()] == [each; 2];
        fits.then_some(Matrix {
            isa,
            format,
            depth,
            columns,
            words: Ordered::Kept(words),
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
            words: self.words.words(),
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
        let words = self.words.words();
        for (row, out) in out.iter_mut().enumerate().take(self.depth) {
            let word = words[begin + row / per_word * width];
            let bytes = word.to_le_bytes();
            *out = match self.format {
                Format::F32 => f32::from_bits(word),
                Format::Bf16 if row % 2 == 0 => f32::from_bits(word << 16),
                Format::Bf16 => f32::from_bits(word & 0xffff_0000),
                Format::Int8 | Format::W8A16 => f32::from(bytes[row % 4] as i8) * self.scales[column],
            };
        }
    }
}

impl<'a> Rows<'a> {
    /// Some of the rows.
    pub(super) fn some(self, from: usize, count: usize) -> Rows<'a> {
        Rows {
            values: &self.values[from * self.stride..],
            count,
            ..self
        }
    }

    /// The rows in words of a format; `offset` is added to what has eight bits.
    pub(super) fn words(self, isa: Isa, format: Format, offset: i32, depth: usize) -> Words<'a> {
        let (count, each) = (self.count, depth.div_ceil(format.per_word()));
        if format == Format::F32 {
            return Words {
                words: Cow::Borrowed(bits(self.values)),
                count,
                stride: self.stride,
                scales: Vec::new(),
            };
        }
        let mut words = vec![0u32; count * each * format.digits()];
        let mut scales = Vec::new();
        let mut whole = vec![0.0; each * format.per_word()];
        for (i, words) in words.chunks_mut(each * format.digits()).enumerate() {
            let mut row = &self.values[i * self.stride..i * self.stride + depth];
            if whole.len() > depth {
                whole[..depth].copy_from_slice(row);
                row = &whole;
            }
            match format {
                Format::Int8 => scales.push(quantise(isa, row, offset, words)),
                Format::W8A16 => scales.push(digits(isa, row, offset, words)),
                _ => round(isa, row, words),
            }
        }
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
    /// Words that are in order already, [`size`] of them, with a scale (or none for any) and a surplus for each column where the format needs
    /// them.
    pub(super) fn of(
        isa: Isa,
        format: Format,
        [depth, columns]: [usize; 2],
        words: &'a [u32],
        (scales, surplus): (&'a [f32], &'a [i32]),
    ) -> Panels<'a> {
        let each = if format.is_integer() { columns } else { 0 };
        assert_eq!(
            (words.len(), surplus.len()),
            (size(isa, format, depth, columns), each),
            "the panels of {depth} x {columns}"
        );
        assert!(
            [0, each].contains(&scales.len()),
            "{} scales of {each} columns",
            scales.len()
        );
        Panels {
            isa,
            format,
            depth,
            columns,
            words,
            scales,
            surplus,
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
        let (block, panels) = (self.isa.rows() * TILES, self.columns.div_ceil(self.isa.panel()));
        let blocks = rows.count.div_ceil(block);
        let worth = rows.count * self.depth * self.columns >= WORTH;
        // Many rows are shared out by rows, few by columns.
        if blocks >= 2 * pool.threads() {
            pool.each(blocks, worth, |i| {
                let some = rows.some(i * block, block.min(rows.count - i * block));
                let words = some.words(self.isa, self.format, self.isa.offset(), self.depth);
                let finish = finish.after(i * block * stride);
                // Sound: tasks have different rows.
                unsafe {
                    self.multiply_words(&words, 0..panels, out, (at + i * block * stride, stride), finish)
                };
            });
        } else {
            let words = rows.words(self.isa, self.format, self.isa.offset(), self.depth);
            let parts = (4 * pool.threads()).min(panels);
            pool.each(parts, worth, |part| {
                let panels = panels * part / parts..panels * (part + 1) / parts;
                // Sound: tasks have different panels.
                unsafe { self.multiply_words(&words, panels, out, (at, stride), finish) };
            });
        }
    }

    /// The same for rows in words, and some panels.
    ///
    /// # Safety
    /// As above.
    pub(super) unsafe fn multiply_words(
        &self,
        rows: &Words<'_>,
        panels: Range<usize>,
        out: &Shared<'_>,
        (at, stride): (usize, usize),
        finish: Finish<'_>,
    ) {
        let (width, most) = (self.isa.panel(), self.isa.rows() / self.format.digits());
        let block = most * TILES;
        for from in (0..rows.count).step_by(block) {
            let to = (from + block).min(rows.count);
            for panel in panels.clone() {
                let used = width.min(self.columns - panel * width);
                for row in (from..to).step_by(most) {
                    let count = most.min(to - row);
                    // Sound: as the caller says.
                    unsafe { self.tile(rows, (row, count), (panel, used), out, (at, stride), finish) };
                }
            }
        }
    }

    /// One tile: rows `row..row + count`, the `used` columns of one panel.
    unsafe fn tile(
        &self,
        rows: &Words<'_>,
        (row, count): (usize, usize),
        (panel, used): (usize, usize),
        out: &Shared<'_>,
        (at, stride): (usize, usize),
        plan: Finish<'_>,
    ) {
        let (isa, width, digits) = (self.isa, self.isa.panel(), self.format.digits());
        let first = panel * width;
        let place = at + row * stride + first;
        // Sums that are not done yet, or are fewer than a panel has, go by way of a tile of their own.
        let aside = used < width || self.format.is_integer() || !rows.scales.is_empty() || plan.is_some();
        let mut own = [const { MaybeUninit::<u32>::uninit() }; TILE];
        let (tile, tile_stride) = if aside {
            (own.as_mut_ptr().cast::<u32>(), width)
        } else {
            (out.pointer(place, (count - 1) * stride + width).cast(), stride)
        };
        let all = self.depth.div_ceil(self.format.per_word());
        let words = &self.words[first * all..(first + width) * all];
        let mut from = 0;
        // Once at least: a product of nothing is written too.
        loop {
            let depth = DEPTH.min(all - from);
            let begin = row * digits * rows.stride + from;
            let a = &rows.words[begin..begin + (count * digits - 1) * rows.stride + depth];
            let b = &words[from * width..(from + depth) * width];
            let (a, c) = ((a.as_ptr(), rows.stride), (tile, tile_stride));
            // Sound: both slices were cut to what is read, and the tile has `count` rows of `width`.
            unsafe { isa.tile(self.format, (count * digits, depth), a, b.as_ptr(), c, from == 0) };
            from += depth;
            if from >= all {
                break;
            }
        }
        if !aside {
            return;
        }
        let columns = first..first + used;
        let integers = self.format.is_integer().then(|| Integers {
            surplus: &self.surplus[columns.clone()],
            scales: self.scales.get(columns.clone()),
        });
        let sums = Sums {
            // Sound: the kernel wrote `count` rows of `width`.
            words: unsafe { std::slice::from_raw_parts(tile, count * digits * width) },
            width,
            digits,
            scales: rows.scales.get(row..row + count),
            integers,
        };
        let plan = Finish {
            bias: plan.bias.map(|bias| &bias[columns]),
            plus: plan.plus.map(|plus| &plus[row * stride + first..]),
            ..plan
        };
        // Sound: as the caller says.
        let mut out = unsafe { out.block(place, stride, count, used) };
        finish(isa, sums, plan, &mut out);
    }
}
