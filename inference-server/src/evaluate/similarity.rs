//! An ONNX model and samples of tensors in; how alike its outputs are to those that are expected out.
//!
//! A sample is `NAME.inputs.npz` and `NAME.outputs.npz`, as `numpy.savez` writes them: one array for each input of the model, and one
//! for each output that is compared. Its similarity is the mean over those outputs of the cosine of the angle between what is expected
//! and what the model gave, each as one long row of numbers; the model's is the mean over samples. Other shapes, and numbers that are
//! none, are not alike at all: 0.

mod npz;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{EvaluateError, Metric, Report, Request, Samples, report::Likeness};
use crate::{
    pipeline::Cancel,
    tensors::{Asked, AskedInput, Given, TensorModel, elements},
};
use npz::Array;

/// The least value that is good enough where nothing is said.
pub(super) const THRESHOLD: f64 = 0.85;

const INPUTS: &str = ".inputs.npz";
const OUTPUTS: &str = ".outputs.npz";

/// Tries the model on every sample.
pub(super) fn evaluate(request: &Request) -> Result<Report, EvaluateError> {
    let samples = samples(&request.samples)?;
    let model = load(request)?;
    let mut found = Vec::new();
    for (at, (name, folder)) in samples.iter().enumerate() {
        let likeness = try_one(&model, name, folder)?;
        let (similarity, of) = (likeness.similarity, samples.len());
        tracing::info!(sample = name, similarity, "{} of {of}", at + 1);
        found.push(likeness);
    }
    let threshold = request.threshold.unwrap_or(THRESHOLD);
    Ok(Report::of_likeness(Metric::Similarity, threshold, found))
}

fn load(request: &Request) -> Result<TensorModel, EvaluateError> {
    let missing = || {
        EvaluateError::InvalidModel("no ONNX model is bundled: name the folder of one by --model".to_owned())
    };
    let chosen = &request.model;
    let dir = chosen.dir.as_ref().ok_or_else(missing)?;
    let able = chosen.device.for_tensors();
    let model = able.and_then(|()| TensorModel::load(dir, chosen.dtype, chosen.threads));
    let model =
        model.map_err(|e| EvaluateError::InvalidModel(format!("the model in {}: {e}", dir.display())))?;
    request.verify(&model.digest().digest)?;
    Ok(model)
}

/// The names of the samples, in their order, and where they are.
fn samples(samples: &Samples) -> Result<Vec<(String, PathBuf)>, EvaluateError> {
    let Samples::Folder(folder) = samples else {
        let message = "no samples of tensors are bundled: name a folder of them";
        return Err(EvaluateError::SamplesNotFound(message.to_owned()));
    };
    let failed = |error: &dyn std::fmt::Display| {
        EvaluateError::SamplesNotFound(format!("failed to read {}: {error}", folder.display()))
    };
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(|e| failed(&e))? {
        let name = entry.map_err(|e| failed(&e))?.file_name();
        let name = name.to_string_lossy();
        let sample = [INPUTS, OUTPUTS]
            .iter()
            .find_map(|ending| name.strip_suffix(ending));
        // A ConfigMap's volume has hidden folders of its own.
        names.extend(
            sample
                .filter(|sample| !sample.starts_with('.'))
                .map(str::to_owned),
        );
    }
    if names.is_empty() {
        let message = format!(
            "{} holds no samples: put tensors there as numpy.savez writes them (a{INPUTS} and a{OUTPUTS})",
            folder.display()
        );
        return Err(EvaluateError::SamplesNotFound(message));
    }
    Ok(names.into_iter().map(|name| (name, folder.clone())).collect())
}

fn try_one(model: &TensorModel, name: &str, folder: &Path) -> Result<Likeness, EvaluateError> {
    let read = |ending: &str| {
        let path = folder.join(format!("{name}{ending}"));
        npz::read(&path).map_err(|why| EvaluateError::InvalidSample(format!("{}: {why}", path.display())))
    };
    let (inputs, expected) = (read(INPUTS)?, read(OUTPUTS)?);
    if expected.is_empty() {
        let message = format!("{name}{OUTPUTS} holds no array: nothing can be compared");
        return Err(EvaluateError::InvalidSample(message));
    }
    let wrong = |why: String| EvaluateError::InvalidSample(format!("the sample {name}: {why}"));
    let asked = asked(model, inputs, &expected).map_err(wrong)?;
    let fitting = model.fit(asked).map_err(|failure| wrong(failure.to_string()))?;
    let given = model.run(fitting, &Cancel::new());
    let given =
        given.map_err(|failure| EvaluateError::InvalidModel(format!("the sample {name}: {failure}")))?;
    let each: Vec<(String, f64)> = expected
        .iter()
        .zip(&given)
        .map(|(expected, given)| (given.name.clone(), alike(expected, given)))
        .collect();
    let similarity = each.iter().map(|(_, value)| value).sum::<f64>() / each.len() as f64;
    let worst = each.into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
    Ok(Likeness {
        name: name.to_owned(),
        similarity,
        output: worst.map(|(output, _)| output).unwrap_or_default(),
    })
}

/// The sample as a request, each array in the datatype that the model takes.
fn asked(model: &TensorModel, inputs: Vec<Array>, expected: &[Array]) -> Result<Asked, String> {
    let specs = &model.signature().inputs;
    let input = |array: Array| {
        // A name that the model does not have is said with those that it has.
        let spec = specs.iter().find(|spec| spec.name == array.name);
        let datatype = spec.map_or(crate::tensors::Datatype::Fp32, |spec| spec.datatype);
        let bytes = match spec {
            Some(_) => array.elements.bytes(datatype),
            None => Ok(Vec::new()),
        };
        let shape = array
            .shape
            .iter()
            .map(|size| i64::try_from(*size).unwrap_or(i64::MAX));
        Ok::<_, String>(AskedInput {
            datatype,
            shape: shape.collect(),
            bytes: bytes
                .map_err(|why| format!("the input {}: {why}", array.name))?
                .into(),
            name: array.name,
        })
    };
    Ok(Asked {
        inputs: inputs.into_iter().map(input).collect::<Result<_, _>>()?,
        outputs: expected.iter().map(|array| array.name.clone()).collect(),
    })
}

fn alike(expected: &Array, given: &Given) -> f64 {
    if expected.shape != given.shape {
        return 0.0;
    }
    cosine(
        &expected.elements.floats(),
        &elements::floats(given.datatype, &given.bytes),
    )
}

/// The cosine of the angle between two rows of numbers; two rows of zeros are alike, one and another are not.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (norm_a, norm_b) = (dot(a, a).sqrt(), dot(b, b).sqrt());
    if norm_a == 0.0 && norm_b == 0.0 {
        return 1.0;
    }
    let cosine = dot(a, b) / (norm_a * norm_b);
    if cosine.is_finite() {
        cosine.clamp(-1.0, 1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
