//! A model directory, or the list of one, in; the paths of its files out. Opens nothing.

use std::path::{Path, PathBuf};

use super::{Dtype, ModelError};

const EXPORT: &str =
    "export the model with optimum (optimum-cli export onnx --task automatic-speech-recognition-with-past)";
const COPY: &str = "copy it from the model's repository";

/// Where the files of a model are (the layout of optimum and of `onnx-community/whisper-*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `config.json`
    pub config: PathBuf,
    /// `generation_config.json`
    pub generation: PathBuf,
    /// `preprocessor_config.json`
    pub preprocessor: PathBuf,
    /// `tokenizer.json`
    pub tokenizer: PathBuf,
    /// The three graphs.
    pub graphs: Graphs,
}

/// The graphs of one precision, all at the top or all in `onnx/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graphs {
    /// Their precision, as their names have it.
    pub dtype: Dtype,
    /// `encoder_model.onnx`
    pub encoder: PathBuf,
    /// The two decoders.
    pub decoders: Decoders,
}

/// The decoder that begins and the one that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoders {
    /// `decoder_model.onnx` and `decoder_with_past_model.onnx`
    Two {
        /// The one that begins.
        first: PathBuf,
        /// The one that goes on.
        with_past: PathBuf,
    },
    /// `decoder_model_merged.onnx`
    Merged(PathBuf),
}

impl Decoders {
    /// Their files.
    pub fn paths(self) -> Vec<PathBuf> {
        match self {
            Decoders::Two { first, with_past } => vec![first, with_past],
            Decoders::Merged(path) => vec![path],
        }
    }
}

impl Files {
    /// Finds every file of the layout. Of several precisions it takes the one asked for, or else the first of [`Dtype::ALL`]
    /// whose graphs are all there; of a pair of decoders and a merged one, the pair.
    pub fn find(dir: &Path, dtype: Option<Dtype>) -> Result<Files, ModelError> {
        if !dir.is_dir() {
            return Err(ModelError::NotADirectory(dir.display().to_string()));
        }
        Files::choose(dir, dtype, &|path| path.is_file())
    }

    /// The same of a directory that is elsewhere: `present` says which of its files there are. `dir` only names it.
    pub fn choose(
        dir: &Path,
        dtype: Option<Dtype>,
        present: &dyn Fn(&Path) -> bool,
    ) -> Result<Files, ModelError> {
        let text = |name: &str| existing(dir, name, COPY, present);
        Ok(Files {
            config: text("config.json")?,
            generation: text("generation_config.json")?,
            preprocessor: text("preprocessor_config.json")?,
            tokenizer: text("tokenizer.json")?,
            graphs: graphs(dir, dtype, present)?,
        })
    }
}

/// The graphs that are taken; where there are none, the error of the precision and folder that has at least an encoder.
fn graphs(dir: &Path, wanted: Option<Dtype>, present: &dyn Fn(&Path) -> bool) -> Result<Graphs, ModelError> {
    let folders = [dir.to_owned(), dir.join("onnx")];
    let dtypes = wanted.map_or_else(|| Dtype::ALL.to_vec(), |dtype| vec![dtype]);
    let places = dtypes
        .iter()
        .flat_map(|&dtype| folders.iter().map(move |folder| (folder, dtype)));
    let (mut incomplete, mut absent) = (None, None);
    for (folder, dtype) in places {
        match in_place(folder, dtype, present) {
            Ok(graphs) => return Ok(graphs),
            Err(error) if present(&encoder(folder, dtype)) => incomplete = incomplete.or(Some(error)),
            Err(error) => absent = absent.or(Some(error)),
        }
    }
    if let (Some(dtype), None) = (wanted, &incomplete) {
        let there = Dtype::ALL
            .iter()
            .filter(|&&other| folders.iter().any(|f| in_place(f, other, present).is_ok()));
        let there: Vec<&str> = there.map(|other| other.name()).collect();
        if !there.is_empty() {
            return Err(ModelError::NotThatDtype {
                dtype,
                directory: dir.display().to_string(),
                there: there.join(", "),
            });
        }
    }
    let none = || ModelError::NotADirectory(dir.display().to_string());
    Err(incomplete.or(absent).unwrap_or_else(none))
}

fn encoder(folder: &Path, dtype: Dtype) -> PathBuf {
    folder.join(format!("encoder_model{}.onnx", dtype.ending()))
}

/// The graphs of one precision in one folder.
fn in_place(folder: &Path, dtype: Dtype, present: &dyn Fn(&Path) -> bool) -> Result<Graphs, ModelError> {
    let graph = |stem: &str| existing(folder, &format!("{stem}{}.onnx", dtype.ending()), EXPORT, present);
    let pair = || {
        Ok(Decoders::Two {
            first: graph("decoder_model")?,
            with_past: graph("decoder_with_past_model")?,
        })
    };
    let merged = || graph("decoder_model_merged").map(Decoders::Merged);
    Ok(Graphs {
        dtype,
        encoder: graph("encoder_model")?,
        decoders: pair().or_else(|missing| merged().map_err(|_| missing))?,
    })
}

