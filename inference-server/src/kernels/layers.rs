//! The layers that any transformer is made of, as kernels: linear maps, normalisation, convolution, and attention within the rows.

use std::sync::Arc;

use tract_onnx::prelude::{TDim, TractResult};

use super::{
    attention::{Heads, attend},
    finish::Finish,
    functions::layer_norm,
    key_values::{order_keys, order_values, sizes},
    matrix::{Matrix, Rows},
    operators::{Kernel, Machine},
    pool::Pool,
    scratch::with_scratch,
    tile::{Format, Isa},
};

/// `x A + b`, plus the second input if there is one.
pub struct Linear {
    /// A; others may use it too.
    pub matrix: Arc<Matrix>,
    /// b.
    pub bias: Option<Vec<f32>>,
}

/// Rows that go through several steps together: what lies between the steps stays near.
const BLOCK: usize = 96;

/// Does something with blocks of rows where there are many, each on one of the threads, and with all rows on all threads where there are few.
fn in_blocks<'a>(
    pool: &Pool,
    (rows, width): (&'a [f32], usize),
    (out, columns): (&'a mut [f32], usize),
    work: impl Fn(&Pool, &[f32], &mut [f32]) + Sync + Send,
) {
    if rows.len() / width < 2 * pool.threads() * BLOCK {
        return work(pool, rows, out);
    }
    let blocks = rows.chunks(BLOCK * width).zip(out.chunks_mut(BLOCK * columns));
    let alone = Pool::new(1);
    pool.share(blocks, true, |_, (rows, out)| work(&alone, rows, out));
}

impl Linear {
    /// The map of some rows, to rows of `out` that are `stride` apart, as are those of `plus`.
    fn apply(
        &self,
        pool: &Pool,
        rows: &[f32],
        (out, stride): (&mut [f32], usize),
        gelu: bool,
        plus: Option<&[f32]>,
    ) {
        let depth = self.matrix.depth();
        let rows = Rows {
            values: rows,
            count: rows.len() / depth,
            stride: depth,
        };
        let finish = Finish {
            bias: self.bias.as_deref(),
            gelu,
            plus,
        };
        self.matrix.panels().multiply(pool, rows, out, stride, finish);
    }
}

impl Kernel for Linear {
    fn name(&self) -> &'static str {
        "Linear"
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.matrix.columns()]
    }

    fn run(&self, machine: &Machine, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> TractResult<()> {
        let out = (&mut *outputs[0], self.matrix.columns());
        self.apply(&machine.pool, inputs[0], out, false, inputs.get(1).copied());
        Ok(())
    }
}

/// Maps of the same rows, which are normalised first; what they give lies side by side.
pub struct Projections {
    /// What is done to the rows first.
    pub norm: LayerNorm,
    /// The maps.
    pub maps: Vec<Linear>,
}

impl Kernel for Projections {
    fn name(&self) -> &'static str {
        "Projections"
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.maps.iter().map(|map| map.matrix.columns()).sum()]
    }

    fn run(&self, machine: &Machine, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> TractResult<()> {
        let (depth, columns) = (self.norm.weight.len(), self.columns()[0]);
        in_blocks(
            &machine.pool,
            (inputs[0], depth),
            (&mut *outputs[0], columns),
            |pool, rows, out| {
                with_scratch(rows.len(), |normal| {
                    self.norm.apply(machine.isa, rows, normal);
                    let mut at = 0;
                    for map in &self.maps {
                        map.apply(pool, normal, (&mut out[at..], columns), false, None);
                        at += map.matrix.columns();
                    }
                });
            },
        );
        Ok(())
    }
}

/// `x + B gelu(A norm(x))`: a wide map, and a narrow one back.
pub struct FeedForward {
    /// What is done to the rows first.
    pub norm: LayerNorm,
    /// A.
    pub wide: Linear,
    /// B.
    pub narrow: Linear,
}

impl Kernel for FeedForward {
    fn name(&self) -> &'static str {
        "FeedForward"
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.narrow.matrix.columns()]
    }

    fn run(&self, machine: &Machine, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> TractResult<()> {
        let (depth, inner) = (self.wide.matrix.depth(), self.wide.matrix.columns());
        let columns = self.narrow.matrix.columns();
        in_blocks(
            &machine.pool,
            (inputs[0], depth),
            (&mut *outputs[0], columns),
            |pool, rows, out| {
                let count = rows.len() / depth;
                with_scratch(count * (depth + inner), |scratch| {
                    let (normal, wide) = scratch.split_at_mut(count * depth);
                    self.norm.apply(machine.isa, rows, normal);
                    self.wide.apply(pool, normal, (wide, inner), true, None);
                    self.narrow.apply(pool, wide, (out, columns), false, Some(rows));
                });
            },
        );
        Ok(())
    }
}

/// Layer normalisation over each row.
pub struct LayerNorm {
    /// Scale of each value.
    pub weight: Vec<f32>,
    /// Offset of each value.
    pub bias: Vec<f32>,
    /// What is added to the variance.
    pub epsilon: f32,
}

