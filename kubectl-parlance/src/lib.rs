//! `kubectl parlance`: what people do with TranscriptionServices and ModelDeployments at a shell.
//!
//! ```text
//! transcribe  file -form-> upload -forward-> pod -events-> transcript -written-> stdout
//! status      objects -facts-> tables
//! top         pods -scrape-> Sample, Sample -rates-> table
//! why         objects -facts-> Facts -paragraph-> text
//! ```
//!
//! It only reads the cluster, and speaks to pods through the apiserver's port-forward. Names and the judgement of what is wrong are
//! the operator's own (`operator::names`, `operator::health`), so that both say the same.

pub mod age;
pub mod cli;
pub mod cluster;
pub mod completion;
pub mod error;
pub mod facts;
pub mod find;
pub mod forward;
pub mod object;
pub mod pods;
pub mod run;
pub mod status;
pub mod table;
pub mod tls;
pub mod top;
pub mod transcribe;
pub mod why;
