//! Which model, and how it is to be computed, in; the model out. What every command that runs a model by itself is told.

use std::path::PathBuf;

use super::{Device, Dtype, Measured, Model, ModelError, Precision};
use crate::{
    bundled::{self, NotBundled},
    memory,
};

/// Which model is run, and how.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Its directory; `None`: the bundled model.
    pub dir: Option<PathBuf>,
    /// Precision of its graphs; `None`: the first that is there.
    pub dtype: Option<Dtype>,
    /// Where it is computed.
    pub device: Device,
    /// In which the products with weights are computed.
    pub precision: Precision,
    /// Threads; 0 for as many as the cgroup grants.
    pub threads: usize,
}

/// Why there is no model to run, in one sentence.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its sentence
pub enum ChoiceError {
    #[error(transparent)]
    NotBundled(#[from] NotBundled),
    #[error("the model in {}: {source}", dir.display())]
    Load { dir: PathBuf, source: ModelError },
}

impl Choice {
    /// Loads the Whisper that was chosen.
    pub fn load(&self) -> Result<Model, ChoiceError> {
        self.load_in(self.precision)
    }

    /// The same in the precision in which a pod serves it: `auto` is measured now, unless it was before.
    pub fn load_as_served(&self) -> Result<Model, ChoiceError> {
        if self.precision != Precision::Auto || self.device == Device::Cuda {
            return self.load();
        }
        match Measured::find_or_measure(&self.directory()?, self.dtype) {
            Ok(measured) => self.load_in(measured.precision),
            Err(why) => {
                tracing::info!(%why, "the precisions are not measured");
                self.load()
            }
        }
    }

    fn directory(&self) -> Result<PathBuf, NotBundled> {
        match &self.dir {
            Some(dir) => Ok(dir.clone()),
            None => bundled::find(bundled::DEFAULT),
        }
    }

    fn load_in(&self, precision: Precision) -> Result<Model, ChoiceError> {
        let dir = self.directory()?;
        let loaded = Model::load_with(&dir, self.dtype, self.device, precision, self.threads);
        memory::give_back();
        loaded.map_err(|source| ChoiceError::Load { dir, source })
    }
}
