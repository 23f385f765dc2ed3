//! An ONNX graph in; what it makes of tensors out, by tract. Whether tensors fit was looked at before.
//!
//! Dimensions of any size stay open in the optimised graph. Where tract cannot optimise it so, it is optimised for each shape that
//! comes, and the last few are kept.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Mutex, PoisonError},
};

use tract_onnx::{
    pb::ModelProto,
    prelude::{multithread::Executor, *},
    tract_core::plan,
    tract_hir::infer::Factoid,
};

use super::{Signature, elements, request::Fitting, request::Given, signature::Dim};
use crate::{
    model::graph::{last_words, one_line, single_precision},
    pipeline::{Cancel, Stopped},
};

/// Shapes for which an optimised graph is kept.
const KEPT: usize = 4;

/// A graph that can be run; requests share it.
pub(super) struct Graph {
    runs: Runs,
    executor: Executor,
}

type Shapes = Vec<Vec<usize>>;

enum Runs {
    /// With open dimensions, or with none at all.
    Open(Arc<TypedRunnableModel>),
    /// For each shape.
    Closed(Box<InferenceModel>, Mutex<Vec<(Shapes, Arc<TypedRunnableModel>)>>),
}

/// Why a graph gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum GraphError {
    /// It was to stop.
    #[error("stopped")]
    Stopped(Stopped),
    /// What the engine says.
    #[error("{0}")]
    Engine(String),
}

impl From<TractError> for GraphError {
    fn from(error: TractError) -> Self {
        GraphError::Engine(one_line(&error))
    }
}

impl Graph {
    /// Optimises a graph whose weights may lie beside `path`. Fills in the shapes of outputs of which the file tells none.
    pub(super) fn load(
        proto: &ModelProto,
        path: &Path,
        signature: &mut Signature,
        executor: Executor,
    ) -> TractResult<Graph> {
        let parsed = tract_onnx::onnx()
            .parse(proto, path.parent().and_then(Path::to_str))?
            .model;
        let dims = signature
            .inputs
            .iter()
            .flat_map(|input| input.shape.iter().flatten());
        let open = dims.into_iter().any(|dim| !matches!(dim, Dim::Fixed(_)));
        let runs = match optimised(parsed.clone(), None, &executor) {
            Ok(plan) => Runs::Open(plan),
            Err(error) if open => {
                tracing::info!(
                    why = one_line(&error),
                    "the graph is optimised for each shape that comes, not once for all"
                );
                Runs::Closed(Box::new(parsed), Mutex::default())
            }
            Err(error) => return Err(error),
        };
        if let Runs::Open(plan) = &runs {
            for (slot, output) in signature.outputs.iter_mut().enumerate() {
                let fact = plan.model().output_fact(slot)?;
                output.shape.get_or_insert_with(|| {
                    let size = |dim: &TDim| {
                        let size = dim.to_i64().ok().and_then(|size| usize::try_from(size).ok());
                        size.map_or(Dim::Any, Dim::Fixed)
                    };
                    fact.shape.iter().map(size).collect()
                });
            }
        }
        Ok(Graph { runs, executor })
    }

    /// Runs once; looks after each operator whether it is to stop.
    pub(super) fn run(
        &self,
        signature: &Signature,
        fitting: Fitting,
        cancel: &Cancel,
    ) -> Result<Vec<Given>, GraphError> {
        let shapes: Shapes = fitting.inputs.iter().map(|(shape, _)| shape.clone()).collect();
        let plan = self.plan(shapes)?;
        let mut inputs = tvec![];
        for (slot, (spec, (shape, bytes))) in signature.inputs.iter().zip(fitting.inputs).enumerate() {
            let tensor = elements::tensor(spec.datatype, &shape, &bytes)?;
            let wanted = plan.model().input_fact(slot)?.datum_type;
            inputs.push(tensor.cast_to_dt(wanted)?.into_owned().into_tvalue());
        }
        let stopped = Cell::new(None);
        let run = || {
            plan.spawn()?
                .run_plan_with_eval(inputs, |context, state, node, inputs| {
                    if let Err(stop) = cancel.check() {
                        stopped.set(Some(stop));
                        return Err(TractError::msg("stopped"));
                    }
                    plan::eval(context, state, node, inputs)
                })
        };
        // Some of tract's operators do not look whether an index is in range before they use it.
        let outputs = catch_unwind(AssertUnwindSafe(run));
        if let Some(stop) = stopped.take() {
            return Err(GraphError::Stopped(stop));
        }
        let outputs = outputs.map_err(|panic| GraphError::Engine(broke_off(panic.as_ref())))??;
        let give = |place: usize| {
            let spec = &signature.outputs[place];
            let tensor = outputs[place].cast_to_dt(spec.datatype.datum_type())?;
            Ok(Given {
                name: spec.name.clone(),
                datatype: spec.datatype,
                shape: tensor.shape().to_vec(),
                bytes: elements::bytes(spec.datatype, &tensor)?,
            })
        };
        fitting.outputs.into_iter().map(give).collect()
    }

    fn plan(&self, shapes: Shapes) -> TractResult<Arc<TypedRunnableModel>> {
        let (parsed, kept) = match &self.runs {
            Runs::Open(plan) => return Ok(plan.clone()),
            Runs::Closed(parsed, kept) => (parsed, kept),
        };
        let lock = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, plan)) = lock().iter().find(|(known, _)| *known == shapes) {
            return Ok(plan.clone());
        }
        let plan = optimised((**parsed).clone(), Some(&shapes), &self.executor)?;
        let mut kept = lock();
        kept.insert(0, (shapes, plan.clone()));
        kept.truncate(KEPT);
        Ok(plan)
    }
}

/// What an operator said that could not go on.
fn broke_off(panic: &(dyn Any + Send)) -> String {
    format!("an operator cannot work on these tensors: {}", last_words(panic))
}

/// Optimises for these shapes of the inputs, or with the dimensions open that the file leaves open.
fn optimised(
    mut model: InferenceModel,
    shapes: Option<&Shapes>,
    executor: &Executor,
) -> TractResult<Arc<TypedRunnableModel>> {
    for slot in 0..model.input_outlets()?.len() {
        let fact = model.input_fact(slot)?.clone();
        let datum_type = fact.datum_type.concretize();
        let datum_type = datum_type.ok_or_else(|| TractError::msg("an input has no datatype"))?;
        let dims: TVec<TDim> = match shapes.and_then(|shapes| shapes.get(slot)) {
            Some(shape) => shape.iter().map(|size| size.to_dim()).collect(),
            None => {
                let any =
                    |dim: Option<TDim>| dim.unwrap_or_else(|| model.symbols.new_with_prefix("any").into());
                fact.shape.dims().map(|dim| any(dim.concretize())).collect()
            }
        };
        model.set_input_fact(slot, InferenceFact::dt_shape(datum_type, dims))?;
    }
    let model = single_precision(model.into_typed()?)?.into_optimized()?;
    let options = RunOptions {
        executor: Some(executor.clone()),
        ..RunOptions::default()
    };
    model.into_runnable_with_options(&options)
}
