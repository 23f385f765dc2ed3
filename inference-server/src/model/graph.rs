//! An ONNX file in; a [`Graph`] out: optimised by tract for the processor or the GPU, run by the names of its inputs and outputs.
//! The only file, with the encoder's, the decoder's and the detector's calls to [`Graph::run`], that speaks tract.

use std::{any::Any, path::Path};

use tract_onnx::{
    prelude::{multithread::Executor, *},
    tract_core::{
        floats::FloatPrecisionTranslator,
        ops::konst::Const,
        runtime::{DefaultRuntime, Runnable, Runtime, State},
        transform::ModelTransform,
    },
    tract_hir::infer::Factoid,
};

use super::{
    ModelError,
    config::file_name,
    proto::{self, Part},
};

/// A dimension of a graph's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dim {
    /// Known at load.
    Fixed(usize),
    /// Different from run to run; the same in all inputs that say so.
    Any,
}

impl Dim {
    fn least(self) -> usize {
        match self {
            Dim::Fixed(size) => size,
            Dim::Any => 1,
        }
    }
}

/// Shape of the input of a name; `None`: the graph may not have such an input.
pub(crate) type Shapes<'a> = &'a dyn Fn(&str) -> Option<Vec<Dim>>;

/// Whether a node's value is wanted as an output too, by the node's name and operator.
pub(crate) type Taps<'a> = &'a dyn Fn(&str, &str) -> bool;

/// No node's value is.
pub(crate) const NO_TAPS: Taps<'static> = &|_, _| false;

/// An optimised graph; immutable, so that requests share it.
pub(crate) struct Graph {
    plan: Box<dyn Runnable>,
    inputs: Vec<String>,
    outputs: Vec<String>,
    input_types: Vec<DatumType>,
    least: Vec<TVec<usize>>,
}

/// A running instance of a graph; one a request.
pub(crate) type Running = Box<dyn State>;

/// What runs graphs: the processor or a GPU, and the threads for what is done on the processor.
#[derive(Clone)]
pub(crate) struct Runner {
    runtime: &'static dyn Runtime,
    executor: Executor,
}

impl Runner {
    pub(crate) fn new(runtime: &'static dyn Runtime, threads: usize) -> Self {
        let executor = executor(threads);
        Runner { runtime, executor }
    }

    /// The processor.
    pub(crate) fn cpu(threads: usize) -> Self {
        Self::new(&DefaultRuntime, threads)
    }
}

impl Graph {
    /// Loads and optimises. The parsed file is dropped on the way: only the optimised graph stays in memory.
    ///
    /// A node that `taps` chooses becomes an output of the node's name. Weights in other files are read from beside the path.
    pub(crate) fn load(
        path: &Path,
        part: Part,
        shapes: Shapes<'_>,
        taps: Taps<'_>,
        runner: &Runner,
    ) -> Result<Graph, ModelError> {
        let onnx = tract_onnx::onnx();
        let proto = proto::read(&onnx, path, part).map_err(|problem| ModelError::graph(path, problem))?;
        let parsed = onnx.parse(&proto, path.parent().and_then(Path::to_str));
        drop(proto);
        Self::named(
            &file_name(path),
            parsed.map(|parsed| parsed.model),
            shapes,
            taps,
            runner,
        )
    }

    /// The same for a file that is part of the program.
    pub(crate) fn read(
        file: &str,
        mut bytes: &[u8],
        shapes: Shapes<'_>,
        runner: &Runner,
    ) -> Result<Graph, ModelError> {
        let parsed = tract_onnx::onnx().model_for_read(&mut bytes);
        Self::named(file, parsed, shapes, NO_TAPS, runner)
    }

    fn named(
        file: &str,
        parsed: TractResult<InferenceModel>,
        shapes: Shapes<'_>,
        taps: Taps<'_>,
        runner: &Runner,
    ) -> Result<Graph, ModelError> {
        let optimised = parsed.and_then(|model| Self::optimise(model, shapes, taps, runner));
        optimised.map_err(|e| ModelError::Graph {
            file: file.to_owned(),
            problem: one_line(&e),
        })
    }

