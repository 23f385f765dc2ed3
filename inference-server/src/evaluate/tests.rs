//! The bundled model on its own samples and on samples that it cannot pass; and what is said of samples that are none.

use serde_json::Value;

use super::*;
use crate::bundled;

fn request(samples: Samples, threshold: f64) -> Request {
    Request {
        model: Choice {
            threads: 1,
            ..Choice::default()
        },
        digest: None,
        options: Options::default(),
        samples,
        metric: Metric::Wer,
        threshold: Some(threshold),
        report: None,
        report_only: false,
    }
}

fn outcome(request: &Request) -> (Result<(), EvaluateError>, Value) {
    let mut out = Vec::new();
    let result = run(request, &mut out);
    (result, serde_json::from_slice(&out).unwrap_or(Value::Null))
}

fn bundled_sample(name: &str) -> Vec<u8> {
    let dir = bundled::find(bundled::DEFAULT).unwrap().join("samples");
    fs::read(dir.join(name)).unwrap()
}

/// A folder with one recording of three words, and the given text for it.
fn folder(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("three.wav"),
        bundled_sample("three-digits-16k.wav"),
    )
    .unwrap();
    fs::write(dir.path().join("three.txt"), text).unwrap();
    fs::create_dir(dir.path().join("..data")).unwrap();
    dir
}

fn samples(dir: &tempfile::TempDir) -> Samples {
    Samples::Folder(dir.path().to_owned())
}

#[test]
fn the_bundled_model_passes_its_own_samples() {
    let (result, report) = outcome(&request(Samples::Bundled, 0.15));
    result.unwrap();
    assert_eq!(
        (&report["passed"], &report["metric"]),
        (&true.into(), &"wer".into()),
        "{report}"
    );
    assert!(report["value"].as_f64().unwrap() <= 0.15, "{report}");
    assert_eq!(report["samples"], 8, "{report}");
}

#[test]
fn other_words_fail_and_are_told() {
    let dir = folder("Nine nine nine nine.");
    let report_file = dir.path().join(".report");
    let asked = Request {
        report: Some(report_file.clone()),
        ..request(samples(&dir), 0.5)
    };
    let (result, report) = outcome(&asked);
    let error = result.unwrap_err();
    assert_eq!(error.reason(), "NotGoodEnough");
    assert!(
        error.to_string().contains("three.wav") && error.to_string().contains("0.5"),
        "{error}"
    );
    assert_eq!(report["value"], 1.0);
    let expected = serde_json::json!([{
        "name": "three.wav", "expected": "Nine nine nine nine.", "heard": "Seven three one.", "errors": 4
    }]);
    assert_eq!(report["failing"], expected);
    let written: Value = serde_json::from_str(&fs::read_to_string(report_file).unwrap()).unwrap();
    assert_eq!(written, report);
    let (result, _) = outcome(&Request {
        report_only: true,
        ..asked
    });
    result.expect("a verdict is no error where only the report is asked for");
}

#[test]
fn a_threshold_is_good_enough_itself() {
    let dir = folder("Seven three two.");
    let (result, report) = outcome(&request(samples(&dir), 1.0 / 3.0));
    result.unwrap();
    assert_eq!(report["value"], 0.3333);
}

#[test]
fn samples_that_are_none_are_told() {
    let said = |samples: Samples| {
        let (result, _) = outcome(&request(samples, 0.5));
        let error = result.unwrap_err();
        format!("{}: {error}", error.reason())
    };
    let none = tempfile::tempdir().unwrap();
    let empty = said(samples(&none));
    assert!(
        empty.starts_with("SamplesNotFound: ") && empty.contains("a.wav and a.txt"),
        "{empty}"
    );
    let missing = said(Samples::Folder("/nowhere".into()));
    assert!(
        missing.starts_with("SamplesNotFound: failed to read /nowhere"),
        "{missing}"
    );
    let wordless = said(samples(&folder("...")));
    assert!(
        wordless.starts_with("InvalidSample: no sample has words"),
        "{wordless}"
    );

    let unpaired = folder("Seven three one.");
    fs::write(unpaired.path().join("b.flac"), b"").unwrap();
    let unpaired = said(samples(&unpaired));
    assert!(unpaired.contains("b.flac and no b.txt"), "{unpaired}");

    let broken = folder("Seven three one.");
    fs::write(broken.path().join("three.wav"), b"no audio").unwrap();
    let broken = said(samples(&broken));
    assert!(
        broken.starts_with("InvalidSample: ") && broken.contains("three.wav"),
        "{broken}"
    );

    let listed = tempfile::tempdir().unwrap();
    fs::write(
        listed.path().join("samples.jsonl"),
        "\n{\"file\": \"x.wav\", \"text\": \"x\"}\n",
    )
    .unwrap();
    let listed = said(samples(&listed));
    assert!(
        listed.contains("line 2 of") && listed.ends_with("there is no x.wav"),
        "{listed}"
    );
}

#[test]
fn another_model_than_the_one_asked_for_is_not_tried() {
    let digest = Some(format!("sha256:{}", "0".repeat(64)));
    let (result, _) = outcome(&Request {
        digest,
        ..request(Samples::Bundled, 1.0)
    });
    assert_eq!(result.unwrap_err().reason(), "DigestMismatch");
}

#[test]
fn a_report_fits_into_a_termination_message() {
    let mut tally = Tally::default();
    for at in 0..30 {
        let sample = Sample {
            name: format!("{at}-{}", "ﷺ".repeat(300)),
            audio: PathBuf::new(),
            text: "\u{1F600} word ".repeat(at + 1),
        };
        tally.count(&sample, &"ö \"\\\n".repeat(500));
    }
    let report = tally.report(Metric::Wer, 0.1);
    let json = report.json();
    assert!(json.len() <= 4096, "{}", json.len());
    let read: Value = serde_json::from_str(&json).unwrap();
    let told = read["failing"].as_array().unwrap();
    assert!(!told.is_empty() && told.len() <= 10, "{}", told.len());
    assert_eq!(read["samples"], 30);
    assert!(!report.passed);
}
