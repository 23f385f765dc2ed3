use serde_json::{Value, json};

use super::*;

/// A directory that passes as a model: the graphs are not looked into.
fn model() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(dir.path().join(name), text).unwrap();
    let config = json!({"model_type": "whisper", "d_model": 64, "encoder_layers": 1, "decoder_layers": 1,
        "decoder_attention_heads": 1, "max_source_positions": 1500, "max_target_positions": 448,
        "num_mel_bins": 80, "vocab_size": 100, "eos_token_id": 1, "decoder_start_token_id": 2});
    write("config.json", config.to_string());
    write("generation_config.json", "{}".to_owned());
    let features = json!({"feature_size": 80, "hop_length": 160, "n_fft": 400, "chunk_length": 30, "sampling_rate": 16000});
    write("preprocessor_config.json", features.to_string());
    write("tokenizer.json", "{}".to_owned());
    fs::create_dir(dir.path().join("onnx")).unwrap();
    for name in ["encoder_model", "decoder_model", "decoder_with_past_model"] {
        write(&format!("onnx/{name}.onnx"), "graph".to_owned());
    }
    dir
}

fn request(from: &Path, to: Option<&Path>) -> Request {
    Request {
        source: Source::Directory(from.to_owned()),
        to: to.map(Path::to_owned),
        keep: Vec::new(),
        digest: None,
        prepack: None,
        report: None,
        format: ModelFormat::Whisper,
        patience: Patience::default(),
        progress: None,
    }
}

/// What is beside a place, hidden files but the lock included.
fn beside(to: &Path) -> Vec<String> {
    let entries = fs::read_dir(to.parent().unwrap()).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
    names.sort();
    names
}

#[test]
fn a_copy_is_whole_and_the_second_time_nothing_is_written() {
    let (from, volume) = (model(), tempfile::tempdir().unwrap());
    let to = volume.path().join("models/nano");
    let fetched = run(&request(from.path(), Some(&to))).unwrap();
    assert_eq!(fetched.model.digest, digest::directory(&to).unwrap().digest);
    assert_eq!((fetched.model.files, beside(&to)), (7, vec!["nano".to_owned()]));

    let written = fs::metadata(to.join("config.json")).unwrap().modified().unwrap();
    assert_eq!(run(&request(from.path(), Some(&to))).unwrap(), fetched);
    assert_eq!(
        fs::metadata(to.join("config.json")).unwrap().modified().unwrap(),
        written
    );
}

#[test]
fn a_pinned_copy_outlives_its_source() {
    let (from, volume) = (model(), tempfile::tempdir().unwrap());
    let to = volume.path().join("nano");
    let fetched = run(&request(from.path(), Some(&to))).unwrap();
    let gone = Path::new("/nowhere");
    let pinned = Request {
        digest: Some(fetched.model.digest.clone()),
        ..request(gone, Some(&to))
    };
    assert_eq!(run(&pinned).unwrap(), fetched);
    assert_eq!(
        run(&request(gone, Some(&to))).unwrap_err().reason(),
        "SourceNotFound"
    );
}

#[test]
fn a_damaged_or_different_copy_is_replaced() {
    let (from, volume) = (model(), tempfile::tempdir().unwrap());
    let to = volume.path().join("nano");
    run(&request(from.path(), Some(&to))).unwrap();
    fs::write(to.join("onnx/encoder_model.onnx"), "grap").unwrap();
    fs::write(to.join("left-over"), "").unwrap();
    fs::create_dir(volume.path().join(".nano.partial")).unwrap();
    let fetched = run(&request(from.path(), Some(&to))).unwrap();
    assert_eq!(digest::directory(&to).unwrap().digest, fetched.model.digest);
    assert_eq!(beside(&to), ["nano"]);
}

