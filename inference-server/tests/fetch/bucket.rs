//! A server that speaks S3 and checks every signature, asked by the program itself: keys come from its environment.

use std::{
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, body::Body, extract::Request, response::Response};
use futures::{StreamExt, stream};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::{
    faults::serve,
    files::{LARGE, Model, Volume, assert_holds, digest_of, model},
};

const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "AKIDPARLANCE"),
    ("AWS_SECRET_ACCESS_KEY", "key-secret"),
];

/// A server with the bucket `models`, and where it keeps it. With `cut`, the first large answer ends in its middle.
async fn bucket(model: &Model, open: bool, cut: bool) -> (String, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in model {
        let path = dir.path().join("models/whisper/tiny").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(dir.path()).unwrap());
    if !open {
        service.set_auth(SimpleAuth::from_single(KEYS[0].1, KEYS[1].1));
    }
    let (service, cut) = (service.build(), Arc::new(AtomicBool::new(cut)));
    let router = Router::new().fallback(move |request: Request| {
        let (service, cut) = (service.clone(), cut.clone());
        async move {
            let large = request.uri().path().ends_with(LARGE);
            let response = service.oneshot(request).await.unwrap().map(Body::new);
            if large && cut.swap(false, Ordering::SeqCst) {
                halved(response)
            } else {
                response
            }
        }
    });
    (format!("http://{}", serve(router).await), dir)
}

/// The first piece of an answer, and then a cut connection.
fn halved(response: Response) -> Response {
    let (head, body) = response.into_parts();
    let pieces = body.into_data_stream().take(1).map(|piece| Ok(piece.unwrap()));
    let cut = stream::once(async { Err(std::io::Error::other("cut")) });
    Response::from_parts(head, Body::from_stream(pieces.chain(cut)))
}

/// Runs the program; what it printed, and its report.
async fn fetch(volume: &Volume, endpoint: &str, flags: &[&str], keys: &[(&str, &str)]) -> (Output, Value) {
    let report = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlance-server"));
    command.env_clear().envs(keys.iter().copied());
    command.arg("fetch").args(flags).arg("--to").arg(volume.to());
    command.arg(format!("--s3-endpoint={endpoint}"));
    command.arg(format!("--report={}", report.path().display()));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    (output, json(report.path()))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_a_model_and_keys_never_show() {
    let model = model(1);
    let (endpoint, _dir) = bucket(&model, false, true).await;
    let volume = Volume::new();
    let (output, report) = fetch(&volume, &endpoint, &["--s3=models/whisper/tiny"], &KEYS).await;
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    assert_holds(&volume.to(), &model);
    assert_eq!(report["digest"], digest_of(&model));
    assert_eq!(report["source"], "s3://models/whisper/tiny");
    // What a client sees of the cut depends on how far the answer had come.
    assert!(
        log.contains("trying again"),
        "the first large answer was cut: {log}"
    );
    for secret in [KEYS[1].1, "X-Amz-Signature", KEYS[0].1] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_open_to_everybody_needs_no_keys() {
    let model = model(1);
    let (endpoint, _dir) = bucket(&model, true, false).await;
    let volume = Volume::new();
    let (output, _) = fetch(&volume, &endpoint, &["--s3=s3://models/whisper/tiny/"], &[]).await;
    assert!(output.status.success(), "{output:?}");
    assert_holds(&volume.to(), &model);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_precision_of_several_is_taken_from_a_bucket() {
    let mut held = model(1);
    let needed = held.clone();
    held.insert("onnx/encoder_model_int8.onnx".to_owned(), vec![1; 10]);
    let (endpoint, _dir) = bucket(&held, false, false).await;
    let flags = ["--s3=models/whisper/tiny", "--variant=fp32"];
    let volume = Volume::new();
    let (output, _) = fetch(&volume, &endpoint, &flags, &KEYS).await;
    assert!(output.status.success(), "{output:?}");
    assert_holds(&volume.to(), &needed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bucket_refuses_or_lacks_is_told_apart() {
    let (endpoint, _dir) = bucket(&model(1), false, false).await;
    let wrong = [KEYS[0], ("AWS_SECRET_ACCESS_KEY", "another-secret")];
    for (flag, keys, reason, said) in [
        (
            "--s3=models/whisper/tiny",
            &wrong[..],
            "AccessDenied",
            "(SignatureDoesNotMatch)",
        ),
        (
            "--s3=models/whisper/tiny",
            &[],
            "AccessDenied",
            "s3://models/whisper/tiny refuses",
        ),
        (
            "--s3=models/whisper/base",
            &KEYS,
            "SourceNotFound",
            "holds no files",
        ),
        (
            "--s3=nowhere/whisper",
            &KEYS,
            "SourceNotFound",
            "no bucket nowhere",
        ),
    ] {
        let volume = Volume::new();
        let (output, report) = fetch(&volume, &endpoint, &[flag], keys).await;
        assert_eq!(output.status.code(), Some(1), "{report}");
        assert_eq!(report["reason"], reason, "{flag}: {report}");
        assert!(!report.to_string().contains("another-secret"), "{report}");
        assert!(report["message"].as_str().unwrap().contains(said), "{report}");
    }
}
