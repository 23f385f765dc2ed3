//! A matrix that is multiplied with often: put in order once, and products of rows with it.
//!
//! Source of the order: Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008); the rows that come are
//! few or short enough here to be read where they lie.

use super::{
    functions::{add, gelu},
    pool::Pool,
    share::Shared,
    tile::Isa,
};

/// Depth of a block: its part of a panel stays in the nearest cache while it is used.
const DEPTH: usize = 512;
/// Tiles of rows that use a panel one after another.
const TILES: usize = 8;
/// Multiplications below which sharing out costs more than it gives.
const WORTH: usize = 40_000;

/// `depth` rows and `columns` columns, in panels of [`Isa::panel`] columns; the last one is filled up with zeros.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    isa: Isa,
    depth: usize,
    columns: usize,
    values: &'a [f32],
}

/// [`Panels`] with its values.
#[derive(Clone, Debug)]
pub struct Matrix {
    isa: Isa,
    depth: usize,
    columns: usize,
    values: Vec<f32>,
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

/// Values that panels of this size take.
pub fn size(isa: Isa, depth: usize, columns: usize) -> usize {
    columns.next_multiple_of(isa.panel()) * depth
}

impl Matrix {
    /// Puts `value(row, column)` in order.
    pub fn new(isa: Isa, depth: usize, columns: usize, value: impl Fn(usize, usize) -> f32) -> Matrix {
        let mut values = vec![0.0; size(isa, depth, columns)];
        let width = isa.panel();
        for (panel, values) in values.chunks_mut(depth * width).enumerate() {
            let first = panel * width;
            for (row, values) in values.chunks_mut(width).enumerate() {
                for (i, slot) in values.iter_mut().enumerate().take(columns - first) {
                    *slot = value(row, first + i);
                }
            }
        }
        Matrix {
            isa,
            depth,
            columns,
            values,
        }
    }

    /// Its panels.
    pub fn panels(&self) -> Panels<'_> {
        Panels {
            isa: self.isa,
            depth: self.depth,
            columns: self.columns,
            values: &self.values,
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

    /// Copies a column.
    pub fn column(&self, column: usize, out: &mut [f32]) {
        let width = self.isa.panel();
        let begin = column / width * width * self.depth + column % width;
        for (row, out) in out.iter_mut().enumerate().take(self.depth) {
            *out = self.values[begin + row * width];
        }
    }
}

impl<'a> Panels<'a> {
    /// Values that are in order already, [`size`] of them.
    pub fn of(isa: Isa, depth: usize, columns: usize, values: &'a [f32]) -> Panels<'a> {
        assert_eq!(
            values.len(),
            size(isa, depth, columns),
            "the panels of {depth} x {columns}"
        );
        Panels {
            isa,
            depth,
            columns,
            values,
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
        pool.each(blocks * parts, worth, |task| {
            let (block_index, part) = (task / parts, task % parts);
            let from = block_index * block;
            let to = (from + block).min(rows.count);
            for panel in panels * part / parts..panels * (part + 1) / parts {
                let mut row = from;
                let used = width.min(self.columns - panel * width);
                while row < to {
                    let count = self.isa.rows().min(to - row);
                    // Sound: tasks have different rows or panels, and the bounds were looked at above.
                    unsafe { self.tile(rows, (row, count), (panel, used), out, (at, stride), finish) };
                    row += count;
                }
            }
        });
    }

    /// One tile: rows `row..row + count`, the `used` columns of one panel.
    unsafe fn tile(
        &self,
        rows: Rows<'_>,
        (row, count): (usize, usize),
        (panel, used): (usize, usize),
        out: &Shared<'_>,
        (at, stride): (usize, usize),
        finish: Finish<'_>,
    ) {
        let (isa, width) = (self.isa, self.isa.panel());
        let first = panel * width;
        let place = at + row * stride + first;
        // A panel that is not whole goes by way of a tile of its own.
        let mut aside = [0f32; 12 * 32];
        let (tile, tile_stride) = if used == width {
            (out.pointer(place, (count - 1) * stride + width), stride)
        } else {
            (aside.as_mut_ptr(), width)
        };
        for i in 0..count {
            // Sound: a row of the tile, which is nobody else's.
            let tile = unsafe { std::slice::from_raw_parts_mut(tile.add(i * tile_stride), width) };
            match finish.bias {
                Some(bias) => tile[..used].copy_from_slice(&bias[first..first + used]),
                None => tile.fill(0.0),
            }
        }
        let values = &self.values[first * self.depth..(first + width) * self.depth];
        let mut from = 0;
        while from < self.depth {
            let depth = DEPTH.min(self.depth - from);
            let begin = row * rows.stride + from;
            let a = &rows.values[begin..begin + (count - 1) * rows.stride + depth];
            let b = &values[from * width..(from + depth) * width];
            // Sound: both slices were cut to what is read, and the tile has `count` rows of `width`.
            unsafe {
                isa.tile(
                    count,
                    depth,
                    (a.as_ptr(), rows.stride),
                    b.as_ptr(),
                    (tile, tile_stride),
                )
            };
            from += depth;
        }
        for i in 0..count {
            // Sound: as above.
            let tile = unsafe { std::slice::from_raw_parts_mut(tile.add(i * tile_stride), used) };
            if finish.gelu {
                gelu(isa, tile);
            }
            let begin = (row + i) * stride + first;
            if let Some(plus) = finish.plus {
                add(isa, tile, &plus[begin..begin + used]);
            }
            if used < width {
                // Sound: this row of `out` is the task's own.
                unsafe { out.part(at + begin, used) }.copy_from_slice(tile);
            }
        }
    }
}
