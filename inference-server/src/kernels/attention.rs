//! Attention: of all positions of a window to each other, and of rows to keys and values that are put in order once.
//!
//! Queries are expected to be scaled already. Positions are few enough (1,500) that the scores of some rows fit into the cache
//! whole: soft-max is taken over a row at once, and no score is ever written further than that.

use super::{
    functions::{bf16, softmax},
    matrix::{Finish, Panels, Rows, bits, bits_mut, size},
    pool::Pool,
    share::Shared,
    tile::{Format, Isa},
};

/// Rows whose scores are held at a time.
const ROWS: usize = 24;

/// Heads of an attention: `count` of them, `width` values each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Number of heads.
    pub count: usize,
    /// Values of a head.
    pub width: usize,
}

impl Heads {
    /// Values of a row: all heads side by side.
    pub fn all(self) -> usize {
        self.count * self.width
    }
}

/// Keys and values of all heads over some positions, in the order in which products read them.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    isa: Isa,
    format: Format,
    heads: Heads,
    positions: usize,
    keys: &'a [u32],
    values: &'a [u32],
}

/// Words that the keys, and the values, of so many positions take.
pub fn sizes(isa: Isa, format: Format, heads: Heads, positions: usize) -> (usize, usize) {
    let keys = heads.count * size(isa, format, heads.width, positions);
    let values = heads.count * size(isa, format, positions, heads.width);
    (keys, values)
}

/// Puts keys in order: `rows` has one row a position, the heads side by side. `out` is zero before.
pub fn order_keys(isa: Isa, format: Format, pool: &Pool, heads: Heads, rows: Rows<'_>, out: &mut [f32]) {
    let (each, width) = (size(isa, format, heads.width, rows.count), isa.panel());
    let (depth, per_word) = (heads.width.div_ceil(format.per_word()), format.per_word());
    let shared = Shared::new(bits_mut(out));
    pool.each(heads.count, true, |head| {
        // Sound: each head has a part of its own.
        let out = unsafe { shared.part(head * each, each) };
        for position in 0..rows.count {
            let begin = position * rows.stride + head * heads.width;
            let panel = position / width * width * depth + position % width;
            for (i, &value) in rows.values[begin..begin + heads.width].iter().enumerate() {
                put(format, &mut out[panel + i / per_word * width], i, value);
            }
        }
    });
}

/// Puts values in order: `rows` has one row a position, the heads side by side. `out` is zero before.
pub fn order_values(isa: Isa, format: Format, pool: &Pool, heads: Heads, rows: Rows<'_>, out: &mut [f32]) {
    let (each, width) = (size(isa, format, rows.count, heads.width), isa.panel());
    let (depth, per_word) = (rows.count.div_ceil(format.per_word()), format.per_word());
    let shared = Shared::new(bits_mut(out));
    pool.each(heads.count, true, |head| {
        // Sound: each head has a part of its own.
        let out = unsafe { shared.part(head * each, each) };
        for position in 0..rows.count {
            let begin = position * rows.stride + head * heads.width;
            let row = &rows.values[begin..begin + heads.width];
            for (panel, values) in row.chunks(width).enumerate() {
                let begin = (panel * depth + position / per_word) * width;
                for (word, &value) in out[begin..].iter_mut().zip(values) {
                    put(format, word, position, value);
                }
            }
        }
    });
}

