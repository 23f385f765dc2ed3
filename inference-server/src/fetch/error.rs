//! Why a model was not fetched, as a sentence for a person and a word for status. Holds no secret: addresses lose their
//! user and query before they come here.

use std::{io, path::Path};

/// Why a model was not fetched; [`FetchError::reason`] is the word for status.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source is not there.
    #[error("{0}")]
    SourceNotFound(String),
    /// The source is there, and not for us.
    #[error("{0}")]
    AccessDenied(String),
    /// The source does not answer, or not as it should.
    #[error("{0}")]
    SourceUnreachable(String),
    /// A file is not the one that the source promises.
    #[error("{file} has {found}, {expected} was promised")]
    ChecksumMismatch {
        /// The file, in the model.
        file: String,
        /// What was promised, such as `sha256 00..`.
        expected: String,
        /// What came.
        found: String,
    },
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
    /// It was told to end.
    #[error("the download was stopped; the next one goes on where it ended")]
    Stopped,
    /// Anything else the file system says.
    #[error("{0}")]
    Io(String),
}

impl FetchError {
    /// The CamelCase word of the report.
    pub fn reason(&self) -> &'static str {
        match self {
            FetchError::SourceNotFound(_) => "SourceNotFound",
            FetchError::AccessDenied(_) => "AccessDenied",
            FetchError::SourceUnreachable(_) => "SourceUnreachable",
            FetchError::ChecksumMismatch { .. } => "ChecksumMismatch",
            FetchError::DigestMismatch { .. } => "DigestMismatch",
            FetchError::InvalidModel(_) => "InvalidModel",
            FetchError::NoSpace(_) => "NoSpace",
            FetchError::Stopped => "Stopped",
            FetchError::Io(_) => "Io",
        }
    }

    /// What the file system says of a path.
    pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> FetchError {
        let said = format!("failed to {what} {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FetchError::NoSpace(said),
            _ => FetchError::Io(said),
        }
    }
}
