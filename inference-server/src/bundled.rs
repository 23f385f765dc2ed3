//! The name of a bundled model in; its directory out.

use std::path::PathBuf;

/// The model that is used when none is named.
pub const DEFAULT: &str = "whisper-nano-digits";

/// There is no such bundled model.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no bundled model \"{name}\" in {}", looked_in.join(", "))]
pub struct NotBundled {
    /// What was asked for.
    pub name: String,
    /// The directories looked in.
    pub looked_in: Vec<String>,
}

/// Finds a bundled model: in `$PARLANCE_BUNDLED_DIR`, `<exe>/../models`, `/models`, and last the source tree's `models`.
pub fn find(name: &str) -> Result<PathBuf, NotBundled> {
    Err(NotBundled {
        name: name.to_owned(),
        looked_in: Vec::new(),
    })
}
