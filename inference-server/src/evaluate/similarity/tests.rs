//! A small graph on samples that it meets, and on some that it cannot.

use ndarray::{Array, ArrayD, IxDyn};
use ndarray_npy::{NpzWriter, WritableElement};
use serde_json::Value;

use super::*;
use crate::{evaluate::run, model::Choice, pipeline::Options};

/// As `tests/tensors/make.py` has it: what the layer makes of these rows.
const X: [f32; 8] = [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0];
const LOGITS: [f32; 6] = [3.5, 1.0, 3.5, 0.5, 0.0, -0.5];

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tensors/linear")
}

fn array<T: Clone>(shape: &[usize], values: &[T]) -> ArrayD<T> {
    Array::from_shape_vec(IxDyn(shape), values.to_vec()).unwrap()
}

fn save<T: WritableElement>(path: &Path, name: &str, array: &ArrayD<T>) {
    let mut npz = NpzWriter::new_compressed(fs::File::create(path).unwrap());
    npz.add_array(name, array).unwrap();
    npz.finish().unwrap();
}

fn sample(dir: &Path, name: &str, logits: &[f32]) {
    save(&dir.join(format!("{name}{INPUTS}")), "x", &array(&[2, 4], &X));
    save(
        &dir.join(format!("{name}{OUTPUTS}")),
        "logits",
        &array(&[2, 3], logits),
    );
}

fn outcome(dir: &Path, threshold: Option<f64>) -> (Result<(), EvaluateError>, Value) {
    let request = Request {
        model: Choice {
            dir: Some(model()),
            threads: 1,
            ..Choice::default()
        },
        digest: None,
        options: Options::default(),
        samples: Samples::Folder(dir.to_owned()),
        metric: Metric::Similarity,
        threshold,
        report: None,
        report_only: false,
    };
    let mut out = Vec::new();
    let result = run(&request, &mut out);
    (result, serde_json::from_slice(&out).unwrap_or(Value::Null))
}

#[test]
fn outputs_that_are_as_expected_pass_by_the_usual_threshold() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path(), "a", &LOGITS);
    let (result, report) = outcome(dir.path(), None);
    result.unwrap();
    let expected = serde_json::json!({
        "metric": "similarity", "value": 1.0, "threshold": 0.85, "passed": true, "samples": 1, "failing": []
    });
    assert_eq!(report, expected);
}

#[test]
fn less_is_worse_and_the_worst_sample_is_told_first() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path(), "a", &LOGITS);
    sample(dir.path(), "b", &LOGITS.map(|logit| -logit));
    sample(dir.path(), "c", &[3.5, 1.0, 3.5, 0.5, 0.0, 3.0]);
    let (result, report) = outcome(dir.path(), Some(0.5));
    let error = result.unwrap_err();
    assert_eq!(error.reason(), "NotGoodEnough");
    let said = error.to_string();
    assert!(
        said.contains("below the threshold of 0.5; worst: b, whose output logits"),
        "{said}"
    );
    assert_eq!(
        report["failing"][0],
        serde_json::json!({ "name": "b", "output": "logits", "similarity": -1.0 })
    );
    assert_eq!(report["failing"].as_array().unwrap().len(), 1, "{report}");
    let value = report["value"].as_f64().unwrap();
    assert!((0.2..0.35).contains(&value), "{report}");
    // The value itself is good enough: a threshold is the least that is.
    let (result, _) = outcome(dir.path(), Some(value - 1e-4));
    result.unwrap();
}

#[test]
fn another_shape_and_numbers_that_are_none_are_not_alike() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path(), "a", &LOGITS.map(|_| f32::NAN));
    let (result, report) = outcome(dir.path(), None);
    assert!(result.is_err());
    assert_eq!(report["value"], 0.0);
    save(
        &dir.path().join("a.outputs.npz"),
        "logits",
        &array(&[3, 2], &LOGITS),
    );
    assert_eq!(outcome(dir.path(), None).1["value"], 0.0);
    assert_eq!((cosine(&[0.0], &[0.0]), cosine(&[0.0], &[1.0])), (1.0, 0.0));
}

#[test]
fn numbers_of_other_types_are_taken_and_samples_that_are_none_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let said = || {
        let error = outcome(dir.path(), None).0.unwrap_err();
        format!("{}: {error}", error.reason())
    };
    let empty = said();
    assert!(
        empty.starts_with("SamplesNotFound: ") && empty.contains("numpy.savez"),
        "{empty}"
    );
    sample(dir.path(), "a", &LOGITS);
    save(
        &dir.path().join("a.inputs.npz"),
        "x",
        &array(&[2, 4], &X.map(|x| x as i64)),
    );
    outcome(dir.path(), None).0.unwrap();
    save(&dir.path().join("a.inputs.npz"), "y", &array(&[2, 4], &X));
    let other = said();
    assert!(
        other.contains("InvalidSample: the sample a: the model has no input named \"y\""),
        "{other}"
    );
    fs::write(dir.path().join("a.inputs.npz"), "no zip").unwrap();
    assert!(said().starts_with("InvalidSample: "), "{}", said());
    fs::remove_file(dir.path().join("a.inputs.npz")).unwrap();
    assert!(said().contains("a.inputs.npz"), "{}", said());
}
