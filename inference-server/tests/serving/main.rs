//! The real server on loopback with the bundled model, seen through its ports only.
#![allow(clippy::unwrap_used)] // clippy allows it in the tests themselves, not in what they share

mod activating;
mod batch;
mod bounds;
mod certificates;
mod channels;
mod grpc;
mod harness;
mod http;
mod keys;
mod lifecycle;
mod page;
mod process;
mod realtime;
mod reflection;
mod streaming;
mod tensors;
mod tls;
mod traces;
