//! The program told where to compute: what it says where that cannot be, and that nothing of CUDA is in it unless it was built so.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    process::{Command, Output},
};

use inference_server::bundled;

const PROGRAM: &str = env!("CARGO_BIN_EXE_parlance-server");

fn transcribed(arguments: &[&str]) -> Output {
    let sample = bundled::find(bundled::DEFAULT)
        .unwrap()
        .join("samples/three-digits-16k.wav");
    let mut command = Command::new(PROGRAM);
    command.arg("transcribe").arg(sample).args(arguments);
    command.env_remove("PARLANCE_DEVICE").output().unwrap()
}

#[test]
fn without_a_gpu_the_words_come_from_the_processor() {
    for device in ["auto", "cpu"] {
        let output = transcribed(&["--device", device]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "Seven three one.\n");
    }
}

#[test]
fn a_gpu_that_is_not_there_is_refused_in_one_sentence() {
    let output = transcribed(&["--device", "cuda"]);
    if cfg!(feature = "cuda") && output.status.success() {
        // There is one.
        return;
    }
    let why = if cfg!(feature = "cuda") {
        "what CUDA needs is missing: "
    } else {
        "this build has no CUDA; take the CUDA image, or build with the feature cuda, or use --device auto or cpu\n"
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty());
    let place = "it cannot be computed on the GPU (--device cuda): ";
    assert!(said.contains(&format!("{place}{why}")), "{said}");
    assert!(
        said.ends_with("or use --device auto or cpu\n") && !said.contains("panicked"),
        "{said}"
    );
}

#[test]
fn a_model_of_tensors_is_not_computed_on_a_gpu() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tensors/linear");
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--format", "onnx", "--model", model, "--device", "cuda"]);
    let output = command
        .args(["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("models of tensors are computed on the CPU: use --device auto or cpu"),
        "{said}"
    );
}

#[test]
fn nothing_of_cuda_is_in_a_program_that_was_not_built_so() {
    let library = b"libcuda.so.1";
    let program = fs::read(PROGRAM).unwrap();
    let there = program.windows(library.len()).any(|bytes| bytes == library);
    assert_eq!(there, cfg!(feature = "cuda"));
}
