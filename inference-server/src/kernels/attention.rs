//! Attention: of all positions of a window to each other, and of rows to keys and values that are put in order once.
//!
//! Queries are expected to be scaled already. Positions are few enough (1,500) that the scores of some rows fit into the cache
//! whole: soft-max is taken over a row at once, and no score is ever written further than that. Its powers are divided by their
//! sum where they have become what a row sees: fewer numbers.

use std::borrow::Cow;

use super::{
    finish::Finish,
    functions::{powers, softmax},
    key_values::{Memory, order_keys, order_values, sizes},
    matrix::{Rows, Words, bits, bits_mut},
    pool::Pool,
    powers::rounded_powers,
    scratch::with_scratch,
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

impl Memory<'_> {
    /// What one head of some rows sees: `rows` are its queries; the result goes to rows of `out` at `at`, `at + stride`, ...
    /// `seen` is told of each row, and how to get its weights, one a position.
    ///
    /// # Safety
    /// Nobody else uses these parts of `out`.
    unsafe fn look(
        &self,
        head: usize,
        rows: Rows<'_>,
        out: &Shared<'_>,
        (at, stride): (usize, usize),
        seen: impl Fn(usize, &dyn Fn() -> Vec<f32>),
    ) {
        let each = self.positions.div_ceil(self.format.per_word());
        let most = ROWS.min(rows.count);
        // Powers that are not rounded to bf16 at once take the place of the scores.
        let rounded = if self.format == Format::Bf16 { each } else { 0 };
        with_scratch(most * (self.positions + rounded), |scores| {
            let (scores, words) = scores.split_at_mut(most * self.positions);
            for from in (0..rows.count).step_by(ROWS) {
                let some = rows.some(from, ROWS.min(rows.count - from));
                let (keys, (values, of_positions)) = (self.keys(head), self.values(head));
                let alone = Pool::new(1);
                keys.multiply(&alone, some, scores, self.positions, Finish::default());
                let mut scales = Vec::with_capacity(some.count);
                let words = bits_mut(words);
                for (i, row) in scores.chunks_mut(self.positions).take(some.count).enumerate() {
                    seen(from + i, &|| {
                        let mut weights = row.to_vec();
                        softmax(self.isa, &mut weights);
                        weights
                    });
                    scales.push(match self.format {
                        Format::Bf16 => 1.0 / rounded_powers(row, &mut words[i * each..(i + 1) * each]),
                        _ => 1.0 / powers(self.isa, row),
                    });
                    row.iter_mut()
                        .zip(of_positions)
                        .for_each(|(x, scale)| *x *= scale);
                }
                let weights = if self.format.is_integer() {
                    let rows = Rows {
                        values: scores,
                        count: some.count,
                        stride: self.positions,
                    };
                    let mut weights = rows.words(self.isa, self.format, self.isa.offset(), self.positions);
                    let both = weights.scales.iter_mut().zip(scales);
                    both.for_each(|(scale, of_sum)| *scale *= of_sum);
                    weights
                } else {
                    Words {
                        words: Cow::Borrowed(match self.format {
                            Format::F32 => bits(scores),
                            _ => &*words,
                        }),
                        count: some.count,
                        stride: each,
                        scales,
                    }
                };
                let panels = self.heads.width.div_ceil(self.isa.panel());
                let place = (at + from * stride, stride);
                // Sound: these rows of the head are the caller's.
                unsafe { values.multiply_words(&weights, 0..panels, out, place, Finish::default()) };
            }
        });
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
/// is told, from any thread, how to get all weights.
pub fn look_back(
    pool: &Pool,
    heads: Heads,
    queries: &[f32],
    groups: &[Group<'_>],
    out: &mut [f32],
    seen: impl Fn(usize, usize, &dyn Fn() -> Vec<f32>) + Sync,
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
