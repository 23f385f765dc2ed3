//! What the build generates from `proto/`: the messages, the service and a client. Nothing is written by hand here.
#![allow(missing_docs, unreachable_pub, clippy::all)]

tonic::include_proto!("parlance.v1");

/// The Open Inference Protocol, version 2.
pub mod inference {
    tonic::include_proto!("inference");

    /// The compiled `.proto` file, for reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("inference_descriptor");
}

/// The compiled `.proto` file, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("transcription_descriptor");
