//! Why a directory is not a model that can be served, said so that a person knows which file to mend.

use std::{io, path::Path};

use super::{Dtype, config::file_name};

/// What is wrong with a model directory; every variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// There is no such directory.
    #[error("{0} is not a directory")]
    NotADirectory(String),
    /// A file of the layout is not there.
    #[error("{file} is missing from {directory}: {remedy}")]
    Missing {
        /// The file's name.
        file: String,
        /// Where it was looked for.
        directory: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The graphs are there, in other precisions than the one asked for.
    #[error("{directory} holds no graphs in {dtype}, but in {there}")]
    NotThatDtype {
        /// The precision asked for.
        dtype: Dtype,
        /// Where it was looked for.
        directory: String,
        /// The precisions that are there.
        there: String,
    },
    /// A file cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file or directory.
        path: String,
        /// What the file system says.
        source: io::Error,
    },
    /// A configuration file does not say what it must.
    #[error("{file}: {problem}")]
    Invalid {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The device that was asked for cannot compute it.
    #[error("it cannot be computed on the GPU (--device cuda): {0}")]
    Device(String),
    /// The engine does not take a graph.
    #[error("failed to load {file}: {problem}")]
    Graph {
        /// The file's name.
        file: String,
        /// What the engine says.
        problem: String,
    },
}

impl ModelError {
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        ModelError::Read {
            path: path.display().to_string(),
            source,
        }
    }

    pub(crate) fn graph(path: &Path, problem: String) -> Self {
        ModelError::Graph {
            file: file_name(path),
            problem,
        }
    }

    pub(crate) fn invalid(file: &str, problem: impl Into<String>) -> Self {
        ModelError::Invalid {
            file: file.to_owned(),
            problem: problem.into(),
        }
    }
}
