//! Hidden files beside a model that are made of it: what each was made of, and how it is written whole or not at all.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::whisper::beside;
use crate::{
    digest::{self, Digest, Seen},
    kernels::tile::{Format, Isa},
};

/// What such files follow from: one that other sources made is not used.
const SOURCES: [&str; 15] = [
    include_str!("measured.rs"),
    include_str!("prepacked.rs"),
    include_str!("prepacked/prepacking.rs"),
    include_str!("parts.rs"),
    include_str!("precision.rs"),
    include_str!("whisper.rs"),
    include_str!("weights.rs"),
    include_str!("../kernels/attention.rs"),
    include_str!("../kernels/cache.rs"),
    include_str!("../kernels/finish.rs"),
    include_str!("../kernels/functions.rs"),
    include_str!("../kernels/key_values.rs"),
    include_str!("../kernels/layers.rs"),
    include_str!("../kernels/matrix.rs"),
    include_str!("../kernels/tile.rs"),
];

/// What names begin with of files that are being written.
const PARTIAL: &str = ".prepacking-";

/// Where such a file is of a model in a directory, for this kind of machine.
pub(super) fn path(dir: &Path, what: &str) -> PathBuf {
    let isa = Isa::best();
    let name = format!(".{what}-{isa:?}-{:?}", beside(isa, Format::Int8));
    dir.join(name.to_lowercase())
}

/// What a file was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// The hash of [`SOURCES`].
    sources: String,
    /// The model's files, as they were.
    files: Vec<Seen>,
    /// Their digest.
    pub(super) digest: Digest,
}

impl About {
    /// What a file is made of that this program makes now of the model in a directory, whose digest this is.
    pub(super) fn now(dir: &Path, digest: &Digest) -> io::Result<About> {
        Ok(About {
            sources: sources(),
            files: digest::seen(dir)?,
            digest: digest.clone(),
        })
    }

    /// Fails with the reason where a file is no longer what this program would make of the model in a directory.
    pub(super) fn check(&self, dir: &Path) -> Result<(), String> {
        if self.sources != sources() {
            return Err("another version of this program wrote it".to_owned());
        }
        if self.files != digest::seen(dir).map_err(|error| error.to_string())? {
            return Err("the model's files have changed since it was written".to_owned());
        }
        Ok(())
    }
}

/// The hash of what such files follow from.
pub(super) fn sources() -> String {
    let mut hash = blake3::Hasher::new();
    for source in SOURCES {
        hash.update(source.as_bytes());
    }
    hash.finalize().to_string()
}

/// Writes a file as `fill` does, whole or not at all, for all to read.
pub(super) fn put(path: &Path, fill: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    clear(dir)?; // of a run that was killed
    let file = tempfile::Builder::new()
        .prefix(PARTIAL)
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(dir)?;
    fill(file.as_file())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Removes what is half-written.
fn clear(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
