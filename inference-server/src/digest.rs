//! A model directory in; its digest, size and number of files out.
//! Reads files in pieces; changes nothing.

use std::{io, path::Path};

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// `sha256:<hex>`.
    pub digest: String,
    /// Bytes of all files.
    pub size_bytes: u64,
    /// Number of files.
    pub files: usize,
}

/// The digest of a model directory: sha256 over the lines `<hex>  <relative path>\n`, sorted by the path's bytes.
pub fn directory(dir: &Path) -> io::Result<Digest> {
    let _ = dir;
    Err(io::Error::other("not yet"))
}
