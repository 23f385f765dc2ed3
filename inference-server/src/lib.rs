//! Serves an ONNX Whisper through tract.
//!
//! A request runs along one line; each arrow is a function in the file of the same name:
//!
//! ```text
//! request -service/http-> bytes -desk-> (place, permit, thread)
//!         -audio-> Pcm16k -features-> LogMel -encoder-> Encoded -decoder-> Tokens -text-> Transcript
//!         -service/http-> response
//! ```
//!
//! `tensors` serves any other ONNX model instead: tensors in, tensors out. `kind` is what the two kinds of model have in common for `run`,
//! `desk` what their requests have.
//!
//! `pipeline` is the second line; `vad` says where in the audio somebody speaks. `admission` bounds how many run and wait,
//! `call` ends each request with a log line, its metrics and its span (`stages`, `traces`), `status` maps every failure to its
//! codes. `run` starts and stops it all, `ports` and `tls` are the ways in; `cli` reads the command line.
//!
//! `batch` is a client: it has the recordings of a folder or a bucket transcribed by such a server.
//!
//! `activate` is another program in the same binary: it stands before the pods of a service that may have none.

pub mod activate;
pub mod admission;
pub mod audio;
pub mod batch;
pub mod bench;
pub mod bundled;
pub mod calibration;
pub mod call;
mod cause;
pub mod cli;
pub mod decoder;
pub mod desk;
pub mod digest;
pub mod encoder;
pub mod evaluate;
pub mod features;
pub mod fetch;
pub mod http;
pub mod inspect;
pub mod kernels;
pub mod keys;
pub mod kind;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod pipeline;
pub mod ports;
pub mod proto;
pub mod render;
pub mod run;
pub mod s3;
pub mod service;
pub mod session;
pub mod stages;
pub mod status;
pub mod telemetry;
pub mod tensors;
pub mod text;
pub mod tls;
pub mod traces;
pub mod transcribe;
pub mod transcriber;
pub mod vad;
