//! The flags that say which model is run, and how it is computed. Parses, and does nothing else.

use std::path::PathBuf;

use clap::Args;

use crate::model::{Choice, Device, Dtype, Precision};

/// Which model is run, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(super) struct ModelArgs {
    /// Directory of the model [default: the bundled whisper-nano-digits]
    #[arg(long, env = "PARLANCE_MODEL", value_name = "DIR")]
    model: Option<PathBuf>,
    /// Precision of the graphs to load: fp32, fp16, int8, q8 or uint8 [default: the first of them that is there]
    #[arg(long, env = "PARLANCE_DTYPE", value_name = "DTYPE")]
    dtype: Option<Dtype>,
    /// Where the model is computed: auto (the GPU where this build and this machine can, otherwise the CPU), cpu or cuda
    #[arg(long, env = "PARLANCE_DEVICE", default_value_t = Device::Auto, value_name = "DEVICE")]
    device: Device,
    /// Precision of the products with weights: auto (the one that `fetch --prepack auto` measured for the model, f32 where it did not), f32,
    /// bf16, int8-bf16 or int8
    #[arg(long, env = "PARLANCE_PRECISION", default_value_t = Precision::Auto, value_name = "PRECISION")]
    precision: Precision,
    /// Threads of the model; 0 takes as many as the cgroup grants
    #[arg(long, env = "PARLANCE_THREADS", default_value_t = 0, value_name = "N")]
    threads: usize,
}

impl ModelArgs {
    /// The choice.
    pub(super) fn into_choice(self) -> Choice {
        let Self {
            model,
            dtype,
            device,
            precision,
            threads,
        } = self;
        Choice {
            dir: model,
            dtype,
            device,
            precision,
            threads,
        }
    }
}
