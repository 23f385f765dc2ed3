//! Weights in the order of our kernels, in a hidden file beside the model: a start that finds it reads no graph and puts nothing in
//! order, and the processes of a machine share its memory.
//!
//! The file is in the format of safetensors, with the BLAKE3 hash of everything before it at its end. It is used only where the same
//! sources made it, for the same kind of processor, of files that have the same names, sizes and times of change as those beside it,
//! and where it is whole.

mod prepacking;

use std::{
    io,
    path::{Path, PathBuf},
};

use safetensors::{SafeTensors, tensor::Metadata};
use serde::{Deserialize, Serialize};

pub use prepacking::{PrepackError, Prepacking};

use super::{
    Dtype, Precision,
    kept::{self, About},
};
use crate::{
    digest::{self, Digest},
    kernels::{
        matrix::Matrix,
        tile::{Format, Isa},
    },
    memory::Mapped,
};

/// Under which a file says what it was made of.
const ABOUT: &str = "about";

/// A matrix without its values.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Shape {
    format: Format,
    depth: usize,
    columns: usize,
}

/// Weights in order, mapped into memory.
pub(super) struct Prepacked {
    path: PathBuf,
    about: About,
    metadata: Metadata,
    /// What the metadata's offsets count from.
    values: Mapped,
}

/// Where the file of a model in a directory is, for this machine.
fn path(dir: &Path, dtype: Dtype, precision: Precision) -> PathBuf {
    let precision = precision.on(Isa::best());
    kept::path(dir, &format!("prepacked-{dtype}-{precision}"))
}

impl Prepacked {
    /// The weights of a model in a directory, if there are such that can be used; why they cannot is logged.
    pub(super) fn find(dir: &Path, dtype: Dtype, precision: Precision) -> Option<Prepacked> {
        let path = path(dir, dtype, precision);
        match Self::open(dir, &path) {
            Ok(found) => found,
            Err(why) => {
                cannot_be_used(&path, &why);
                None
            }
        }
    }

    fn open(dir: &Path, path: &Path) -> Result<Option<Prepacked>, String> {
        let file = match Mapped::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let damaged = || "the file is damaged".to_owned();
        let (content, hash) = file.bytes().split_last_chunk().ok_or_else(damaged)?;
        let (header, metadata) = SafeTensors::read_metadata(content).map_err(|_| damaged())?;
        let about = text(&metadata, ABOUT).and_then(|text| serde_json::from_str(text).ok());
        let about: About = about.ok_or_else(damaged)?;
        about.check(dir)?;
        let found = digest::blake3(content).map_err(|error| error.to_string())?;
        if found.as_bytes() != hash {
            return Err(damaged());
        }
        let values = file.part(size_of::<u64>() + header..content.len());
        Ok(Some(Prepacked {
            path: path.to_owned(),
            about,
            metadata,
            values: values.ok_or_else(damaged)?,
        }))
    }

    /// The digest of the model that they were made of.
    pub(super) fn digest(&self) -> &Digest {
        &self.about.digest
    }

    /// Has the log say why they are not used.
    pub(super) fn give_up(&self, why: &str) {
        cannot_be_used(&self.path, why);
    }

    /// A matrix.
    pub(super) fn matrix(&self, name: &str) -> Result<Matrix, String> {
        let isa = Isa::best();
        let shape = text(&self.metadata, name).and_then(|text| serde_json::from_str(text).ok());
        let matrix = shape.and_then(|shape: Shape| {
            let words = self.part(&format!("{name}.words"))?;
            let each = |what: &str| self.part(&format!("{name}.{what}"));
            let scales = each("scales").map(|part| part.numbers());
            let surplus = each("surplus").map(|part| part.numbers());
            let beside = (scales.unwrap_or_default(), surplus.unwrap_or_default());
            let takes = isa.takes(shape.format);
            takes.then(|| Matrix::kept(isa, shape.format, [shape.depth, shape.columns], words, beside))?
        });
        matrix.ok_or_else(|| format!("they have no matrix {name}"))
    }

    /// Numbers, if there are such.
    pub(super) fn numbers(&self, name: &str) -> Option<Vec<f32>> {
        Some(self.part(name)?.numbers())
    }

    fn part(&self, name: &str) -> Option<Mapped> {
        let (begin, end) = self.metadata.info(name)?.data_offsets;
        self.values.part(begin..end)
    }
}

fn cannot_be_used(path: &Path, why: &str) {
    let path = path.display();
    tracing::warn!(%path, why, "the prepacked weights cannot be used; the graphs are read instead");
}

fn text<'m>(metadata: &'m Metadata, name: &str) -> Option<&'m String> {
    metadata.metadata().as_ref()?.get(name)
}

#[cfg(test)]
mod tests;
