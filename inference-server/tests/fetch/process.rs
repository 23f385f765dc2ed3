//! The real binary: killed in the middle, told to end, asked for nonsense.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    faults::{Fault, Server},
    files::{LARGE, Model, Volume, assert_holds, digest_of, model},
};

const PATH: &str = "/m/onnx/encoder_model.onnx";

fn command(server: &Server, model: &Model, volume: &Volume, report: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlance-server"));
    command.env_clear().arg("fetch").arg("--to").arg(volume.to());
    for link in server.links(model, false) {
        command.arg(format!("--http-file={link}"));
    }
    command.arg("--report").arg(report);
    command.stderr(Stdio::null()).stdout(Stdio::null());
    command
}

/// A download that hangs in the middle of its large file, with everything that was sent on the disk.
async fn hanging(server: &Server, model: &Model, volume: &Volume, report: &std::path::Path) -> Child {
    server.fail(PATH, [Fault::Hang(123_456)]);
    let child = command(server, model, volume, report).spawn().unwrap();
    let began = Instant::now();
    while volume.so_far(LARGE) < 123_456 || server.asked().len() < model.len() {
        assert!(began.elapsed() < Duration::from_secs(60), "the half never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_was_killed_goes_on_in_the_next_pod() {
    let model = model(1);
    let (server, volume) = (Server::with(&model).await, Volume::new());
    let report = tempfile::NamedTempFile::new().unwrap();
    let mut child = hanging(&server, &model, &volume, report.path()).await;
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    assert!(!volume.to().exists(), "no pod sees half a model");

    let mut again = command(&server, &model, &volume, report.path());
    let status = tokio::task::spawn_blocking(move || again.status().unwrap())
        .await
        .unwrap();
    assert!(status.success());
    assert_holds(&volume.to(), &model);
    assert_eq!(server.ranges(PATH), [None, Some("bytes=123456-".to_owned())]);
    let report: Value = serde_json::from_slice(&std::fs::read(report.path()).unwrap()).unwrap();
    assert_eq!(report["digest"], digest_of(&model));
    assert_eq!(volume.left_over(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_says_how_far_it_is() {
    let model = model(1);
    let (server, volume) = (Server::with(&model).await, Volume::new());
    let total: usize = model.values().map(Vec::len).sum();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    server.fail(PATH, [Fault::Hang(123_456)]);
    let mut fetch = command(&server, &model, &volume, std::path::Path::new("/dev/null"));
    let mut child = fetch.arg(format!("--progress-addr={free}")).spawn().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let began = Instant::now();
    let there = total - model[LARGE].len() + 123_456;
    loop {
        let answer = reqwest::get(format!("http://{free}/progress")).await;
        if let Ok(answer) = answer {
            let progress: Value = answer.json().await.unwrap();
            if progress["bytes"] == there {
                assert_eq!(progress["totalBytes"], total);
                assert!(progress["bytesPerSecond"].as_u64() > Some(0), "{progress}");
                break;
            }
        }
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "it never said {there} bytes"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_told_to_end_ends_at_once_and_says_so() {
    let model = model(1);
    let (server, volume) = (Server::with(&model).await, Volume::new());
    let report = tempfile::NamedTempFile::new().unwrap();
    let mut child = hanging(&server, &model, &volume, report.path()).await;
    let told = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(told.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let report: Value = serde_json::from_slice(&std::fs::read(report.path()).unwrap()).unwrap();
    assert_eq!(report["reason"], "Stopped");
    assert_eq!(volume.so_far(LARGE), 123_456);
}

#[test]
fn a_file_that_cannot_be_read_as_one_is_told_by_number_and_never_quoted() {
    let volume = Volume::new();
    let output = Command::new(env!("CARGO_BIN_EXE_parlance-server"))
        .env_clear()
        .args(["fetch", "--http-file=path=../up,url=https://u:top-secret@h/"])
        .arg("--to")
        .arg(volume.to())
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(
        log.contains("file 1 by http: path must be a file of the model"),
        "{log}"
    );
    assert!(!log.contains("secret"), "{log}");
}
