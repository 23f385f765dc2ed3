//! Serves an ONNX Whisper through tract.

pub mod audio;
pub mod bundled;
pub mod digest;
pub mod fetch;
pub mod inspect;
pub mod model;
pub mod pipeline;
pub mod render;
pub mod transcribe;