    fn optimise(
        mut model: InferenceModel,
        shapes: Shapes<'_>,
        taps: Taps<'_>,
        runner: &Runner,
    ) -> TractResult<Graph> {
        let name_of = |model: &InferenceModel, outlet: OutletId| model.node(outlet.node).name.clone();
        let inputs: Vec<String> = model
            .input_outlets()?
            .iter()
            .map(|o| name_of(&model, *o))
            .collect();
        let mut outputs: Vec<String> = model
            .output_outlets()?
            .iter()
            .map(|o| {
                model
                    .outlet_label(*o)
                    .map_or_else(|| name_of(&model, *o), str::to_owned)
            })
            .collect();
        let mut outlets = model.output_outlets()?.to_vec();
        for node in model
            .nodes()
            .iter()
            .filter(|node| taps(&node.name, &node.op.name()))
        {
            outputs.push(node.name.clone());
            outlets.push(OutletId::new(node.id, 0));
        }
        model.select_output_outlets(&outlets)?;
        let any = model.symbols.sym("T");
        let mut least = vec![];
        for (slot, name) in inputs.iter().enumerate() {
            let Some(dims) = shapes(name) else {
                return Err(TractError::msg(format!("an input named {name}")));
            };
            let known = model.input_fact(slot)?.datum_type.concretize();
            let datum_type = known.ok_or_else(|| TractError::msg(format!("the input {name} has no type")))?;
            least.push(dims.iter().map(|dim| dim.least()).collect());
            let dims: TVec<TDim> = dims
                .into_iter()
                .map(|dim| match dim {
                    Dim::Fixed(n) => n.to_dim(),
                    Dim::Any => any.to_dim(),
                })
                .collect();
            model.set_input_fact(slot, InferenceFact::dt_shape(datum_type, dims))?;
        }
        let model = single_precision(model.into_typed()?)?;
        let input_types = (0..inputs.len())
            .map(|slot| Ok(model.input_fact(slot)?.datum_type))
            .collect::<TractResult<_>>()?;
        let options = RunOptions {
            executor: Some(runner.executor.clone()),
            ..RunOptions::default()
        };
        let plan = runner.runtime.prepare_with_options(model, &options)?;
        Ok(Graph {
            plan,
            inputs,
            outputs,
            input_types,
            least,
        })
    }

    /// The inputs' names, in the order in which [`Graph::run`] takes them.
    pub(crate) fn inputs(&self) -> &[String] {
        &self.inputs
    }

    /// Where the output of a name is in what [`Graph::run`] returns.
    pub(crate) fn output(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|output| output == name)
    }

    /// The outputs' names, in the order in which [`Graph::run`] returns them.
    pub(crate) fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// A running instance.
    pub(crate) fn start(&self) -> TractResult<Running> {
        self.plan.spawn()
    }

    /// Runs once on zeros, as few of them as it takes.
    pub(crate) fn try_out(&self) -> TractResult<()> {
        let zeros = self.least.iter().zip(&self.input_types);
        let zeros = zeros.map(|(shape, &datum_type)| Ok(Tensor::zero_dt(datum_type, shape)?.into_tvalue()));
        self.run(&mut self.start()?, zeros.collect::<TractResult<_>>()?)?;
        Ok(())
    }

    /// Runs once; floats are converted to the precision that the graph wants.
    pub(crate) fn run(&self, running: &mut Running, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let inputs = inputs.into_iter().zip(&self.input_types);
        let inputs = inputs
            .map(|(value, &wanted)| {
                if value.datum_type() == wanted {
                    return Ok(value);
                }
                Ok(value.cast_to_dt(wanted)?.into_owned().into_tvalue())
            })
            .collect::<TractResult<_>>()?;
        running.run(inputs)
    }
}

/// The same graph with all that is in half precision in single precision: on a processor without
/// instructions for f16 its arithmetic takes many times as long.
pub(crate) fn single_precision(mut model: TypedModel) -> TractResult<TypedModel> {
    let half = DatumType::F16;
    let mut outlets = model.nodes().iter().flat_map(|node| &node.outputs);
    if !outlets.any(|outlet| outlet.fact.datum_type == half) {
        return Ok(model);
    }
    // The weights first and for good: the translator would have them converted at every run.
    for node in model.nodes_mut() {
        let weights = node.op_as::<Const>().map(|op| op.val().clone());
        if let Some(weights) = weights.filter(|weights| weights.datum_type() == half) {
            let weights = weights.cast_to::<f32>()?.into_owned().into_arc_tensor();
            node.outputs[0].fact = TypedFact::try_from(weights.clone())?;
            node.op = Box::new(Const::new(weights)?);
        }
    }
    FloatPrecisionTranslator::new(half, f32::datum_type()).transform(&mut model)?;
    Ok(model)
}

/// tract's chain of causes on one line.
pub(crate) fn one_line(error: &TractError) -> String {
    format!("{error:#}").replace('\n', " ")
}

/// What was said by whoever panicked, on one line.
pub(crate) fn last_words(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
    said.unwrap_or("it does not say why").replace('\n', " ")
}

/// The executor for so many threads. For one thread it is none: a pool of one would be the global pool
/// (`Executor::multithread(1)`, tract issue 2894).
pub(crate) fn executor(threads: usize) -> Executor {
    if threads <= 1 {
        Executor::SingleThread
    } else {
        Executor::multithread_with_name(threads, "tract")
    }
}
