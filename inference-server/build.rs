//! The `.proto` files in; Rust types, client, server and each file's descriptor set for reflection out. Runs no `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

/// Each file, and what its descriptor set is called: a server reflects only what it serves.
const PROTOS: [(&str, &str); 2] = [
    (
        "proto/parlance/v1/transcription.proto",
        "transcription_descriptor.bin",
    ),
    ("proto/inference/inference.proto", "inference_descriptor.bin"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for (proto, set) in PROTOS {
        let descriptors = protox::compile([proto], ["proto"])?;
        fs::write(out.join(set), descriptors.encode_to_vec())?;
    }
    let descriptors = protox::compile(PROTOS.map(|(proto, _)| proto), ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".parlance.v1")
        .bytes(".inference")
        .compile_fds(descriptors)?;
    Ok(())
}
