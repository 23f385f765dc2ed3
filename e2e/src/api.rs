//! The messages and the client of `parlance.v1`, made from the server's `.proto`.

#![allow(missing_docs, clippy::all)]

tonic::include_proto!("parlance.v1");

/// Those of the Open Inference Protocol.
pub mod inference {
    tonic::include_proto!("inference");
}