impl LayerNorm {
    /// Normalises some rows.
    fn apply(&self, isa: Isa, rows: &[f32], out: &mut [f32]) {
        let width = self.weight.len();
        for (x, out) in rows.chunks(width).zip(out.chunks_mut(width)) {
            layer_norm(isa, x, &self.weight, &self.bias, self.epsilon, out);
        }
    }
}

impl Kernel for LayerNorm {
    fn name(&self) -> &'static str {
        "LayerNorm"
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.weight.len()]
    }

    fn run(&self, machine: &Machine, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> TractResult<()> {
        let width = self.weight.len();
        in_blocks(
            &machine.pool,
            (inputs[0], width),
            (&mut *outputs[0], width),
            |_, rows, out| self.apply(machine.isa, rows, out),
        );
        Ok(())
    }
}

/// A convolution over the rows, three wide with a row of zeros at either end, and GELU; then `plus`.
pub struct Convolution {
    /// Row `k * channels + c` holds the weights of channel c, k rows after the one before.
    pub matrix: Arc<Matrix>,
    /// Offset of each value.
    pub bias: Option<Vec<f32>>,
    /// From one row to the next that is looked at.
    pub stride: usize,
    /// Added in the end: one row for each row that comes out.
    pub plus: Option<Vec<f32>>,
}

/// Rows that a convolution looks at.
const WIDTH: usize = 3;

impl Kernel for Convolution {
    fn name(&self) -> &'static str {
        "Convolution"
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.matrix.columns()]
    }

    fn rows(&self, rows: &TDim) -> TDim {
        (rows.clone() - 1) / self.stride as i64 + 1
    }

    fn run(&self, machine: &Machine, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> TractResult<()> {
        let (depth, columns) = (self.matrix.depth(), self.matrix.columns());
        let (channels, x) = (depth / WIDTH, inputs[0]);
        let count = self.count(x.len() / channels);
        let mut product = |from: usize, rows: Rows<'_>| {
            let finish = Finish {
                bias: self.bias.as_deref(),
                gelu: true,
                plus: self.plus.as_deref().map(|plus| &plus[from * columns..]),
            };
            let out = &mut outputs[0][from * columns..];
            self.matrix
                .panels()
                .multiply(&machine.pool, rows, out, columns, finish);
        };
        // Three rows side by side in memory are one row of the product: nothing is copied but at the ends.
        let inner = 1..count.saturating_sub(1).max(1);
        let rows = Rows {
            values: &x[(self.stride - 1) * channels..],
            count: inner.len(),
            stride: self.stride * channels,
        };
        product(inner.start, rows);
        for end in [0, count - 1] {
            let mut values = vec![0.0; depth];
            let (before, begin) = (
                usize::from(end == 0),
                (end * self.stride).saturating_sub(1) * channels,
            );
            let some = &x[begin..x.len().min(begin + depth - before * channels)];
            values[before * channels..][..some.len()].copy_from_slice(some);
            let rows = Rows {
                values: &values,
                count: 1,
                stride: depth,
            };
            product(end, rows);
        }
        Ok(())
    }
}

/// Attention of all rows to each other, from queries (scaled), keys and values side by side.
pub struct SelfAttention {
    /// The heads.
    pub heads: Heads,
    /// Of queries, keys, values and weights.
    pub format: Format,
}

impl Kernel for SelfAttention {
    fn name(&self) -> &'static str {
        "SelfAttention"
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.heads.all()]
    }

    fn run(&self, machine: &Machine, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> TractResult<()> {
        let stride = 3 * self.heads.all();
        let rows = Rows {
            values: inputs[0],
            count: inputs[0].len() / stride,
            stride,
        };
        attend(
            machine.isa,
            self.format,
            &machine.pool,
            self.heads,
            rows,
            outputs[0],
        );
        Ok(())
    }
}

/// Keys and values of all rows, in the order in which attention reads them; each output is one row, which fewer rows than `positions`
/// do not fill.
pub struct Memorise {
    /// Of the keys.
    pub keys: Linear,
    /// Of the values.
    pub values: Linear,
    /// The heads.
    pub heads: Heads,
    /// Most rows that come.
    pub positions: usize,
    /// For which it is ordered.
    pub isa: Isa,
    /// Of keys and values.
    pub format: Format,
}

impl Kernel for Memorise {
    fn name(&self) -> &'static str {
        "Memorise"
    }

    fn columns(&self) -> Vec<usize> {
        let (keys, values) = sizes(self.isa, self.format, self.heads, self.positions);
        vec![keys, values]
    }

    fn rows(&self, _: &TDim) -> TDim {
        1.into()
    }

    fn run(&self, machine: &Machine, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> TractResult<()> {
        let stride = self.heads.all();
        let count = inputs[0].len() / self.keys.matrix.depth();
        let mut made = vec![0.0; count * stride];
        for (i, linear) in [&self.keys, &self.values].into_iter().enumerate() {
            linear.run(machine, &inputs[..1], &mut [&mut made])?;
            let rows = Rows {
                values: &made,
                count,
                stride,
            };
            let order = if i == 0 { order_keys } else { order_values };
            order(self.isa, self.format, &machine.pool, self.heads, rows, outputs[i]);
        }
        Ok(())
    }
}
