//! References made by transformers and ONNX Runtime in; the greatest differences from them out, and a failure where one
//! is too great. `make fidelity` makes the references and runs this; `tests/fidelity/README.md` has their layout.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use inference_server::{
    audio,
    decoder::{Decoder, Prompt, Rules},
    encoder,
    features::{LogMel, MelExtractor},
    model::{Dtype, FeatureConfig, Model},
    pipeline::{Cancel, Decoding, Task},
};
use ndarray::{Array2, ArrayD};
use serde::Deserialize;

#[path = "fidelity/drawn.rs"]
mod drawn;
#[path = "fidelity/held_out.rs"]
mod held_out;
#[path = "fidelity/long.rs"]
mod long;

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
    #[serde(default)]
    languages: BTreeMap<String, f32>,
    #[serde(default)]
    filtered: Vec<Filtered>,
}

/// The tokens after the prompt, given which the rules are applied to the first row of logits.
#[derive(Deserialize)]
struct Filtered {
    after: Vec<u32>,
    timestamps: bool,
}

/// What a beam search of `openai/whisper` finds.
#[derive(Deserialize)]
struct Beams {
    beam_size: usize,
    tokens: Vec<u32>,
    avg_logprob: f32,
}

/// The models, by their folders; of each, whether its windows are searched with beams too.
const MODELS: [(&str, bool); 6] = [
    ("nano", false),
    ("tiny", false),
    ("tiny.en", true),
    ("base", true),
    ("small", true),
    ("large-v3-narrow", true),
];

/// Where `run.sh` put the references.
fn references() -> PathBuf {
    PathBuf::from(std::env::var_os("PARLANCE_FIDELITY_DIR").expect("PARLANCE_FIDELITY_DIR is not set"))
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
    let mut compared = 0;
    for (name, beams) in MODELS {
        let folder = references().join(name);
        let model = Model::load(&folder.join("model"), 1).unwrap();
        for input in json::<Vec<String>>(&folder.join("inputs.json")) {
            compare(&model, &folder.join(&input), &format!("{name}/{input}"), beams);
            compared += 1;
        }
    }
    assert!(compared >= 6, "only {compared} inputs");
}

