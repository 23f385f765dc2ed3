//! `kubectl parlance`, called as a person calls it: kubectl finds the built plugin in PATH.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crds::TranscriptionService;
use e2e::client::{Recording, clear_recordings};
use e2e::manifest::{has, ready, repository, service};
use e2e::{Found, TestNamespace, in_namespace, wait_for};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::process::Command;

/// What a call of kubectl gave.
#[derive(Debug)]
struct Told {
    code: i32,
    stdout: String,
    stderr: String,
}

/// The folder of this build's programs: tests lie in `deps` below it.
fn programs() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap().to_owned();
    let plugin = folder.join("kubectl-parlance");
    assert!(
        plugin.exists(),
        "{} is not built: run `make build`",
        plugin.display()
    );
    folder
}

fn kubectl() -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut kubectl = Command::new("kubectl");
    kubectl
        .env("PATH", format!("{}:{path}", programs().display()))
        .stdin(Stdio::null());
    kubectl
}

async fn told(mut command: Command) -> Told {
    let output = command.output().await.expect("failed to run kubectl");
    Told {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `kubectl parlance ... -n NAMESPACE`
async fn parlance(namespace: &TestNamespace, arguments: &[&str]) -> Told {
    let mut command = kubectl();
    command
        .arg("parlance")
        .args(arguments)
        .args(["-n", &namespace.name]);
    told(command).await
}

fn path_of(recording: &Recording) -> String {
    let path = repository("models/whisper-nano-digits/samples").join(&recording.file);
    path.to_str().unwrap().to_owned()
}

/// A service that is ready.
async fn serve(namespace: &TestNamespace, name: &str, additions: Value) {
    namespace.apply(&service(name, additions)).await;
    namespace
        .until::<TranscriptionService>(name, "to be ready", ready)
        .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn kubectl_finds_the_plugin() {
    let mut list = kubectl();
    list.args(["plugin", "list"]);
    let list = told(list).await;
    assert!(list.stdout.contains("/kubectl-parlance\n"), "{list:?}");
    let mut help = kubectl();
    help.args(["parlance", "--help"]);
    let help = told(help).await;
    assert!(help.stdout.contains("Usage: kubectl parlance"), "{help:?}");
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_recording_is_transcribed_in_every_format() {
    in_namespace(|namespace| async move {
        serve(&namespace, "calls", json!({})).await;
        let recordings = clear_recordings();
        let (recording, other) = (&recordings[0], &recordings[1]);
        let path = path_of(recording);
        let transcribed = async |more: &[&str]| {
            let arguments = [&["transcribe", path.as_str(), "--service", "calls"], more].concat();
            let told = parlance(&namespace, &arguments).await;
            assert_eq!(told.code, 0, "{more:?}: {told:?}");
            told
        };
        let text = transcribed(&[]).await;
        assert_eq!(text.stdout, format!("{}\n", recording.text));
        assert!(text.stderr.contains("by pod calls-"), "{text:?}");
        let srt = transcribed(&["--format", "srt", "--quiet"]).await;
        assert!(
            srt.stdout.starts_with("1\n00:00:0") && srt.stdout.contains(&recording.text),
            "{srt:?}"
        );
        assert_eq!(srt.stderr, "");
        let vtt = transcribed(&["--format", "vtt", "--language", "en"]).await;
        assert!(vtt.stdout.starts_with("WEBVTT\n\n00:00:0"), "{vtt:?}");
        let json = transcribed(&["--format", "json", "--words"]).await;
        let json: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(json["text"], recording.text);
        let words = json["words"].as_array().map_or(0, Vec::len);
        assert_eq!(words, recording.text.split_whitespace().count(), "{json}");

        let folder = std::env::temp_dir().join(&namespace.name);
        let two = [path.as_str(), &path_of(other)];
        let both = [
            &["transcribe"],
            &two[..],
            &["--service", "calls", "--output", folder.to_str().unwrap()],
        ];
        let both = parlance(&namespace, &both.concat()).await;
        assert_eq!((both.code, both.stdout.as_str()), (0, ""), "{both:?}");
        for recording in [recording, other] {
            let written = folder.join(&recording.file).with_extension("txt");
            let written = std::fs::read_to_string(&written).unwrap();
            assert_eq!(written, format!("{}\n", recording.text));
        }
        std::fs::remove_dir_all(&folder).unwrap();

        let manifest = repository("Cargo.toml");
        let arguments = ["transcribe", manifest.to_str().unwrap(), "--service", "calls"];
        let refused = parlance(&namespace, &arguments).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
        assert!(refused.stderr.contains("Cargo.toml: "), "{refused:?}");
        let missing = parlance(&namespace, &["transcribe", path.as_str(), "--service", "cals"]).await;
        assert_eq!(missing.code, 1);
        assert!(
            missing
                .stderr
                .contains("has no TranscriptionService \"cals\"; it has calls"),
            "{missing:?}"
        );
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn callers_that_are_refused_come_again_until_they_are_served() {
    in_namespace(|namespace| async move {
        // One at a time and nobody waits: who comes meanwhile is refused with RESOURCE_EXHAUSTED.
        let narrow = json!({ "transcription": { "maxConcurrent": 1, "queueLimit": 0 } });
        serve(&namespace, "narrow", narrow).await;
        let recording = clear_recordings().remove(0);
        let path = path_of(&recording);
        let arguments = [
            "transcribe",
            path.as_str(),
            "--service",
            "narrow",
            "--retry-for",
            "5m",
        ];
        let calls = (0..6).map(|_| parlance(&namespace, &arguments));
        for told in futures::future::join_all(calls).await {
            assert_eq!(
                (told.code, told.stdout),
                (0, format!("{}\n", recording.text)),
                "{}",
                told.stderr
            );
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn status_top_and_why_tell_of_a_service_that_works() {
    in_namespace(|namespace| async move {
        let autoscaling =
            json!({ "autoscaling": { "minReplicas": 1, "maxReplicas": 2, "targetCPUUtilization": 90 } });
        serve(&namespace, "calls", autoscaling).await;
        let list = parlance(&namespace, &["status"]).await;
        let row: Vec<&str> = list
            .stdout
            .lines()
            .nth(1)
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        assert_eq!(
            row[..5],
            ["tsvc/calls", "Ready", "True", "1/1", "whisper-nano-digits"],
            "{list:?}"
        );
        let page = parlance(&namespace, &["status", "calls"]).await;
        for part in [
            "Name:      tsvc/calls",
            "sha256:",
            "\nConditions:",
            "\nPods:",
            "\nAutoscaler:",
            "\nClaims:",
            "\nEvents:",
        ] {
            assert!(
                page.stdout.contains(part),
                "{part} is missing in\n{}",
                page.stdout
            );
        }
        let json = parlance(&namespace, &["status", "tsvc/calls", "-o", "json"]).await;
        let json: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(
            (&json["kind"], &json["metadata"]["name"]),
            (&json!("TranscriptionService"), &json!("calls"))
        );
        let yaml = parlance(&namespace, &["status", "-o", "yaml"]).await;
        let yaml: Value = serde_yaml::from_str(&yaml.stdout).unwrap();
        assert_eq!(yaml["items"][0]["status"]["phase"], "Ready");
        let why = parlance(&namespace, &["why", "calls"]).await;
        assert_eq!(why.code, 0, "{why:?}");
        assert!(
            why.stdout.starts_with("TranscriptionService calls in namespace "),
            "{why:?}"
        );
        assert!(
            why.stdout.contains(" is healthy: ") && why.stdout.lines().count() == 1,
            "{why:?}"
        );

        let done = Arc::new(AtomicBool::new(false));
        let (load, ended) = (namespace.clone(), done.clone());
        let path = path_of(&clear_recordings().remove(0));
        let load = tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let told = parlance(&load, &["transcribe", path.as_str(), "--service", "calls", "-q"]).await;
                assert_eq!(told.code, 0, "{told:?}");
            }
        });
        let row = wait_for("top to show requests, their latency and their speed", || async {
            let top = parlance(&namespace, &["top", "calls", "--interval", "3s"]).await;
            assert_eq!(top.code, 0, "{top:?}");
            let (head, rows) = top.stdout.split_once('\n').unwrap_or_default();
            let names = head.split_whitespace();
            let row: Vec<(&str, &str)> = names
                .zip(rows.lines().next().unwrap_or_default().split_whitespace())
                .collect();
            let number = |name: &str| {
                let cell = row
                    .iter()
                    .find(|(head, _)| *head == name)
                    .map_or("-", |(_, cell)| cell);
                cell.trim_end_matches('s').parse::<f64>().unwrap_or_default()
            };
            match ["RTF", "AUDIO/S", "REQ/S", "P95"]
                .into_iter()
                .all(|name| number(name) > 0.0)
            {
                true => Found::Yes(top.stdout.clone()),
                false => Found::NotYet(top.stdout.clone()),
            }
        })
        .await;
        assert!(row.contains("tsvc/calls   calls-"), "{row}");
        done.store(true, Ordering::Relaxed);
        load.await.unwrap();
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn why_names_the_cause_of_a_service_that_fails() {
    in_namespace(|namespace| async move {
        let broken = json!({ "model": { "source": { "bundled": { "name": "whisper-enormous" } } } });
        namespace.apply(&service("sick", broken)).await;
        namespace
            .until::<TranscriptionService>("sick", "to say what is wrong", |one| {
                let conditions = one.status.clone().unwrap_or_default().conditions;
                has(&conditions, "Ready", "False", Some("SourceNotFound"))
            })
            .await;
        let why = parlance(&namespace, &["why", "sick"]).await;
        assert_eq!(why.code, 1, "{why:?}");
        assert!(
            why.stdout.contains(" is not ready: ")
                && why.stdout.contains("whisper-enormous")
                && why.stdout.contains("(SourceNotFound)"),
            "{why:?}"
        );
        assert!(
            why.stdout.contains("The operator (") && why.stdout.lines().count() == 1,
            "{why:?}"
        );
        let path = path_of(&clear_recordings().remove(0));
        let refused = parlance(&namespace, &["transcribe", path.as_str(), "-s", "sick"]).await;
        assert_eq!(refused.code, 1);
        assert!(
            refused
                .stderr
                .contains("TranscriptionService sick is not ready: ")
                && refused.stderr.contains("kubectl parlance why tsvc/sick"),
            "{refused:?}"
        );
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn who_may_only_look_is_told_which_rule_is_missing() {
    in_namespace(|namespace| async move {
        serve(&namespace, "calls", json!({})).await;
        let role = json!({ "metadata": { "name": "looks" }, "rules": [
            { "apiGroups": ["parlance.dev"], "resources": ["transcriptionservices", "modeldeployments"], "verbs": ["get", "list"] },
            { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"] },
        ] });
        namespace.apply::<Role>(&typed("Role", role)).await;
        let binding = json!({ "metadata": { "name": "looks" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "looks" },
            "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": namespace.name }] });
        namespace.apply::<RoleBinding>(&typed("RoleBinding", binding)).await;
        let account = format!("system:serviceaccount:{}:default", namespace.name);
        let path = path_of(&clear_recordings().remove(0));
        let refused = wait_for("the Role to count", || async {
            let arguments = ["transcribe", path.as_str(), "-s", "calls", "--as", &account];
            let told = parlance(&namespace, &arguments).await;
            match told.stderr.contains("transcriptionservices") || told.stderr.contains("list the pods") {
                true => Found::NotYet(told.stderr),
                false => Found::Yes(told),
            }
        })
        .await;
        assert_eq!(refused.code, 1);
        let rule = "{apiGroups: [\"\"], resources: [pods/portforward], verbs: [get, create]}";
        assert!(refused.stderr.contains("you may not forward a port of pod calls-"), "{refused:?}");
        assert!(refused.stderr.contains(rule), "{refused:?}");
        let why = parlance(&namespace, &["why", "calls", "--as", &account]).await;
        assert_eq!(why.code, 0, "{why:?}");
        assert!(why.stdout.contains("what you may not list: deployments, events"), "{why:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn ctrl_c_ends_the_work_of_the_server_too() {
    in_namespace(|namespace| async move {
        serve(&namespace, "calls", json!({})).await;
        let file = std::env::temp_dir().join(format!("{}.wav", namespace.name));
        std::fs::write(&file, minutes_of_audio()).unwrap();
        let mut command = kubectl();
        command.args([
            "parlance",
            "transcribe",
            file.to_str().unwrap(),
            "-s",
            "calls",
            "-n",
            &namespace.name,
        ]);
        // kubectl becomes the plugin: it has the same process id.
        let mut child = command.stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        until_metrics(&namespace, "parlance_requests_running 1").await;
        let pid = child.id().expect("it ended by itself").to_string();
        let interrupted = Command::new("kill").args(["-INT", &pid]).status().await.unwrap();
        assert!(interrupted.success());
        assert_eq!(child.wait().await.unwrap().code(), Some(130));
        let cancelled = "parlance_requests_total{api=\"HttpTranscriptions\",code=\"CANCELLED\"} 1";
        until_metrics(&namespace, cancelled).await;
        until_metrics(&namespace, "parlance_requests_running 0").await;
        std::fs::remove_file(&file).unwrap();
    })
    .await;
}

/// A recording of eight minutes: a short one again and again.
fn minutes_of_audio() -> Vec<u8> {
    const HEAD: usize = 44;
    let recordings = clear_recordings();
    let short = recordings
        .iter()
        .find(|one| one.file == "three-digits-16k.wav")
        .unwrap();
    let audio = short.audio();
    let mut wav = audio[..HEAD].to_vec();
    let samples = audio[HEAD..].repeat(200);
    let length = u32::try_from(samples.len()).unwrap();
    wav[4..8].copy_from_slice(&(length + 36).to_le_bytes());
    wav[40..44].copy_from_slice(&length.to_le_bytes());
    wav.extend(samples);
    wav
}

/// Waits until a line stands in the metrics of the namespace's only pod.
async fn until_metrics(namespace: &TestNamespace, line: &str) {
    wait_for(&format!("the metrics to say {line}"), || async {
        let pods = namespace.api::<Pod>().list(&ListParams::default()).await.unwrap();
        let Some(pod) = pods.items.first() else {
            return Found::NotYet("no pod".into());
        };
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}:8080/proxy/metrics",
            namespace.name,
            pod.name_any()
        );
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        match namespace.client.request_text(request).await {
            Ok(text) if text.lines().any(|one| one == line) => Found::Yes(()),
            Ok(text) => Found::NotYet(text),
            Err(error) => Found::NotYet(error.to_string()),
        }
    })
    .await;
}

fn typed<K: serde::de::DeserializeOwned>(kind: &str, mut object: Value) -> K {
    object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
    object["kind"] = json!(kind);
    serde_json::from_value(object).unwrap()
}
