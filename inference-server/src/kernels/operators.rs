//! A kernel as an operator of a tract graph. All values are f32, two-dimensional and row by row; the number of rows may be open.

use std::{fmt, sync::Arc};

use tract_onnx::{
    prelude::*,
    tract_core::internal::{DimLike, EvalContext, EvalOp, Op, StaticName, TypedOp},
};

use super::{pool::Pool, tile::Isa};

/// What every kernel needs of the machine.
#[derive(Clone)]
pub struct Machine {
    /// The instruction set.
    pub isa: Isa,
    /// The threads.
    pub pool: Arc<Pool>,
}

impl Machine {
    /// This machine, with so many threads.
    pub fn new(threads: usize) -> Machine {
        Machine {
            isa: Isa::best(),
            pool: Arc::new(Pool::new(threads)),
        }
    }
}

/// Rows in, rows out.
pub trait Kernel: Send + Sync + 'static {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// Values of a row, for each output.
    fn columns(&self) -> Vec<usize>;

    /// Rows of the outputs, by those of the first input; the same unless it says otherwise.
    fn rows(&self, rows: &TDim) -> TDim {
        rows.clone()
    }

    /// Rows of the outputs of this run.
    fn count(&self, rows: usize) -> usize {
        self.rows(&rows.to_dim()).to_usize().unwrap_or(rows)
    }

    /// Computes the outputs; what they hold before is nothing to rely on.
    fn run(&self, machine: &Machine, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> TractResult<()>;
}

/// An operator that runs a [`Kernel`].
#[derive(Clone)]
pub struct Operator {
    machine: Machine,
    kernel: Arc<dyn Kernel>,
}

impl Operator {
    /// The operator of a kernel.
    pub fn boxed(machine: &Machine, kernel: impl Kernel) -> Box<dyn TypedOp> {
        Box::new(Operator {
            machine: machine.clone(),
            kernel: Arc::new(kernel),
        })
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kernel.name())
    }
}

impl PartialEq for Operator {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kernel, &other.kernel)
    }
}

impl Eq for Operator {}

impl Op for Operator {
    fn name(&self) -> StaticName {
        self.kernel.name().into()
    }

    fn as_typed(&self) -> Option<&dyn TypedOp> {
        Some(self)
    }
}

impl EvalOp for Operator {
    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let views = inputs.iter().map(|input| input.try_as_plain_ram());
        let views = views.collect::<TractResult<Vec<_>>>()?;
        let slices = views.iter().map(|view| view.as_slice::<f32>());
        let slices = slices.collect::<TractResult<Vec<_>>>()?;
        let rows = self.kernel.count(inputs[0].shape()[0]);
        let columns = self.kernel.columns();
        // Sound: numbers may have any bits, and a kernel writes all that is read of its outputs.
        let fresh = |&columns: &usize| unsafe { Tensor::uninitialized::<f32>(&[rows, columns]) };
        let mut outputs = columns.iter().map(fresh).collect::<TractResult<Vec<_>>>()?;
        let views = outputs.iter_mut().map(|output| output.try_as_plain_ram_mut());
        let mut views = views.collect::<TractResult<Vec<_>>>()?;
        let out = views.iter_mut().map(|view| view.as_slice_mut::<f32>());
        let mut out = out.collect::<TractResult<Vec<_>>>()?;
        self.kernel.run(&self.machine, &slices, &mut out)?;
        Ok(outputs.into_iter().map(IntoTValue::into_tvalue).collect())
    }

    fn eval_out_of_plan(&self, _: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        Ok(None)
    }
}

impl TypedOp for Operator {
    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = self.kernel.rows(&inputs[0].shape[0]);
        let facts = self.kernel.columns().into_iter();
        Ok(facts
            .map(|columns| f32::fact([rows.clone(), columns.to_dim()]))
            .collect())
    }
}
