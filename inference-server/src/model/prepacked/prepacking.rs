//! A model in; the file of its weights in order out, written whole or not at all.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytemuck::cast_slice;
use safetensors::tensor::{Dtype as Kind, Metadata, TensorInfo};

use super::{ABOUT, Prepacked, Shape, path};
use crate::{
    digest::Digest,
    memory::HUGE,
    model::{
        Config, Files, ModelError, Precision, engine,
        kept::{self, About},
        parts::Part,
    },
};

/// Words of weights begin at a multiple of so many bytes, as lines of the caches do.
const LINE: usize = 64;

/// The weights of a model in order, to be written beside it.
pub struct Prepacking {
    path: PathBuf,
    /// The model, as it was before it was read.
    about: About,
    parts: Vec<(String, Part)>,
}

/// Why there is nothing to be written, in one sentence.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its sentence
pub enum PrepackError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("its graphs run as they were exported: {0}")]
    Exported(String),
    #[error("its precisions cannot be measured: {0}")]
    Probe(String),
    #[error("failed to write beside {}: {source}", dir.display())]
    Write { dir: PathBuf, source: io::Error },
}

/// A tensor of the file.
struct Tensor<'a> {
    name: String,
    kind: Kind,
    bytes: &'a [u8],
}

impl Prepacking {
    /// Reads a model and puts its weights in order, for this machine; `None` where a file of this digest is there already.
    pub fn of(dir: &Path, precision: Precision, digest: &Digest) -> Result<Option<Prepacking>, PrepackError> {
        let files = Files::find(dir, None)?;
        let config = Config::read(&files)?;
        let there = Prepacked::find(dir, files.graphs.dtype, precision);
        if there.is_some_and(|there| there.digest() == digest) {
            return Ok(None);
        }
        let about = About::now(dir, digest).map_err(|error| ModelError::read(dir, error))?;
        let parts = engine::parts(&files.graphs, &config, precision)?;
        Ok(Some(Prepacking {
            path: path(dir, files.graphs.dtype, precision),
            about,
            parts: parts.map_err(PrepackError::Exported)?,
        }))
    }

    /// Bytes of the values.
    pub fn bytes(&self) -> u64 {
        self.tensors()
            .iter()
            .map(|tensor| tensor.bytes.len() as u64)
            .sum()
    }

    /// Writes the file.
    pub fn write(&self) -> Result<(), PrepackError> {
        kept::put(&self.path, |file| self.write_to(file)).map_err(|source| PrepackError::Write {
            dir: self.path.parent().unwrap_or(Path::new(".")).to_owned(),
            source,
        })
    }

    fn write_to(&self, mut out: &File) -> io::Result<()> {
        let tensors = self.tensors();
        let mut texts = HashMap::from([(ABOUT.to_owned(), serde_json::to_string(&self.about)?)]);
        for (name, part) in &self.parts {
            if let Part::Matrix(matrix) = part {
                let shape = Shape {
                    format: matrix.panels().format,
                    depth: matrix.depth(),
                    columns: matrix.columns(),
                };
                texts.insert(name.clone(), serde_json::to_string(&shape)?);
            }
        }
        let mut end = 0;
        let infos = tensors.iter().map(|tensor| {
            let begin = end;
            end += tensor.bytes.len();
            let info = TensorInfo {
                dtype: tensor.kind,
                shape: vec![tensor.bytes.len() / size_of::<u32>()],
                data_offsets: (begin, end),
            };
            (tensor.name.clone(), info)
        });
        let metadata = Metadata::new(Some(texts), infos.collect()).map_err(io::Error::other)?;
        let mut header = serde_json::to_vec(&metadata)?;
        let length = (size_of::<u64>() + header.len()).next_multiple_of(LINE) - size_of::<u64>();
        header.resize(length, b' ');
        let (mut hash, mut page) = (blake3::Hasher::new(), Vec::with_capacity(HUGE));
        let before = [&(length as u64).to_le_bytes()[..], &header];
        for mut bytes in before
            .into_iter()
            .chain(tensors.iter().map(|tensor| tensor.bytes))
        {
            while !bytes.is_empty() {
                let taken = bytes.split_off(..bytes.len().min(HUGE - page.len()));
                page.extend_from_slice(taken.unwrap_or_default());
                if page.len() == HUGE {
                    hash.update(&page);
                    out.write_all(&page)?;
                    page.clear();
                }
            }
        }
        hash.update(&page);
        page.extend_from_slice(hash.finalize().as_bytes());
        out.write_all(&page)
    }

    /// What is written, the words of weights first: they take whole lines.
    fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = Vec::new();
        for (name, part) in &self.parts {
            let mut add = |name: String, kind, bytes| {
                tensors.push(Tensor { name, kind, bytes });
            };
            match part {
                Part::Numbers(numbers) => add(name.clone(), Kind::F32, cast_slice(numbers)),
                Part::Matrix(matrix) => {
                    let panels = matrix.panels();
                    add(format!("{name}.words"), Kind::U32, cast_slice(panels.words));
                    if !panels.scales.is_empty() {
                        add(format!("{name}.scales"), Kind::F32, cast_slice(panels.scales));
                        add(format!("{name}.surplus"), Kind::I32, cast_slice(panels.surplus));
                    }
                }
            }
        }
        tensors.sort_by_key(|tensor| tensor.kind != Kind::U32);
        tensors
    }
}