fn compare(model: &Model, folder: &Path, name: &str, beams: bool) {
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
    same_languages(&mut decoder, &tokens.languages, name);
    let mut sequence = decoder.first(prompt.tokens()[0]).unwrap();
    for &token in &prompt.tokens()[1..] {
        decoder.step(&mut sequence, token).unwrap();
    }
    let rows = array(&folder.join("logits.npy"));
    let left = array(&folder.join("filtered.npy"));
    for (case, left) in tokens.filtered.iter().zip(left.outer_iter()) {
        let mut scores = sequence.scores().to_vec();
        Rules::new(config, case.timestamps).apply(&mut scores, &case.after);
        same_filtered(
            &scores,
            left.as_slice().unwrap(),
            &format!("{name} after {:?}", case.after),
        );
    }
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

    if beams {
        let theirs: Beams = json(&folder.join("beams.json"));
        let how = Decoding {
            beam_size: theirs.beam_size,
            ..Decoding::default()
        };
        let ours = decoder.decode(&ready, &rules, &how, 0.0, &Cancel::new()).unwrap();
        assert_eq!(ours.ids, theirs.tokens, "{name}: {} beams", theirs.beam_size);
        let off = (ours.avg_logprob - theirs.avg_logprob).abs();
        assert!(off <= 1e-3, "{name}: beams' mean log-probability is off by {off}");
    }
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

fn same_languages(decoder: &mut Decoder<'_>, theirs: &BTreeMap<String, f32>, name: &str) {
    let ours = decoder.languages().unwrap();
    assert_eq!(ours.len(), theirs.len(), "{name}");
    for (code, probability) in ours {
        let off = (probability - theirs[code]).abs();
        assert!(off < 1e-3, "{name}: {code} is off by {off}");
    }
}

/// The same tokens are forbidden, and what is left has the same scores.
fn same_filtered(ours: &[f32], theirs: &[f32], name: &str) {
    assert_eq!(ours.len(), theirs.len(), "{name}");
    for (token, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(ours.is_finite(), theirs.is_finite(), "{name}: token {token}");
        assert!(
            !ours.is_finite() || (ours - theirs).abs() <= LOGITS,
            "{name}: token {token}"
        );
    }
}

/// How far a form of the export may be from ONNX Runtime on the same files: the greatest difference of the encoder's values
/// and of the logits, and the least cosine between either's.
const FORMS: [(&str, Dtype, f32, f32); 7] = [
    ("fp32", Dtype::Fp32, 1e-3, 0.99999),
    ("merged", Dtype::Fp32, 1e-3, 0.99999),
    ("external", Dtype::Fp32, 1e-3, 0.99999),
    ("fp16", Dtype::Fp16, 2e-2, 0.9999),
    ("int8", Dtype::Int8, 0.5, 0.999),
    ("merged_int8", Dtype::Int8, 0.5, 0.999),
    ("uint8", Dtype::Uint8, 0.5, 0.999),
];

/// What ONNX Runtime says of one form.
#[derive(Deserialize)]
struct Form {
    prompt: Vec<u32>,
    tokens: Vec<u32>,
}

/// Half-precision, quantised, merged and external-data exports give what ONNX Runtime gives on the same files.
#[test]
#[ignore = "needs PARLANCE_FIDELITY_DIR: make fidelity"]
fn forms_of_an_export_equal_onnx_runtime() {
    let folder = references().join("forms");
    let forms: BTreeMap<String, Form> = json(&folder.join("forms.json"));
    for (name, dtype, most, least) in FORMS {
        let model = Model::load_dtype(&folder.join("models").join(name), Some(dtype), 1).unwrap();
        let mel = array(&folder.join("mel.npy"));
        let features = LogMel {
            bins: mel.shape()[0],
            frames: mel.shape()[1],
            values: mel.into_raw_vec_and_offset().0,
        };
        let started = Instant::now();
        let encoded = encoder::encode(&model, &features).unwrap();
        let encoding = started.elapsed();
        let theirs = array(&folder.join(format!("{name}.encoder.npy")));
        let encoder = distance(&encoded.values().unwrap(), theirs.as_slice().unwrap());
        let rows = array(&folder.join(format!("{name}.logits.npy")));
        let form = &forms[name];
        let mut decoder = Decoder::new(&model, &encoded).unwrap();
        let mut sequence = decoder.first(form.prompt[0]).unwrap();
        for &token in &form.prompt[1..] {
            decoder.step(&mut sequence, token).unwrap();
        }
        let (mut logits, started) = ((0.0f32, 1.0f32), Instant::now());
        for (row, &token) in rows.outer_iter().zip(&form.tokens) {
            let off = distance(sequence.scores(), row.as_slice().unwrap());
            logits = (logits.0.max(off.0), logits.1.min(off.1));
            decoder.step(&mut sequence, token).unwrap();
        }
        eprintln!(
            "{name}: encoder {:.1e} (cosine {:.6}) in {encoding:.1?}, logits {:.1e} (cosine {:.6}) in {:.1?} a step",
            encoder.0,
            encoder.1,
            logits.0,
            logits.1,
            started.elapsed() / form.tokens.len() as u32
        );
        assert!(encoder.0 <= most && logits.0 <= most, "{name}");
        assert!(encoder.1 >= least && logits.1 >= least, "{name}");
    }
}

/// The greatest difference of two lists, and the cosine of the angle between them.
fn distance(ours: &[f32], theirs: &[f32]) -> (f32, f32) {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let cosine = dot(ours, theirs) / (dot(ours, ours) * dot(theirs, theirs)).sqrt();
    (greatest_difference(ours, theirs), cosine as f32)
}
