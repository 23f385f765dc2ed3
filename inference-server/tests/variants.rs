//! The toy model of `tests/toy` in every form that exports have; the same numbers as ONNX Runtime's out, or a refusal that
//! names the file and the operator. `tests/fidelity/make_toy.py` made the model and the numbers.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use inference_server::{
    decoder::Decoder,
    digest, encoder,
    features::LogMel,
    fetch,
    inspect::{self, InspectFormat},
    kind::ModelFormat,
    model::{Dtype, Model},
};
use serde::Deserialize;

/// What ONNX Runtime makes of [`window`] in one form.
#[derive(Deserialize)]
struct Expected {
    encoder: Vec<f32>,
    logits: Vec<Vec<f32>>,
    tokens: Vec<u32>,
}

/// The endings of a precision's graphs and of its decoders.
const PAIR: [&str; 3] = ["encoder_model", "decoder_model", "decoder_with_past_model"];
const MERGED: [&str; 2] = ["encoder_model", "decoder_model_merged"];

fn toy() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/toy"))
}

fn graph(name: &str) -> Vec<u8> {
    let bytes = fs::read(toy().join(format!("{name}.zlib"))).unwrap();
    miniz_oxide::inflate::decompress_to_vec_zlib(&bytes).unwrap()
}

/// A model directory with the graphs named, from `onnx/` or from `external/onnx/`.
fn model(folder: &str, graphs: &[String]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
    ] {
        fs::copy(toy().join(name), dir.path().join(name)).unwrap();
    }
    fs::create_dir(dir.path().join("onnx")).unwrap();
    for name in graphs {
        fs::write(
            dir.path().join("onnx").join(name),
            graph(&format!("{folder}/{name}")),
        )
        .unwrap();
    }
    dir
}

fn names(stems: &[&str], ending: &str) -> Vec<String> {
    stems.iter().map(|stem| format!("{stem}{ending}.onnx")).collect()
}

/// `window` of `make_toy.py`.
fn window() -> LogMel {
    let value = |bin: usize, frame: usize| {
        let (bin, frame) = (bin as f64, frame as f64);
        ((bin * 0.37 + frame * 0.11).sin() * (frame * 0.05).cos()) as f32
    };
    let values = (0..80).flat_map(|bin| (0..100).map(move |frame| value(bin, frame)));
    LogMel {
        bins: 80,
        frames: 100,
        values: values.collect(),
    }
}

fn greatest_difference(ours: &[f32], theirs: &[f32]) -> f32 {
    let differences = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |most, d| if d <= most { most } else { d })
}

/// Loads the model, reads the tokens that ONNX Runtime chose, and compares all numbers on the way.
fn same(form: &str, dir: &Path, dtype: Option<Dtype>, tolerance: f32) {
    let all: BTreeMap<String, Expected> =
        serde_json::from_slice(&fs::read(toy().join("expected.json")).unwrap()).unwrap();
    let expected = &all[form];
    let model = Model::load_dtype(dir, dtype, 1).unwrap_or_else(|error| panic!("{form}: {error}"));
    let encoded = encoder::encode(&model, &window()).unwrap();
    let values = encoded.values().unwrap();
    let encoder = greatest_difference(&values[..32], &expected.encoder);
    let mut decoder = Decoder::new(&model, &encoded).unwrap();
    let mut sequence = decoder.first(model.config().tokens.start).unwrap();
    let mut logits = 0.0f32;
    for (row, &token) in expected.logits.iter().zip(&expected.tokens) {
        assert_eq!(sequence.scores().len(), row.len());
        logits = logits.max(greatest_difference(sequence.scores(), row));
        decoder.step(&mut sequence, token).unwrap();
    }
    eprintln!("{form}: encoder within {encoder:.1e}, logits within {logits:.1e}");
    assert!(
        encoder <= tolerance && logits <= tolerance,
        "{form}: encoder {encoder}, logits {logits}"
    );
}

#[test]
fn a_merged_decoder_and_weights_beside_the_graph_are_as_good_as_the_plain_ones() {
    let plain = model("onnx", &names(&PAIR, ""));
    same("fp32", plain.path(), None, 2e-4);
    let merged = model("onnx", &names(&MERGED, ""));
    same("merged", merged.path(), None, 2e-4);
    let external = external();
    same("external", external.path(), None, 2e-4);
}

#[test]
fn half_precision_is_read() {
    let dir = model("onnx", &names(&PAIR, "_fp16"));
    same("fp16", dir.path(), None, 2e-2);
}

#[test]
fn eight_bits_are_read_convolutions_included() {
    let dir = model("onnx", &names(&PAIR, "_int8"));
    same("int8", dir.path(), None, 5e-2);
    let dir = model("onnx", &names(&PAIR, "_uint8"));
    same("uint8", dir.path(), None, 5e-2);
    let dir = model("onnx", &names(&MERGED, "_int8"));
    same("merged_int8", dir.path(), None, 5e-2);
}

