//! The `.proto` files in; Rust types, client, server and the descriptor set for reflection out. Runs no `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const PROTOS: [&str; 2] = [
    "proto/parlance/v1/transcription.proto",
    "proto/inference/inference.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("parlance_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".parlance.v1")
        .bytes(".inference")
        .compile_fds(descriptors)?;
    Ok(())
}
