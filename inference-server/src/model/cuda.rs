//! A graph in; the same on the first GPU by NVIDIA out, by tract's runtime for CUDA. Only with the feature `cuda`.
//!
//! Nothing is linked: the driver and the libraries are opened when a model is loaded, and [`check`] tells which are not there.

use std::panic::catch_unwind;

use tract_cuda::utils::ensure_cuda_runtime_dependencies;
use tract_onnx::tract_core::{
    internal::*,
    model::Rewriter,
    ops::{
        element_wise::ElementWiseOp,
        math::{add, erf, mul},
        nn::GeluExact,
    },
    runtime::runtime_for_name,
};

use super::graph::{last_words, one_line};

/// Whether the driver and the libraries are there; or what is not.
pub(super) fn check() -> Result<(), String> {
    let checked = catch_unwind(|| ensure_cuda_runtime_dependencies("what CUDA needs is missing"));
    match checked {
        Ok(checked) => checked.map_err(|error| one_line(&error)),
        Err(panic) => Err(last_words(panic.as_ref())),
    }
}

/// The GPU.
#[derive(Debug)]
pub(super) struct Cuda;

impl Runtime for Cuda {
    fn name(&self) -> StaticName {
        "cuda".into()
    }

    fn check(&self) -> TractResult<()> {
        check().map_err(TractError::msg)
    }

    fn prepare_with_options(
        &self,
        model: TypedModel,
        options: &RunOptions,
    ) -> TractResult<Box<dyn Runnable>> {
        let cuda = runtime_for_name("cuda")?.context("this build has no CUDA")?;
        cuda.prepare_with_options(for_gpu(model)?, options)
    }
}

/// The graph as the runtime wants it: simplified, and of operators that it has kernels for.
fn for_gpu(model: TypedModel) -> TractResult<TypedModel> {
    let mut model = model.into_decluttered()?;
    Rewriter::default()
        .with_rule_for("gelu-in-parts", gelu_in_parts)
        .rewrite(&(), &mut model)?;
    Ok(model)
}

/// tract makes one operator of the parts of a GELU, x/2 (1 + erf(x/√2)), which tract-cuda 0.23.9 has no kernel for: every layer
/// would go to the processor and back. For the parts it has kernels.
fn gelu_in_parts(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &ElementWiseOp,
) -> TractResult<Option<TypedModelPatch>> {
    if !op.0.is::<GeluExact>() {
        return Ok(None);
    }
    let fact = model.outlet_fact(node.inputs[0])?;
    let rank = fact.rank();
    let mut patch = TypedModelPatch::default();
    let x = patch.tap_model(model, node.inputs[0])?;
    let mut number = |part: &str, value: f32| {
        let value = tensor0(value).cast_to_dt(fact.datum_type)?.into_owned();
        patch.add_const(format!("{name}.{part}"), value.broadcast_into_rank(rank)?)
    };
    let (scale, one, half) = (
        number("scale", std::f32::consts::FRAC_1_SQRT_2)?,
        number("one", 1.0)?,
        number("half", 0.5)?,
    );
    let mut wire = |part: &str, op: Box<dyn TypedOp>, inputs: &[OutletId]| {
        Ok::<_, TractError>(patch.wire_node(format!("{name}.{part}"), op, inputs)?[0])
    };
    let scaled = wire("scaled", Box::new(mul()), &[x, scale])?;
    let erf = wire("erf", Box::new(erf()), &[scaled])?;
    let more = wire("more", Box::new(add()), &[erf, one])?;
    let halved = wire("halved", Box::new(mul()), &[x, half])?;
    let gelu = wire("gelu", Box::new(mul()), &[halved, more])?;
    patch.shunt_outside(model, node.id.into(), gelu)?;
    Ok(Some(patch))
}

#[cfg(test)]
mod tests {
    use tract_onnx::tract_core::ops::nn::gelu_exact::gelu_exact;

    use super::*;

    fn gelus(model: &TypedModel) -> usize {
        let gelu = |node: &&TypedNode| {
            node.op_as::<ElementWiseOp>()
                .is_some_and(|op| op.0.is::<GeluExact>())
        };
        model.nodes().iter().filter(gelu).count()
    }

    #[test]
    fn a_gelu_in_parts_is_the_same_gelu() {
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact([2, 50])).unwrap();
        let gelu = model.wire_node("gelu", gelu_exact(), &[x]).unwrap();
        model.select_output_outlets(&gelu).unwrap();
        let parts = for_gpu(model.clone()).unwrap();
        assert_eq!((gelus(&model), gelus(&parts)), (1, 0));
        let values: Vec<f32> = (0..100).map(|i| (i - 50) as f32 / 10.0).collect();
        let run = |model: TypedModel| {
            let x = Tensor::from_shape(&[2, 50], &values).unwrap();
            model
                .into_runnable()
                .unwrap()
                .run(tvec![x.into()])
                .unwrap()
                .remove(0)
        };
        run(parts)
            .close_enough(&run(model), Approximation::Close)
            .unwrap();
    }

    #[test]
    fn the_runtime_is_part_of_the_build_and_says_what_is_missing() {
        // Where there is no GPU this is a sentence; where there is one it is there.
        match runtime_for_name("cuda") {
            Ok(found) => assert!(found.is_some(), "it was not linked"),
            Err(_) => assert!(check().unwrap_err().starts_with("what CUDA needs is missing: ")),
        }
    }
}
