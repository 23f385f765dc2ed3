//! What tract lacks for Whisper, or does too slowly: products with matrices that were put in order once, attention that reads keys
//! and values where they lie, and the operators that bring both into a tract graph.
//!
//! The only folder with `unsafe`: each use says what makes it sound. Everything is tested against plain loops, on every
//! instruction set that the machine has. Knows no Whisper; `model/whisper` makes graphs of it.
#![allow(unsafe_code)]

pub mod attention;
pub mod cache;
mod finish;
pub mod functions;
pub mod key_values;
pub mod layers;
pub mod matrix;
pub mod operators;
pub mod peaks;
pub mod pool;
mod powers;
mod scratch;
mod share;
pub mod tile;
pub mod turn;

#[cfg(test)]
mod tests;
