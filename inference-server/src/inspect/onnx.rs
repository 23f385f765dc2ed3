//! A folder with one ONNX graph in; what it takes and gives out. Optimises nothing.

use std::{fmt::Write as _, path::Path};

use serde::Serialize;

use super::File;
use crate::{
    digest::{self, Digest},
    model::{Dtype, ModelError},
    tensors::{TensorModel, TensorSpec},
};

/// The JSON of `inspect`; the text says the same.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Description {
    name: String,
    digest: String,
    size_bytes: u64,
    format: &'static str,
    graph: String,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    files: Vec<File>,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    datatype: &'static str,
    /// -1 where a dimension may be of any size.
    shape: Vec<i64>,
    #[serde(skip)]
    text: String,
}

impl From<&TensorSpec> for Tensor {
    fn from(spec: &TensorSpec) -> Self {
        Tensor {
            name: spec.name.clone(),
            datatype: spec.datatype.name(),
            shape: spec.shape_of_protocol(),
            text: spec.to_string(),
        }
    }
}

/// Describes it, or says why it is no such model.
pub(super) fn describe(dir: &Path, dtype: Option<Dtype>) -> Result<Description, ModelError> {
    let (found, signature) = TensorModel::describe(dir, dtype)?;
    let read = |error| ModelError::read(dir, error);
    let Digest {
        digest, size_bytes, ..
    } = digest::directory(dir).map_err(read)?;
    let folder = dir.canonicalize().ok();
    let name = folder.as_deref().unwrap_or(dir).file_name();
    Ok(Description {
        name: name.map_or("model".to_owned(), |name| name.to_string_lossy().into_owned()),
        digest,
        size_bytes,
        format: "onnx",
        graph: found.graph,
        inputs: signature.inputs.iter().map(Tensor::from).collect(),
        outputs: signature.outputs.iter().map(Tensor::from).collect(),
        files: super::files(dir).map_err(read)?,
    })
}

/// The description for people.
pub(super) fn text(description: &Description) -> String {
    let Description {
        name,
        digest,
        size_bytes,
        format,
        graph,
        inputs,
        outputs,
        files,
    } = description;
    let mut out = String::new();
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(out, "{label:<12} {value}");
    };
    line("name", name);
    line("digest", digest);
    line("size", &format!("{size_bytes} bytes in {} files", files.len()));
    line("format", format);
    line("graph", graph);
    inputs.iter().for_each(|input| line("input", &input.text));
    outputs.iter().for_each(|output| line("output", &output.text));
    for file in files {
        let _ = writeln!(out, "{:>12} {}", file.size_bytes, file.path);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{InspectFormat, run};
    use std::path::Path;

    #[test]
    fn inputs_and_outputs_are_told_with_their_datatypes_and_shapes() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tensors/linear");
        let said = |format| {
            let mut out = Vec::new();
            run(&dir, None, format, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = said(InspectFormat::Text);
        for line in [
            "format       onnx",
            "input        x FP32 [batch, 4]",
            "output       logits FP32 [batch, 3]",
        ] {
            assert!(
                text.lines().any(|said| said == line),
                "{line} is missing in\n{text}"
            );
        }
        let json: serde_json::Value = serde_json::from_str(&said(InspectFormat::Json)).unwrap();
        assert_eq!(
            json["inputs"][0],
            serde_json::json!({ "name": "x", "datatype": "FP32", "shape": [-1, 4] })
        );
    }
}
