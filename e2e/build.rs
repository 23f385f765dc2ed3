//! Makes the gRPC clients of the tests from the server's own `.proto` files.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "../inference-server/proto";
    println!("cargo:rerun-if-changed={proto}");
    let files = protox::compile(
        ["parlance/v1/transcription.proto", "inference/inference.proto"],
        [proto],
    )?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(files)?;
    Ok(())
}
