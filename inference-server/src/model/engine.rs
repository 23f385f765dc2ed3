//! The graphs of a model, and where they are to be computed, in; what computes them out. The GPU is tried out before it is taken.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use tract_onnx::tract_core::runtime::{DefaultRuntime, Runtime};

use super::{
    Config, Device, Exported, Graphs, ModelError, Precision, Turns, Whisper,
    device::{self, Gpu, Place},
    graph::last_words,
    parts::{self, Parts},
    prepacked::Prepacked,
    proto::{self, Part},
};
use crate::kernels::operators::Machine;

/// What runs the graphs.
pub(crate) enum Engine {
    /// Our own kernels, with the weights of the files.
    Own(Turns),
    /// tract, as the files have it.
    Exported(Exported),
}

/// How a model is to be computed.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) device: Device,
    pub(super) precision: Precision,
    /// What `auto` stands for, or the same.
    pub(super) chosen: Precision,
    pub(super) threads: usize,
}

/// What computes a model, and how.
pub(super) struct Loaded {
    pub(super) engine: Engine,
    pub(super) name: &'static str,
    pub(super) precision: Precision,
    /// Whether the weights were in order already.
    pub(super) prepacked: bool,
}

/// Loads what was asked for; with `auto`, what can be.
pub(super) fn load(
    graphs: &Graphs,
    config: &Config,
    wanted: Wanted,
    prepacked: Option<&Prepacked>,
    look: impl FnOnce() -> Gpu,
) -> Result<Loaded, ModelError> {
    let place = device::decide(wanted.device, graphs.dtype, look).map_err(ModelError::Device)?;
    let why = match place {
        Place::Cpu(why) => why,
        Place::Gpu(runtime) => match on_gpu(graphs, config, runtime, wanted.threads) {
            Ok(exported) => return Ok(wanted.loaded(Engine::Exported(exported), "cuda", Precision::F32)),
            Err(why) if wanted.device == Device::Cuda => return Err(ModelError::Device(why)),
            Err(why) => Some(why),
        },
    };
    if let Some(why) = why {
        tracing::warn!(why, "the model is computed on the CPU");
    }
    on_cpu(graphs, config, wanted, prepacked)
}

impl Wanted {
    /// What was loaded, with a warning where its precision is another than was asked for.
    fn loaded(self, engine: Engine, name: &'static str, precision: Precision) -> Loaded {
        let asked = self.precision;
        if asked != Precision::Auto && asked != precision {
            tracing::warn!(%asked, %precision, "this machine or this export cannot be computed in the precision asked for");
        }
        Loaded {
            engine,
            name,
            precision,
            prepacked: false,
        }
    }
}

/// The graphs on a GPU, after a first run of each: what its libraries make ready then is ready, and what they cannot do is known.
fn on_gpu(
    graphs: &Graphs,
    config: &Config,
    runtime: &'static dyn Runtime,
    threads: usize,
) -> Result<Exported, String> {
    tracing::info!(
        "the GPU is made ready, which takes a minute or more where its kernels are not in the cache"
    );
    let load = || {
        let exported = Exported::load(graphs, config, runtime, threads)?;
        exported.try_out()?;
        Ok::<_, ModelError>(exported)
    };
    // The libraries' bindings panic where tract expects them to work.
    match catch_unwind(AssertUnwindSafe(load)) {
        Ok(Ok(exported)) => Ok(exported),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => Err(format!("the GPU cannot be used: {}", last_words(panic.as_ref()))),
    }
}

/// On our own kernels, or else by tract.
fn on_cpu(
    graphs: &Graphs,
    config: &Config,
    wanted: Wanted,
    prepacked: Option<&Prepacked>,
) -> Result<Loaded, ModelError> {
    let machine = Machine::new(wanted.threads);
    let precision = wanted.chosen.on(machine.isa);
    let formats = precision.formats(machine.isa);
    let loaded = |whisper| wanted.loaded(Engine::Own(Turns::new(whisper)), "own", precision);
    if let Some(prepacked) = prepacked {
        match Whisper::build(&Parts::Prepacked(prepacked), config, machine.clone(), formats) {
            Ok(whisper) => {
                return Ok(Loaded {
                    prepacked: true,
                    ..loaded(whisper)
                });
            }
            Err(why) => prepacked.give_up(&why),
        }
    }
    match own(graphs, config, &machine, precision)? {
        Ok(whisper) => Ok(loaded(whisper)),
        Err(why) => {
            tracing::info!(why, "the model's graphs are run as they were exported");
            let exported = Exported::load(graphs, config, &DefaultRuntime, wanted.threads)?;
            Ok(wanted.loaded(Engine::Exported(exported), "exported", Precision::F32))
        }
    }
}