#[test]
fn the_precision_asked_for_is_the_one_that_is_loaded() {
    let mut graphs = names(&PAIR, "");
    graphs.extend(names(&PAIR, "_uint8"));
    let dir = model("onnx", &graphs);
    same("fp32", dir.path(), None, 2e-4);
    same("uint8", dir.path(), Some(Dtype::Uint8), 5e-2);
    let refused = Model::load_dtype(dir.path(), Some(Dtype::Fp16), 1)
        .err()
        .unwrap()
        .to_string();
    assert!(
        refused.ends_with("holds no graphs in fp16, but in fp32, uint8"),
        "{refused}"
    );

    let mut out = Vec::new();
    inspect::run(dir.path(), Some(Dtype::Uint8), InspectFormat::Json, &mut out).unwrap();
    let described: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(described["dtype"], "uint8");
}

/// The toy with its weights beside its graphs.
fn external() -> tempfile::TempDir {
    let mut graphs = names(&PAIR, "");
    graphs.extend(PAIR.map(|stem| format!("{stem}.onnx_data")));
    model("external/onnx", &graphs)
}

#[test]
fn weights_beside_a_graph_count_in_the_digest_and_are_copied() {
    let dir = external();
    let before = digest::directory(dir.path()).unwrap();
    assert_eq!(before.files, 10);
    let to = tempfile::tempdir().unwrap();
    let fetched = fetch::run(&fetch::Request {
        source: fetch::Source::Directory(dir.path().to_owned()),
        to: Some(to.path().join("model")),
        keep: Vec::new(),
        digest: None,
        prepack: None,
        report: None,
        format: ModelFormat::Whisper,
        patience: fetch::Patience::default(),
        progress: None,
    });
    assert_eq!(fetched.unwrap().model.digest, before.digest);
    same("external", &to.path().join("model"), None, 2e-4);

    let data = dir.path().join("onnx/encoder_model.onnx_data");
    let mut bytes = fs::read(&data).unwrap();
    bytes[0] ^= 1;
    fs::write(&data, &bytes).unwrap();
    assert_ne!(digest::directory(dir.path()).unwrap().digest, before.digest);
    fs::write(&data, &bytes[..100]).unwrap();
    let said = refusal(dir.path());
    assert!(said.starts_with("failed to load encoder_model.onnx: "), "{said}");
    fs::remove_file(&data).unwrap();
    assert_eq!(
        refusal(dir.path()),
        "failed to load encoder_model.onnx: its weights are in encoder_model.onnx_data, which is not beside \
         encoder_model.onnx"
    );
}

fn refusal(dir: &Path) -> String {
    Model::load(dir, 1).err().unwrap().to_string()
}

/// Replaces bytes of a graph by as many others.
fn altered(dir: &Path, name: &str, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let path = dir.join("onnx").join(name);
    let mut bytes = fs::read(&path).unwrap();
    let at: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|&at| &bytes[at..at + from.len()] == from.as_bytes())
        .collect();
    assert!(!at.is_empty());
    for at in at {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_cannot_be_read_is_refused_by_file_and_operator() {
    let dir = model("onnx", &names(&PAIR, "_uint8"));
    altered(
        dir.path(),
        "decoder_model_uint8.onnx",
        "MatMulInteger",
        "MatMulMystery",
    );
    let said = refusal(dir.path());
    assert!(
        said.starts_with(
            "failed to load decoder_model_uint8.onnx: the engine has no operator MatMulMystery (ai.onnx), which the node "
        ),
        "{said}"
    );

    let dir = model("onnx", &names(&MERGED, ""));
    altered(
        dir.path(),
        "decoder_model_merged.onnx",
        "use_cache_branch",
        "use_cash_branch_",
    );
    assert_eq!(
        refusal(dir.path()),
        "failed to load decoder_model_merged.onnx: no operator If chooses by use_cache_branch: it is no merged decoder"
    );

    let dir = model("onnx", &names(&MERGED, ""));
    altered(
        dir.path(),
        "decoder_model_merged.onnx",
        "else_branch",
        "elsa_branch",
    );
    assert_eq!(
        refusal(dir.path()),
        "failed to load decoder_model_merged.onnx: the operator If has no else_branch"
    );

    let dir = model("onnx", &names(&PAIR, ""));
    altered(
        dir.path(),
        "encoder_model.onnx",
        "LayerNormalization",
        "LayerNormalisation",
    );
    let said = refusal(dir.path());
    assert!(
        said.contains("encoder_model.onnx: the engine has no operator LayerNormalisation"),
        "{said}"
    );
}
