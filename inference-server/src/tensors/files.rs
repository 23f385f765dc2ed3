//! A folder, or the list of what one holds, in; the graph to serve out. Opens nothing.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{
    digest,
    model::{Dtype, ModelError},
};

/// Where the graphs lie: at the top, or in the folder that the hub's exports have.
const FOLDERS: [&str; 2] = ["", "onnx/"];

/// The files of a model that is one ONNX graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxFiles {
    /// The graph, relative to the folder.
    pub graph: String,
}

impl OnnxFiles {
    /// Finds the graph in a folder; see [`OnnxFiles::choose`].
    pub fn find(dir: &Path, dtype: Option<Dtype>) -> Result<OnnxFiles, ModelError> {
        if !dir.is_dir() {
            return Err(ModelError::NotADirectory(dir.display().to_string()));
        }
        let files = digest::files(dir).map_err(|error| ModelError::read(dir, error))?;
        let paths = files
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        OnnxFiles::choose(&dir.display().to_string(), &paths, dtype)
    }

    /// The graph among the paths of `place`: `model.onnx`, or with the ending of a precision, at the top or in `onnx/`; the first of
    /// [`Dtype::ALL`] where none is asked for. Or the only `.onnx` file there is.
    pub fn choose(
        place: &str,
        paths: &BTreeSet<String>,
        dtype: Option<Dtype>,
    ) -> Result<OnnxFiles, ModelError> {
        let of = |dtype: Dtype| {
            let names = FOLDERS.map(|folder| format!("{folder}model{}.onnx", dtype.ending()));
            names.into_iter().find(|name| paths.contains(name))
        };
        let there: Vec<Dtype> = Dtype::ALL
            .into_iter()
            .filter(|dtype| of(*dtype).is_some())
            .collect();
        match dtype {
            Some(dtype) if !there.is_empty() => {
                let names: Vec<&str> = there.iter().map(|dtype| dtype.name()).collect();
                let graph = of(dtype).ok_or_else(|| ModelError::NotThatDtype {
                    dtype,
                    directory: place.to_owned(),
                    there: names.join(", "),
                })?;
                return Ok(OnnxFiles { graph });
            }
            _ => {}
        }
        if let Some(graph) = there.first().copied().and_then(of) {
            return Ok(OnnxFiles { graph });
        }
        let graphs: Vec<&String> = paths.iter().filter(|path| path.ends_with(".onnx")).collect();
        match graphs.as_slice() {
            [graph] => Ok(OnnxFiles {
                graph: (*graph).clone(),
            }),
            [] => Err(ModelError::Missing {
                file: "model.onnx".to_owned(),
                directory: place.to_owned(),
                remedy: "export the model to ONNX (optimum-cli export onnx, torch.onnx.export)",
            }),
            several => {
                let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                let names = names.join(", ");
                let remedy = if names.contains("encoder_model") && names.contains("decoder_model") {
                    "a Whisper is served by the format whisper, and any other model needs one graph"
                } else {
                    "call the one that is to be served model.onnx"
                };
                Err(ModelError::invalid(
                    place,
                    format!("it holds several graphs ({names}) and no model.onnx: {remedy}"),
                ))
            }
        }
    }

    /// The graph, in this folder.
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(&self.graph)
    }

    /// Of all paths there are, those that the model needs: its graph, the weights beside it, and what its configuration says.
    pub fn needed(&self, paths: &BTreeSet<String>) -> BTreeSet<String> {
        let wanted = |path: &&String| {
            let weights = path
                .strip_prefix(&self.graph)
                .or_else(|| path.strip_prefix(self.graph.trim_end_matches(".onnx")));
            *path == "config.json"
                || weights.is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with("_data") || rest.starts_with(".data")
                })
        };
        paths.iter().filter(wanted).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn chosen(names: &[&str], dtype: Option<Dtype>) -> Result<String, String> {
        let chosen = OnnxFiles::choose("here", &paths(names), dtype);
        chosen.map(|files| files.graph).map_err(|error| error.to_string())
    }

    #[test]
    fn the_graph_is_model_onnx_in_the_precision_asked_for_or_the_only_one() {
        let hub = [
            "config.json",
            "onnx/model.onnx",
            "onnx/model_fp16.onnx",
            "onnx/other.onnx",
        ];
        assert_eq!(chosen(&hub, None).unwrap(), "onnx/model.onnx");
        assert_eq!(chosen(&hub, Some(Dtype::Fp16)).unwrap(), "onnx/model_fp16.onnx");
        assert_eq!(
            chosen(&hub, Some(Dtype::Int8)).unwrap_err(),
            "here holds no graphs in int8, but in fp32, fp16"
        );
        assert_eq!(
            chosen(&["model_quantized.onnx"], None).unwrap(),
            "model_quantized.onnx"
        );
        assert_eq!(chosen(&["resnet.onnx", "a.txt"], None).unwrap(), "resnet.onnx");
        assert_eq!(
            chosen(&["resnet.onnx"], Some(Dtype::Fp16)).unwrap(),
            "resnet.onnx"
        );
    }

    #[test]
    fn what_cannot_be_chosen_is_refused_with_what_to_do() {
        let none = chosen(&["model.safetensors"], None).unwrap_err();
        assert!(none.starts_with("model.onnx is missing from here"), "{none}");
        let two = chosen(&["a.onnx", "b.onnx"], None).unwrap_err();
        assert!(
            two.contains("a.onnx, b.onnx") && two.contains("model.onnx"),
            "{two}"
        );
        let whisper = chosen(&["encoder_model.onnx", "decoder_model.onnx"], None).unwrap_err();
        assert!(whisper.contains("by the format whisper"), "{whisper}");
    }

    #[test]
    fn the_weights_and_the_configuration_come_with_the_graph() {
        let held = paths(&[
            "README.md",
            "config.json",
            "onnx/model.onnx",
            "onnx/model.onnx_data",
            "onnx/model.onnx_data_1",
            "onnx/model_fp16.onnx",
            "onnx/model_fp16.onnx_data",
            "tokenizer.json",
        ]);
        let files = OnnxFiles::choose("here", &held, None).unwrap();
        let expected = [
            "config.json",
            "onnx/model.onnx",
            "onnx/model.onnx_data",
            "onnx/model.onnx_data_1",
        ];
        assert_eq!(files.needed(&held), paths(&expected));
    }
}