/// A Whisper on our own kernels, of the graphs' files, or why they do not run it.
pub(super) fn own(
    graphs: &Graphs,
    config: &Config,
    machine: &Machine,
    precision: Precision,
) -> Result<Result<Whisper, String>, ModelError> {
    let formats = precision.formats(machine.isa);
    read(graphs, |parts| {
        Whisper::build(&parts, config, machine.clone(), formats)
    })
}

/// The parts of a Whisper in order, or why our own kernels do not run it.
pub(super) fn parts(
    graphs: &Graphs,
    config: &Config,
    precision: Precision,
) -> Result<Result<Vec<(String, parts::Part)>, String>, ModelError> {
    let machine = Machine::new(1);
    let formats = precision.formats(machine.isa);
    read(graphs, |parts| {
        let parts = parts.noted();
        Whisper::build(&parts, config, machine, formats)?;
        Ok(parts.made())
    })
}

/// Does something with the weights of the graphs' files, if they are such as our own kernels want.
fn read<T>(
    graphs: &Graphs,
    with: impl FnOnce(Parts<'_>) -> Result<T, String>,
) -> Result<Result<T, String>, ModelError> {
    let onnx = tract_onnx::onnx();
    let read = |path: &Path, part| {
        let read = proto::read_without_values(&onnx, path, part);
        read.map_err(|problem| ModelError::graph(path, problem))
    };
    let [(first, part), _] = graphs.decoders.parts();
    let (encoder, decoder) = (read(&graphs.encoder, Part::Whole)?, read(first, part)?);
    Ok(Parts::of([&encoder, &decoder], [&graphs.encoder, first]).and_then(with))
}

#[cfg(test)]
mod tests {
    use tract_onnx::{
        prelude::{RunOptions, TractResult, TypedModel},
        tract_core::{internal::StaticName, runtime::Runnable},
    };

    use super::*;
    use crate::{bundled, model::Files};

    /// A GPU that is the processor, or one whose driver falls over.
    #[derive(Debug)]
    struct StandIn(bool);

    impl Runtime for StandIn {
        fn name(&self) -> StaticName {
            "stand-in".into()
        }

        fn check(&self) -> TractResult<()> {
            Ok(())
        }

        fn prepare_with_options(
            &self,
            model: TypedModel,
            options: &RunOptions,
        ) -> TractResult<Box<dyn Runnable>> {
            assert!(self.0, "no room\non the device");
            DefaultRuntime.prepare_with_options(model, options)
        }
    }

    fn loaded(device: Device, precision: Precision, gpu: Gpu) -> Result<Loaded, ModelError> {
        let files = Files::find(&bundled::find(bundled::DEFAULT).unwrap(), None).unwrap();
        let config = Config::read(&files).unwrap();
        let wanted = Wanted {
            device,
            precision,
            chosen: precision,
            threads: 1,
        };
        load(&files.graphs, &config, wanted, None, || gpu)
    }

    #[test]
    fn a_gpu_is_taken_once_every_graph_has_run_on_it() {
        for device in [Device::Auto, Device::Cuda] {
            let gpu = loaded(device, Precision::Int8, Gpu::Usable(&StandIn(true))).unwrap();
            assert_eq!((gpu.name, gpu.precision), ("cuda", Precision::F32));
            assert!(matches!(gpu.engine, Engine::Exported(_)));
        }
    }

    #[test]
    fn a_gpu_that_fails_is_no_server_that_falls_over() {
        let broken = || Gpu::Usable(&StandIn(false));
        assert_eq!(
            loaded(Device::Auto, Precision::Auto, broken()).unwrap().name,
            "own"
        );
        let refused = loaded(Device::Cuda, Precision::Auto, broken()).err().unwrap();
        assert_eq!(
            refused.to_string(),
            "it cannot be computed on the GPU (--device cuda): the GPU cannot be used: no room on the device"
        );
    }

    #[test]
    fn the_processor_is_taken_where_nobody_asks_for_more() {
        let cpu = loaded(Device::Cpu, Precision::Auto, Gpu::Usable(&StandIn(true))).unwrap();
        assert_eq!(cpu.name, "own");
    }
}
