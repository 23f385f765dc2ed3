//! The layers that any transformer is made of, as kernels: linear maps, normalisation, convolution, and attention within the rows.

use std::sync::Arc;

use tract_onnx::prelude::{TDim, TractResult};

use super::{
    attention::{Heads, attend, order_keys, order_values, sizes},
    functions::layer_norm,
    matrix::{Finish, Matrix, Rows},
    operators::{Kernel, Machine},
    tile::{Format, Isa},
};

/// `x A + b`, then GELU if it is wanted, plus the second input if there is one.
pub struct Linear {
    /// A; others may use it too.
    pub matrix: Arc<Matrix>,
    /// b.
    pub bias: Option<Vec<f32>>,
    /// Whether GELU follows.
    pub gelu: bool,
}

impl Kernel for Linear {
    fn name(&self) -> &'static str {
        "Linear"
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.matrix.columns()]
    }

    fn run(&self, machine: &Machine, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> TractResult<()> {
        let (depth, columns) = (self.matrix.depth(), self.matrix.columns());
        let rows = Rows {
            values: inputs[0],
            count: inputs[0].len() / depth,
            stride: depth,
        };
        let finish = Finish {
            bias: self.bias.as_deref(),
            gelu: self.gelu,
            plus: inputs.get(1).copied(),
        };
        self.matrix
            .panels()
            .multiply(&machine.pool, rows, outputs[0], columns, finish);
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

impl Kernel for LayerNorm {
    fn name(&self) -> &'static str {
        "LayerNorm"
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.weight.len()]
    }

    fn run(&self, machine: &Machine, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> TractResult<()> {
        let width = self.weight.len();
        for (x, out) in inputs[0].chunks(width).zip(outputs[0].chunks_mut(width)) {
            layer_norm(machine.isa, x, &self.weight, &self.bias, self.epsilon, out);
        }
        Ok(())
    }
}

/// A convolution over the rows, three wide with a row of zeros at either end, and GELU; then `plus`.
pub struct Convolution {
    /// Row `k * channels + c` holds the weights of channel c, k rows after the one before.
    pub matrix: Matrix,
    /// Offset of each value.
    pub bias: Vec<f32>,
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
        let channels = self.matrix.depth() / WIDTH;
        let mut padded = vec![0.0; inputs[0].len() + 2 * channels];
        padded[channels..channels + inputs[0].len()].copy_from_slice(inputs[0]);
        // Three rows side by side in memory are one row of the product: nothing is copied.
        let rows = Rows {
            values: &padded,
            count: self.count(inputs[0].len() / channels),
            stride: self.stride * channels,
        };
        let finish = Finish {
            bias: Some(&self.bias),
            gelu: true,
            plus: self.plus.as_deref(),
        };
        let columns = self.matrix.columns();
        self.matrix
            .panels()
            .multiply(&machine.pool, rows, outputs[0], columns, finish);
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
            made.fill(0.0);
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
