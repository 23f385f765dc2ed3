//! `parlance-server fetch` against servers that speak what real sources speak, and fail as they do.
#![allow(clippy::unwrap_used)] // clippy allows it in the tests themselves, not in what they share

mod bucket;
mod faults;
mod files;
mod http;
mod hub;
mod process;
