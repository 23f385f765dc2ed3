//! The real server on loopback with the bundled model, seen through its ports only.

mod bounds;
mod grpc;
mod harness;
mod http;
mod lifecycle;
mod process;
mod streaming;
