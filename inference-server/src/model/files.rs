//! A model directory in; the paths of its files out. Opens nothing.

use std::path::{Path, PathBuf};

use super::ModelError;

const EXPORT: &str =
    "export the model with optimum (optimum-cli export onnx --task automatic-speech-recognition-with-past)";
const COPY: &str = "copy it from the model's repository";

/// Name endings of the same graphs in other precisions, in the order of preference.
const VARIANTS: [&str; 4] = ["", "_fp16", "_int8", "_quantized"];

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
    /// `encoder_model.onnx` or a variant of it
    pub encoder: PathBuf,
    /// `decoder_model.onnx` or the same variant of it
    pub decoder: PathBuf,
    /// `decoder_with_past_model.onnx` or the same variant of it
    pub decoder_with_past: PathBuf,
}

impl Files {
    /// Finds every file of the layout; the three graphs are all at the top or all in `onnx/`, and of one variant.
    pub fn find(dir: &Path) -> Result<Files, ModelError> {
        if !dir.is_dir() {
            return Err(ModelError::NotADirectory(dir.display().to_string()));
        }
        let text = |name: &str| existing(dir, name, COPY);
        let (graphs, ending) = graphs(dir);
        let graph = |stem: &str| existing(&graphs, &format!("{stem}{ending}.onnx"), EXPORT);
        Ok(Files {
            config: text("config.json")?,
            generation: text("generation_config.json")?,
            preprocessor: text("preprocessor_config.json")?,
            tokenizer: text("tokenizer.json")?,
            encoder: graph("encoder_model")?,
            decoder: graph("decoder_model")?,
            decoder_with_past: graph("decoder_with_past_model")?,
        })
    }
}

/// The folder and the variant in which there is an encoder; the plain one at the top where there is none.
fn graphs(dir: &Path) -> (PathBuf, &'static str) {
    VARIANTS
        .iter()
        .flat_map(|ending| [(dir.to_owned(), *ending), (dir.join("onnx"), *ending)])
        .find(|(folder, ending)| folder.join(format!("encoder_model{ending}.onnx")).is_file())
        .unwrap_or((dir.to_owned(), ""))
}

fn existing(dir: &Path, name: &str, remedy: &'static str) -> Result<PathBuf, ModelError> {
    let path = dir.join(name);
    if path.is_file() {
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
        for name in names {
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

    #[test]
    fn graphs_may_be_in_a_folder_and_in_another_precision() {
        let mut names = TEXTS.to_vec();
        names.extend([
            "onnx/encoder_model_fp16.onnx",
            "onnx/decoder_model_fp16.onnx",
            "onnx/decoder_with_past_model_fp16.onnx",
        ]);
        let dir = layout(&names);
        let files = Files::find(dir.path()).unwrap();
        assert_eq!(
            files.decoder_with_past,
            dir.path().join("onnx/decoder_with_past_model_fp16.onnx")
        );
    }

    #[test]
    fn the_error_names_the_file_and_the_remedy() {
        let mut names = TEXTS.to_vec();
        names.extend(["encoder_model.onnx", "decoder_model.onnx"]);
        let dir = layout(&names);
        let said = Files::find(dir.path()).unwrap_err().to_string();
        assert!(
            said.starts_with("decoder_with_past_model.onnx is missing from "),
            "{said}"
        );
        assert!(said.contains("optimum"), "{said}");
        let said = Files::find(&dir.path().join("nowhere")).unwrap_err().to_string();
        assert!(said.ends_with("nowhere is not a directory"), "{said}");
    }
}
