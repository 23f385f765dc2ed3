//! A bundled model or a directory in; a verified copy on the volume and a report out. The pod's init step.
//! Loads no graph; never leaves a half-written model behind.

use std::path::PathBuf;

/// Where the model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A bundled model, by name.
    Bundled(String),
    /// A directory.
    Directory(PathBuf),
}

/// What `parlance-server fetch` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where the model comes from.
    pub source: Source,
    /// Where it goes; `None`: verify it in place.
    pub to: Option<PathBuf>,
    /// The digest that it must have, `sha256:<hex>`.
    pub digest: Option<String>,
    /// Where the outcome is written as JSON.
    pub report: Option<PathBuf>,
}

/// What a fetched model is; also the report's JSON.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetched {
    /// `sha256:<hex>`.
    pub digest: String,
    /// Bytes of all files.
    pub size_bytes: u64,
    /// Number of files.
    pub files: usize,
}

/// Why a model was not fetched; [`FetchError::reason`] is the word for status.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source is not there.
    #[error("{0}")]
    SourceNotFound(String),
    /// The bytes are not the ones asked for.
    #[error("the model's digest is {actual}, {expected} was asked for")]
    DigestMismatch {
        /// What was asked for.
        expected: String,
        /// What there is.
        actual: String,
    },
    /// The files are no model.
    #[error("{0}")]
    InvalidModel(String),
    /// The volume is full.
    #[error("{0}")]
    NoSpace(String),
    /// Anything else the file system says.
    #[error("{0}")]
    Io(String),
}

impl FetchError {
    /// The CamelCase word of the report.
    pub fn reason(&self) -> &'static str {
        match self {
            FetchError::SourceNotFound(_) => "SourceNotFound",
            FetchError::DigestMismatch { .. } => "DigestMismatch",
            FetchError::InvalidModel(_) => "InvalidModel",
            FetchError::NoSpace(_) => "NoSpace",
            FetchError::Io(_) => "Io",
        }
    }
}

/// Copies the model to where it is asked for (once; under a lock file; atomically) or verifies it in place, and writes the report.
pub fn run(request: &Request) -> Result<Fetched, FetchError> {
    let _ = request;
    Err(FetchError::Io("not yet".to_owned()))
}
