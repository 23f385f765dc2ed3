//! References made by transformers and ONNX Runtime in; the greatest differences from them out, and a failure where one
//! is too great. `make fidelity` makes the references and runs this; `tests/fidelity/README.md` has their layout.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use inference_server::{
    audio,
    decoder::{Decoder, Prompt, Rules},
    encoder,
    features::MelExtractor,
    model::{FeatureConfig, Model},
    pipeline::{Cancel, Decoding, Task},
};
use ndarray::{Array2, ArrayD};
use serde::Deserialize;

const MEL: f32 = 1e-4;
const ENCODER: f32 = 1e-3;
const LOGITS: f32 = 1e-3;

#[derive(Deserialize)]
struct Expected {
    name: String,
    sample: String,
    frames: usize,
}

#[derive(Deserialize)]
struct Tokens {
    prompt: Vec<u32>,
    generated: Vec<u32>,
    no_speech_prob: Option<f32>,
    avg_logprob: f32,
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

fn array(path: &Path) -> ArrayD<f32> {
    ndarray_npy::read_npy(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn greatest_difference<'v>(
    ours: impl IntoIterator<Item = &'v f32>,
    theirs: impl IntoIterator<Item = &'v f32>,
) -> f32 {
    let (ours, theirs): (Vec<_>, Vec<_>) = (ours.into_iter().collect(), theirs.into_iter().collect());
    assert_eq!(ours.len(), theirs.len());
    // A number that is none must not pass for a small difference.
    ours.iter()
        .zip(&theirs)
        .map(|(a, b)| (*a - *b).abs())
        .fold(0.0, |most, d| if d <= most { most } else { d })
}

/// The features of committed samples equal those of transformers' feature extractor.
#[test]
fn features_equal_the_committed_ones() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fidelity/expected"));
    let samples = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../models/whisper-nano-digits/samples"
    ));
    let config = FeatureConfig {
        sampling_rate: 16_000,
        n_samples: 480_000,
        n_fft: 400,
        hop_length: 160,
        mel_bins: 80,
    };
    let extractor = MelExtractor::new(&config);
    for expected in json::<Vec<Expected>>(&folder.join("inputs.json")) {
        let bytes = fs::read(samples.join(&expected.sample)).unwrap();
        let pcm = audio::decode(&bytes, Duration::from_secs(60)).unwrap();
        let mel = extractor.extract(pcm.samples());
        let ours = Array2::from_shape_vec((mel.bins, mel.frames), mel.values).unwrap();
        let theirs = array(&folder.join(format!("{}.mel.npy", expected.name)));
        let off = greatest_difference(ours.slice(ndarray::s![.., ..expected.frames]), theirs.view());
        println!("{}: features within {off:.1e}", expected.name);
        assert!(off <= MEL, "{}: {off}", expected.name);
    }
}

/// Features, encoder, logits and greedy tokens of whole models equal those of transformers and ONNX Runtime.
#[test]
#[ignore = "needs PARLANCE_FIDELITY_DIR: make fidelity"]
fn models_equal_the_references() {
    let folder = std::env::var_os("PARLANCE_FIDELITY_DIR").expect("PARLANCE_FIDELITY_DIR is not set");
    let mut compared = 0;
    for name in ["nano", "tiny"] {
        let folder = Path::new(&folder).join(name);
        let model = Model::load(&folder.join("model"), 1).unwrap();
        for input in json::<Vec<String>>(&folder.join("inputs.json")) {
            compare(&model, &folder.join(&input), &format!("{name}/{input}"));
            compared += 1;
        }
    }
    assert!(compared >= 6, "only {compared} inputs");
}

fn compare(model: &Model, folder: &Path, name: &str) {
    let features = MelExtractor::new(&model.config().features)
        .extract(array(&folder.join("pcm.npy")).as_slice().unwrap());
    let mel = greatest_difference(&features.values, array(&folder.join("mel.npy")).view());
    let encoded = encoder::encode(model, &features).unwrap();
    let encoder = greatest_difference(
        &encoded.values().unwrap(),
        array(&folder.join("encoder.npy")).view(),
    );

    let tokens: Tokens = json(&folder.join("tokens.json"));
    let config = &model.config().tokens;
    let prompt = Prompt::new(config, Some("en"), Task::Transcribe, false).unwrap();
    assert_eq!(prompt.tokens(), tokens.prompt, "{name}");
    let rules = Rules::new(config, false);
    let mut decoder = Decoder::new(model, &encoded).unwrap();
    let ready = decoder.read(&prompt, &Cancel::new()).unwrap();
    let no_speech = tokens
        .no_speech_prob
        .map_or(0.0, |theirs| (ready.no_speech_prob - theirs).abs());
    let mut sequence = decoder.first(prompt.tokens()[0]).unwrap();
    for &token in &prompt.tokens()[1..] {
        decoder.step(&mut sequence, token).unwrap();
    }
    let rows = array(&folder.join("logits.npy"));
    let (mut logits, mut generated) = (0.0f32, Vec::new());
    while generated.len() < tokens.generated.len() {
        if let Some(theirs) = rows.outer_iter().nth(generated.len()) {
            logits = logits.max(greatest_difference(sequence.scores(), theirs.as_slice().unwrap()));
        }
        let mut scores = sequence.scores().to_vec();
        rules.apply(&mut scores, &generated);
        let best = (0..scores.len())
            .max_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(b.cmp(&a)))
            .unwrap();
        generated.push(best as u32);
        decoder.step(&mut sequence, best as u32).unwrap();
    }
    eprintln!(
        "{name}: mel {mel:.1e}, encoder {encoder:.1e}, logits {logits:.1e} in {} rows, {} tokens",
        rows.shape()[0],
        generated.len()
    );
    assert!(mel <= MEL && encoder <= ENCODER && logits <= LOGITS, "{name}");
    assert_eq!(generated, tokens.generated, "{name}");
    assert!(
        no_speech <= 1e-3,
        "{name}: no-speech probability off by {no_speech}"
    );

    if tokens.generated.last() == Some(&config.end) {
        let decoded = decoder
            .decode(&ready, &rules, &Decoding::default(), 0.0, &Cancel::new())
            .unwrap();
        assert_eq!(
            decoded.ids,
            tokens.generated[..tokens.generated.len() - 1],
            "{name}"
        );
        assert!(
            (decoded.avg_logprob - tokens.avg_logprob).abs() <= 1e-3,
            "{name}: {}",
            decoded.avg_logprob
        );
    }
}
