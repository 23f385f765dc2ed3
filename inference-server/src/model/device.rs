//! Where a model is computed: what was asked for, and what this build and this machine have, in; the processor or the GPU out.
//! [`decide`] is pure; [`look`] alone looks at the machine.

use std::{fmt, str::FromStr};

use tract_onnx::tract_core::runtime::Runtime;

use super::{Dtype, ModelError};

/// Where a model's graphs are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// On the GPU where this build and this machine can, otherwise on the processor.
    #[default]
    Auto,
    /// On the processor.
    Cpu,
    /// On the first GPU by NVIDIA, or not at all.
    Cuda,
}

impl Device {
    /// All of them.
    pub const ALL: [Device; 3] = [Device::Auto, Device::Cpu, Device::Cuda];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Device::Auto => "auto",
            Device::Cpu => "cpu",
            Device::Cuda => "cuda",
        }
    }

    /// Refuses what a model of tensors cannot be told: it is computed on the processor.
    pub(crate) fn for_tensors(self) -> Result<(), ModelError> {
        match self {
            Device::Auto | Device::Cpu => Ok(()),
            Device::Cuda => Err(ModelError::Device(
                "models of tensors are computed on the CPU: use --device auto or cpu".to_owned(),
            )),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Device::ALL.into_iter().find(|device| device.name() == name);
        found.ok_or_else(|| format!("it is one of {}", Device::ALL.map(Device::name).join(", ")))
    }
}

/// What this build and this machine have.
#[allow(dead_code)] // a build with CUDA has no use for the first, and one without for the others
pub(super) enum Gpu {
    /// A build without the feature `cuda`; whether the machine has a GPU all the same.
    NotBuilt {
        /// It has.
        there: bool,
    },
    /// What is missing, in words.
    Missing(String),
    /// What computes on it.
    Usable(&'static dyn Runtime),
}

/// Where a model is to be computed.
pub(super) enum Place {
    /// On the processor; and why, where somebody might expect the GPU.
    Cpu(Option<String>),
    /// On the GPU, by this.
    Gpu(&'static dyn Runtime),
}

/// Where a model whose graphs are in `dtype` is to be computed, or why it cannot be where it was asked to be.
/// Who asks for the processor has nothing looked at.
pub(super) fn decide(asked: Device, dtype: Dtype, look: impl FnOnce() -> Gpu) -> Result<Place, String> {
    if asked == Device::Cpu {
        return Ok(Place::Cpu(None));
    }
    let eight_bits = !matches!(dtype, Dtype::Fp32 | Dtype::Fp16);
    let (why, remedy) = match look() {
        Gpu::Usable(runtime) if !eight_bits => return Ok(Place::Gpu(runtime)),
        Gpu::Usable(_) => (
            format!("graphs in {dtype} are computed on the CPU alone"),
            "take those in fp32 or fp16",
        ),
        Gpu::NotBuilt { there: false } if asked == Device::Auto => return Ok(Place::Cpu(None)),
        Gpu::NotBuilt { .. } => (
            "this build has no CUDA".to_owned(),
            "take the CUDA image, or build with the feature cuda",
        ),
        Gpu::Missing(what) => (
            what,
            "run where there is an NVIDIA driver from R525 on, with the libraries that the CUDA image has",
        ),
    };
    match asked {
        Device::Cuda => Err(format!("{why}; {remedy}, or use --device auto or cpu")),
        Device::Auto | Device::Cpu => Ok(Place::Cpu(Some(format!(
            "{why}; to use the GPU, {remedy}; --device cpu ends this warning"
        )))),
    }
}

/// Looks at the machine.
#[cfg(feature = "cuda")]
pub(super) fn look() -> Gpu {
    match super::cuda::check() {
        Ok(()) => Gpu::Usable(&super::cuda::Cuda),
        Err(what) => Gpu::Missing(what),
    }
}

/// Looks at the machine: what NVIDIA's driver makes, and its container toolkit mounts.
#[cfg(not(feature = "cuda"))]
pub(super) fn look() -> Gpu {
    let there = ["/dev/nvidiactl", "/dev/nvidia0"]
        .iter()
        .any(|node| std::path::Path::new(node).exists());
    Gpu::NotBuilt { there }
}

#[cfg(test)]
mod tests {
    use tract_onnx::tract_core::runtime::DefaultRuntime;

    use super::*;

    /// `gpu`, `cpu`, or why the processor, or why not at all.
    fn decided(asked: Device, dtype: Dtype, gpu: Gpu) -> Result<String, String> {
        decide(asked, dtype, || gpu).map(|place| match place {
            Place::Gpu(_) => "gpu".to_owned(),
            Place::Cpu(None) => "cpu".to_owned(),
            Place::Cpu(Some(why)) => why,
        })
    }

    #[test]
    fn a_gpu_that_can_be_used_is_used_unless_the_processor_is_asked_for() {
        let usable = || Gpu::Usable(&DefaultRuntime);
        assert_eq!(decided(Device::Auto, Dtype::Fp32, usable()), Ok("gpu".into()));
        assert_eq!(decided(Device::Cuda, Dtype::Fp16, usable()), Ok("gpu".into()));
        let asked = decide(Device::Cpu, Dtype::Fp32, || panic!("it was looked at"));
        assert!(matches!(asked, Ok(Place::Cpu(None))));
    }

    #[test]
    fn graphs_in_eight_bits_stay_on_the_processor() {
        let usable = || Gpu::Usable(&DefaultRuntime);
        let sentence = "graphs in int8 are computed on the CPU alone; ";
        let auto = decided(Device::Auto, Dtype::Int8, usable()).unwrap();
        assert!(auto.starts_with(sentence), "{auto}");
        assert_eq!(
            decided(Device::Cuda, Dtype::Int8, usable()),
            Err(format!(
                "{sentence}take those in fp32 or fp16, or use --device auto or cpu"
            ))
        );
    }

    #[test]
    fn a_build_without_cuda_is_silent_until_there_is_a_gpu_or_one_is_asked_for() {
        let build = |there| Gpu::NotBuilt { there };
        assert_eq!(decided(Device::Auto, Dtype::Fp32, build(false)), Ok("cpu".into()));
        let why = decided(Device::Auto, Dtype::Fp32, build(true)).unwrap();
        assert!(
            why.starts_with("this build has no CUDA; to use the GPU, take the CUDA image"),
            "{why}"
        );
        let refused = "this build has no CUDA; take the CUDA image, or build with the feature cuda, or use --device auto or cpu";
        for there in [false, true] {
            assert_eq!(
                decided(Device::Cuda, Dtype::Fp32, build(there)),
                Err(refused.to_owned())
            );
        }
    }

    #[test]
    fn what_is_missing_is_told() {
        let missing = || Gpu::Missing("libcudnn is not there".to_owned());
        let told = "libcudnn is not there; ";
        assert!(
            decided(Device::Auto, Dtype::Fp32, missing())
                .unwrap()
                .starts_with(told)
        );
        assert!(
            decided(Device::Cuda, Dtype::Fp32, missing())
                .unwrap_err()
                .starts_with(told)
        );
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for device in Device::ALL {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!(
            "gpu".parse::<Device>(),
            Err("it is one of auto, cpu, cuda".to_owned())
        );
        assert!(Device::Auto.for_tensors().is_ok());
        let refused = Device::Cuda.for_tensors().unwrap_err().to_string();
        assert_eq!(
            refused,
            "it cannot be computed on the GPU (--device cuda): models of tensors are computed on the CPU: use --device auto or cpu"
        );
    }
}
