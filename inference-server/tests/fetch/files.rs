//! A model small enough to be sent byte by byte, a place for it, and requests to bring it there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use inference_server::{
    digest,
    fetch::{FetchError, Fetched, Patience, Remote, Request, Source, run},
    kind::ModelFormat,
};
use serde_json::json;
use sha2::{Digest, Sha256};

/// The graph that is large enough to break off in the middle.
pub const LARGE: &str = "onnx/encoder_model.onnx";

/// Files by their paths.
pub type Model = BTreeMap<String, Vec<u8>>;

/// What passes as a model: the graphs are not looked into. `seed` makes another of the same sizes.
pub fn model(seed: u8) -> Model {
    let config = json!({"model_type": "whisper", "d_model": 64, "encoder_layers": 1, "decoder_layers": 1,
        "decoder_attention_heads": 1, "max_source_positions": 1500, "max_target_positions": 448,
        "num_mel_bins": 80, "vocab_size": 100, "eos_token_id": 1, "decoder_start_token_id": 2});
    let features = json!({"feature_size": 80, "hop_length": 160, "n_fft": 400, "chunk_length": 30, "sampling_rate": 16000});
    // No two stretches of it are alike, so that a wrong offset shows.
    let large: Vec<u8> = (0u32..1 << 16)
        .flat_map(|i| (i ^ (u32::from(seed) << 24)).to_le_bytes())
        .collect();
    [
        ("config.json", config.to_string().into_bytes()),
        ("generation_config.json", b"{}".to_vec()),
        ("preprocessor_config.json", features.to_string().into_bytes()),
        ("tokenizer.json", b"{}".to_vec()),
        (LARGE, large),
        ("onnx/decoder_model.onnx", vec![seed; 5000]),
        ("onnx/decoder_with_past_model.onnx", vec![seed; 4000]),
    ]
    .map(|(path, bytes)| (path.to_owned(), bytes))
    .into()
}

/// The files in a directory of their own.
pub fn written(model: &Model) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in model {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    dir
}

/// The digest that `parlance-server inspect` gives these files.
pub fn digest_of(model: &Model) -> String {
    digest::directory(written(model).path()).unwrap().digest
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A volume.
pub struct Volume(tempfile::TempDir);

impl Volume {
    pub fn new() -> Volume {
        Volume(tempfile::tempdir().unwrap())
    }

    /// Where the model goes.
    pub fn to(&self) -> PathBuf {
        self.0.path().join("model")
    }

    /// What a download has of a file so far.
    pub fn so_far(&self, path: &str) -> u64 {
        let path = self.0.path().join(".model.download/files").join(path);
        std::fs::metadata(path).map_or(0, |file| file.len())
    }

    /// Everything beside the model but the lock.
    pub fn left_over(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.0.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| name != "model" && name != ".model.lock")
            .collect()
    }

    /// Fetches on a thread of its own, as the program does.
    pub async fn fetch(
        &self,
        remote: Remote,
        change: impl FnOnce(&mut Request),
    ) -> Result<Fetched, FetchError> {
        let mut request = Request {
            source: Source::Remote(remote),
            to: Some(self.to()),
            keep: Vec::new(),
            digest: None,
            prepack: None,
            report: None,
            format: ModelFormat::Whisper,
            patience: impatient(),
            progress: None,
        };
        change(&mut request);
        tokio::task::spawn_blocking(move || run(&request)).await.unwrap()
    }
}

/// Waits that a test can afford; silence as long as in earnest.
pub fn impatient() -> Patience {
    Patience {
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_secs(1),
        attempts: 4,
        ..Patience::default()
    }
}

/// Whether a directory holds exactly these files, but hidden ones.
pub fn assert_holds(dir: &Path, model: &Model) {
    let paths = digest::files(dir).unwrap();
    let held: Model = paths
        .into_iter()
        .map(|path| {
            let bytes = std::fs::read(dir.join(&path)).unwrap();
            (path.to_str().unwrap().to_owned(), bytes)
        })
        .collect();
    let names = |model: &Model| model.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&held), names(model));
    for (path, bytes) in model {
        assert!(held[path] == *bytes, "{path} differs");
    }
}