/// Writes a number into its part of a word.
#[inline(always)]
fn put(format: Format, word: &mut u32, place: usize, value: f32) {
    match format {
        Format::Bf16 => *word |= bf16(value) << (place % 2 * 16),
        _ => *word = value.to_bits(),
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

    fn keys(&self, head: usize) -> Panels<'a> {
        let each = size(self.isa, self.format, self.heads.width, self.positions);
        let words = &self.keys[head * each..(head + 1) * each];
        Panels::of(self.isa, self.format, self.heads.width, self.positions, words)
    }

    fn values(&self, head: usize) -> Panels<'a> {
        let each = size(self.isa, self.format, self.positions, self.heads.width);
        let words = &self.values[head * each..(head + 1) * each];
        Panels::of(self.isa, self.format, self.positions, self.heads.width, words)
    }

    /// What one head of some rows sees: `rows` are its queries; the result goes to rows of `out` at `at`, `at + stride`, ...
    /// `seen` gets the weights, for each row one a position.
    ///
    /// # Safety
    /// Nobody else uses these parts of `out`.
    unsafe fn look(
        &self,
        head: usize,
        rows: Rows<'_>,
        out: &Shared<'_>,
        (at, stride): (usize, usize),
        mut seen: impl FnMut(usize, &[f32]),
    ) {
        let alone = Pool::new(1);
        let mut scores = vec![0.0; ROWS.min(rows.count) * self.positions];
        let mut from = 0;
        while from < rows.count {
            let count = ROWS.min(rows.count - from);
            let some = Rows {
                values: &rows.values[from * rows.stride..],
                count,
                ..rows
            };
            self.keys(head)
                .multiply(&alone, some, &mut scores, self.positions, Finish::default());
            for (i, row) in scores.chunks_mut(self.positions).take(count).enumerate() {
                softmax(self.isa, row);
                seen(from + i, row);
            }
            let weights = Rows {
                values: &scores,
                count,
                stride: self.positions,
            };
            // Sound: these rows of the head are the caller's.
            unsafe {
                self.values(head).multiply_into(
                    &alone,
                    weights,
                    out,
                    (at + from * stride, stride),
                    Finish::default(),
                );
            }
            from += count;
        }
    }
}

/// What every position sees of all: `rows` hold queries, keys and values of all heads side by side (`3 * heads.all()` values); `out`
/// gets `heads.all()` values a row.
pub fn attend(isa: Isa, format: Format, pool: &Pool, heads: Heads, rows: Rows<'_>, out: &mut [f32]) {
    let (all, positions) = (heads.all(), rows.count);
    let (keys, values) = sizes(isa, format, heads, positions);
    let (mut keys, mut values) = (vec![0.0; keys], vec![0.0; values]);
    order_keys(
        isa,
        format,
        pool,
        heads,
        Rows {
            values: &rows.values[all..],
            ..rows
        },
        &mut keys,
    );
    order_values(
        isa,
        format,
        pool,
        heads,
        Rows {
            values: &rows.values[2 * all..],
            ..rows
        },
        &mut values,
    );
    let memory = Memory::of(isa, format, heads, positions, &keys, &values);
    let shared = Shared::new(out);
    let parts = positions.div_ceil(ROWS);
    pool.each(heads.count * parts, true, |task| {
        let (head, from) = (task / parts, task % parts * ROWS);
        let queries = Rows {
            values: &rows.values[from * rows.stride + head * heads.width..],
            count: ROWS.min(positions - from),
            stride: rows.stride,
        };
        let at = from * all + head * heads.width;
        // Sound: each task has rows and columns of its own.
        unsafe { memory.look(head, queries, &shared, (at, all), |_, _| ()) };
    });
}

/// Rows that look at the same memory.
pub struct Group<'a> {
    /// The first row.
    pub from: usize,
    /// Number of rows.
    pub count: usize,
    /// What they look at.
    pub memory: Memory<'a>,
}

/// What rows see of the memories of their groups. `queries` and `out` have `heads.all()` values a row; `seen(row, head, weights)`
/// is told all weights, from any thread.
pub fn look_back(
    pool: &Pool,
    heads: Heads,
    queries: &[f32],
    groups: &[Group<'_>],
    out: &mut [f32],
    seen: impl Fn(usize, usize, &[f32]) + Sync,
) {
    let all = heads.all();
    let shared = Shared::new(out);
    pool.each(groups.len() * heads.count, true, |task| {
        let (group, head) = (&groups[task / heads.count], task % heads.count);
        let at = group.from * all + head * heads.width;
        let queries = Rows {
            values: &queries[at..],
            count: group.count,
            stride: all,
        };
        // Sound: each task has rows and columns of its own.
        unsafe {
            group
                .memory
                .look(head, queries, &shared, (at, all), |row, weights| {
                    seen(group.from + row, head, weights);
                });
        }
    });
}