fn existing(
    dir: &Path,
    name: &str,
    remedy: &'static str,
    present: &dyn Fn(&Path) -> bool,
) -> Result<PathBuf, ModelError> {
    let path = dir.join(name);
    if present(&path) {
        return Ok(path);
    }
    Err(ModelError::Missing {
        file: name.to_owned(),
        directory: dir.display().to_string(),
        remedy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in TEXTS.iter().chain(names) {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        dir
    }

    const TEXTS: [&str; 4] = [
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
    ];

    fn graphs_of(dir: &tempfile::TempDir, dtype: Option<Dtype>) -> Graphs {
        Files::find(dir.path(), dtype).unwrap().graphs
    }

    #[test]
    fn graphs_may_be_in_a_folder_and_in_another_precision() {
        let dir = layout(&[
            "onnx/encoder_model_fp16.onnx",
            "onnx/decoder_model_fp16.onnx",
            "onnx/decoder_with_past_model_fp16.onnx",
        ]);
        let expected = Graphs {
            dtype: Dtype::Fp16,
            encoder: dir.path().join("onnx/encoder_model_fp16.onnx"),
            decoders: Decoders::Two {
                first: dir.path().join("onnx/decoder_model_fp16.onnx"),
                with_past: dir.path().join("onnx/decoder_with_past_model_fp16.onnx"),
            },
        };
        assert_eq!(graphs_of(&dir, None), expected);
        assert_eq!(graphs_of(&dir, Some(Dtype::Fp16)), expected);
    }

    #[test]
    fn the_first_precision_that_is_whole_is_taken_and_a_pair_before_a_merged_one() {
        let dir = layout(&[
            "onnx/encoder_model.onnx", // its decoders were not downloaded
            "onnx/encoder_model_quantized.onnx",
            "onnx/decoder_model_merged_quantized.onnx",
            "onnx/encoder_model_int8.onnx",
            "onnx/decoder_model_merged_int8.onnx",
            "onnx/decoder_model_int8.onnx",
            "onnx/decoder_with_past_model_int8.onnx",
        ]);
        let graphs = graphs_of(&dir, None);
        assert_eq!(graphs.dtype, Dtype::Int8);
        assert!(matches!(graphs.decoders, Decoders::Two { .. }), "{graphs:?}");
        let graphs = graphs_of(&dir, Some(Dtype::Q8));
        let merged = dir.path().join("onnx/decoder_model_merged_quantized.onnx");
        assert_eq!(
            (graphs.dtype, graphs.decoders),
            (Dtype::Q8, Decoders::Merged(merged))
        );
        let whole = layout(&[
            "encoder_model.onnx",
            "decoder_model_merged.onnx",
            "onnx/encoder_model_fp16.onnx",
        ]);
        assert_eq!(graphs_of(&whole, None).dtype, Dtype::Fp32);
    }

    #[test]
    fn the_error_names_the_file_and_the_remedy() {
        let dir = layout(&["encoder_model.onnx", "decoder_model.onnx"]);
        let said = |dir: &Path, dtype| Files::find(dir, dtype).unwrap_err().to_string();
        let missing = said(dir.path(), None);
        assert!(
            missing.starts_with("decoder_with_past_model.onnx is missing from "),
            "{missing}"
        );
        assert!(missing.contains("optimum"), "{missing}");
        let nowhere = said(&dir.path().join("nowhere"), None);
        assert!(nowhere.ends_with("nowhere is not a directory"), "{nowhere}");
        let empty = said(layout(&[]).path(), None);
        assert!(
            empty.starts_with("encoder_model.onnx is missing from "),
            "{empty}"
        );
    }

    #[test]
    fn a_precision_that_is_not_there_is_refused_with_those_that_are() {
        let dir = layout(&[
            "encoder_model.onnx",
            "decoder_model_merged.onnx",
            "onnx/encoder_model_uint8.onnx",
            "onnx/decoder_model_merged_uint8.onnx",
        ]);
        let said = Files::find(dir.path(), Some(Dtype::Fp16))
            .unwrap_err()
            .to_string();
        let place = dir.path().display();
        assert_eq!(
            said,
            format!("{place} holds no graphs in fp16, but in fp32, uint8")
        );
        assert_eq!("q8".parse(), Ok(Dtype::Q8));
        assert!("q4".parse::<Dtype>().unwrap_err().contains("fp32, fp16"));
    }
}