#[test]
fn wrong_bytes_leave_nothing_behind() {
    let (from, volume) = (model(), tempfile::tempdir().unwrap());
    let to = volume.path().join("nano");
    let wrong = Request {
        digest: Some("sha256:00".to_owned()),
        ..request(from.path(), Some(&to))
    };
    let error = run(&wrong).unwrap_err();
    assert_eq!(error.reason(), "DigestMismatch");
    assert!(error.to_string().contains("sha256:00 was asked for"), "{error}");
    assert!(beside(&to).is_empty());
}

#[test]
fn a_directory_that_is_no_model_is_refused_by_name() {
    let (from, volume) = (model(), tempfile::tempdir().unwrap());
    fs::remove_file(from.path().join("onnx/decoder_model.onnx")).unwrap();
    let error = run(&request(from.path(), Some(&volume.path().join("nano")))).unwrap_err();
    assert_eq!(error.reason(), "InvalidModel");
    assert!(
        error
            .to_string()
            .starts_with("decoder_model.onnx is missing from "),
        "{error}"
    );
}

#[test]
fn the_report_says_what_happened() {
    let (from, volume) = (model(), tempfile::tempdir().unwrap());
    let report = volume.path().join("report");
    let read = || -> Value { serde_json::from_slice(&fs::read(&report).unwrap()).unwrap() };
    let verified = Request {
        report: Some(report.clone()),
        ..request(from.path(), None)
    };
    let fetched = run(&verified).unwrap();
    assert_eq!(
        read(),
        json!({"digest": fetched.model.digest, "sizeBytes": fetched.model.size_bytes, "files": 7})
    );

    let missing = Request {
        source: Source::Bundled("none".to_owned()),
        ..verified
    };
    let error = run(&missing).unwrap_err();
    assert_eq!(
        read(),
        json!({"reason": "SourceNotFound", "message": error.to_string()})
    );
}

#[test]
fn two_at_once_do_not_disturb_each_other() {
    let (from, volume) = (model(), tempfile::tempdir().unwrap());
    let to = volume.path().join("nano");
    let results: Vec<_> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| run(&request(from.path(), Some(&to))));
        let runs: Vec<_> = (0..4).map(|_| start()).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let digest = digest::directory(&to).unwrap().digest;
    assert!(
        results
            .into_iter()
            .all(|fetched| fetched.unwrap().model.digest == digest)
    );
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let (from, volume) = (model(), tempfile::tempdir().unwrap());
    let file = volume.path().join("file");
    fs::write(&file, "").unwrap();
    let error = run(&request(from.path(), Some(&file.join("nano")))).unwrap_err();
    assert_eq!(error.reason(), "Io");
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn models_that_are_no_longer_wanted_make_room_and_nothing_else_does() {
    let (from, volume) = (model(), tempfile::tempdir().unwrap());
    let folders = [
        "model",
        "model-0a",
        "model-0b",
        ".model-0a.download",
        ".model-0c.download",
        ".model-0c.old",
        "models",
        "model-of-mine",
        "lost+found",
        ".model-notes.d",
    ];
    for folder in folders {
        fs::create_dir(volume.path().join(folder)).unwrap();
    }
    fs::write(volume.path().join("model-0d"), "a file").unwrap();
    let to = volume.path().join("model-0c");
    let keep = vec!["model-0a".to_owned()];
    // The copy itself clears what is left of an earlier one, so it is looked at before.
    let place = Place::of(&to).unwrap();
    place.make_room(&keep).unwrap();
    assert_eq!(
        beside(&to),
        [
            ".model-0a.download",
            ".model-0c.download",
            ".model-0c.old",
            ".model-notes.d",
            "lost+found",
            "model-0a",
            "model-0d",
            "model-of-mine",
            "models",
        ]
    );
    fs::create_dir(volume.path().join("model-0b")).unwrap();
    run(&request(from.path(), Some(&to))).unwrap();
    assert!(
        volume.path().join("model-0b").exists(),
        "nothing goes when nothing is said to stay"
    );
    run(&Request {
        keep,
        ..request(from.path(), Some(&to))
    })
    .unwrap();
    assert!(!volume.path().join("model-0b").exists());
    assert!(to.join("config.json").exists() && volume.path().join("model-0a").exists());
}
