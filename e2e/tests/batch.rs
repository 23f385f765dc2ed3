//! A claim full of recordings, transcribed by the Job of the example through a service.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::collections::BTreeMap;

use crds::TranscriptionService;
use e2e::client::clear_recordings;
use e2e::manifest::{example, repository};
use e2e::{TestNamespace, in_namespace};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{ListParams, LogParams};
use serde_json::{Value, json};

fn server_image() -> String {
    std::env::var("PARLANCE_SERVER_IMAGE").expect("PARLANCE_SERVER_IMAGE names the server's image")
}

/// The documents of the example by their kind.
fn documents() -> BTreeMap<String, Vec<Value>> {
    let mut documents: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for document in example("batch.yaml") {
        let kind = document["kind"].as_str().unwrap().to_owned();
        documents.entry(kind).or_default().push(document);
    }
    documents
}

/// The Job of the example, under another name and with another container.
fn job(name: &str, changed: impl FnOnce(&mut Value)) -> Job {
    let mut job = documents()["Job"][0].clone();
    job["metadata"]["name"] = json!(name);
    let container = &mut job["spec"]["template"]["spec"]["containers"][0];
    container["image"] = json!(server_image());
    changed(container);
    serde_json::from_value(job).unwrap()
}

/// The same with one pod.
fn alone(mut job: Job) -> Job {
    let spec = job.spec.as_mut().unwrap();
    (spec.completions, spec.parallelism) = (Some(1), Some(1));
    job
}

/// Runs a Job to its end and returns the log of each of its pods.
async fn logs_of(namespace: &TestNamespace, job: &Job) -> Vec<String> {
    let name = namespace.apply(job).await.name_any();
    let ended = namespace
        .until::<Job>(&name, "to end", |job| {
            let status = job.status.clone().unwrap_or_default();
            let conditions = status.conditions.clone().unwrap_or_default();
            let ended = |one: &&str| conditions.iter().any(|c| c.type_ == *one && c.status == "True");
            ["Complete", "Failed"]
                .iter()
                .any(ended)
                .then_some(())
                .ok_or(format!("{status:?}"))
        })
        .await;
    let pods = namespace.api::<Pod>();
    let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"));
    let mut logs = Vec::new();
    for pod in pods.list(&of_job).await.unwrap() {
        logs.push(pods.logs(&pod.name_any(), &LogParams::default()).await.unwrap());
    }
    let conditions = ended.status.unwrap().conditions.unwrap();
    let complete = conditions
        .iter()
        .any(|one| one.type_ == "Complete" && one.status == "True");
    assert!(complete, "{conditions:?}\n{}", logs.join("\n"));
    logs
}

/// The numbers before the word in the lines that sum up, added. Such a line need not be the last: a container's standard
/// output and its standard error are two pipes, and the runtime may write what came by one before what came by the other.
fn counted(logs: &[String], word: &str) -> usize {
    let number = |line: &str| {
        let (counts, _) = line.split_once(':')?;
        counts
            .split(", ")
            .find_map(|part| part.strip_suffix(word)?.trim().parse::<usize>().ok())
    };
    let of_pod = |log: &String| {
        log.lines()
            .find_map(number)
            .unwrap_or_else(|| panic!("no {word} in {log}"))
    };
    logs.iter().map(of_pod).sum()
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_claim_of_recordings_is_transcribed_by_an_indexed_job_and_a_second_run_skips_all() {
    in_namespace(|namespace| async move {
        let documents = documents();
        for claim in &documents["PersistentVolumeClaim"] {
            let claim: PersistentVolumeClaim = serde_json::from_value(claim.clone()).unwrap();
            namespace.apply(&claim).await;
        }
        // The bundled model comes with recordings: this is how some get onto the claim here.
        let fill = job("fill", |container| {
            container["args"] = json!(["fetch", "--bundled=whisper-nano-digits", "--to=/recordings/model"]);
            container["volumeMounts"][0]["readOnly"] = json!(false);
        });
        logs_of(&namespace, &alone(fill)).await;

        // The Job is there first: it waits for the service.
        let running = job("calls", |_| {});
        namespace.apply(&running).await;
        let service = documents["TranscriptionService"][0].clone();
        let service: TranscriptionService = serde_json::from_value(service).unwrap();
        namespace.apply(&service).await;
        let logs = logs_of(&namespace, &running).await;
        let samples = std::fs::read_dir(repository("models/whisper-nano-digits/samples")).unwrap();
        let names = samples.map(|one| one.unwrap().file_name().into_string().unwrap());
        let recordings = names.filter(|name| name.ends_with(".wav") || name.ends_with(".flac")).count();
        assert_eq!(counted(&logs, "transcribed"), recordings, "{logs:?}");
        assert_eq!(counted(&logs, "failed"), 0);
        assert!(logs.len() == 2 && logs.iter().all(|log| counted(std::slice::from_ref(log), "transcribed") > 0), "both worked: {logs:?}");

        // What is on the claim, as any pod sees it.
        let reader = job("read", |container| {
            let image = std::env::var("PARLANCE_BUSYBOX_IMAGE").unwrap_or_else(|_| "busybox".into());
            container["image"] = json!(image);
            let script = "cd /transcripts/model/samples && for file in *.txt *.srt; do echo \"$file=$(cat $file | tr '\\n' ' ')\"; done";
            container["command"] = json!(["/bin/sh", "-c", script]);
            container["args"] = json!([]);
        });
        let log = logs_of(&namespace, &alone(reader)).await.remove(0);
        let kept: BTreeMap<&str, &str> = log.lines().filter_map(|line| line.split_once('=')).collect();
        for recording in clear_recordings() {
            let text = kept.get(format!("{}.txt", recording.file).as_str());
            assert_eq!(text.map(|text| text.trim()), Some(recording.text.as_str()), "{log}");
            let subtitles = kept[format!("{}.srt", recording.file).as_str()];
            assert!(subtitles.starts_with("1 00:00:"), "{subtitles}");
        }
        assert_eq!(kept.len(), 2 * recordings, "no more and no less: {log}");

        let again = logs_of(&namespace, &job("again", |_| {})).await;
        assert_eq!((counted(&again, "transcribed"), counted(&again, "skipped")), (0, recordings));
    })
    .await;
}
