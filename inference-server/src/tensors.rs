//! Any ONNX model as tensors in, tensors out: the Open Inference Protocol, version 2, by gRPC and by HTTP.
//!
//! ```text
//! request -grpc/rest-> Asked -request-> [Tensor] -graph-> [Tensor] -response-> Given -grpc/rest-> response
//! ```
//!
//! `files` finds the graph in a folder, `signature` reads what it takes and gives, `graph` runs it, `model` is all of that together;
//! `datatype` and `elements` are how numbers are called and lie in memory. Queue, deadlines, keys and metrics are the desk's, as for speech.

mod datatype;
pub(crate) mod elements;
mod files;
mod graph;
mod grpc;
mod infer;
mod kind;
mod model;
mod request;
mod rest;
mod signature;

#[cfg(test)]
mod tests;

pub use crate::proto::inference::grpc_inference_service_server::SERVICE_NAME;
pub use datatype::Datatype;
pub use files::OnnxFiles;
pub use model::TensorModel;
pub use request::{Asked, AskedInput, Fitting, Given};
pub use signature::{Signature, TensorSpec};

/// The only version that a model has here: its files are told apart by their digest.
pub(crate) const VERSION: &str = "1";
/// The name of what runs the models, as clients of the protocol know it.
pub(crate) const PLATFORM: &str = "tract_onnx";

/// Whether a gRPC method is one that those who watch a server call: it needs no API key.
pub(crate) fn is_health(path: &str) -> bool {
    let method = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(SERVICE_NAME));
    matches!(method, Some("/ServerLive" | "/ServerReady"))
}
