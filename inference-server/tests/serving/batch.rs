//! Recordings of a folder or a bucket, transcribed by the program itself through a server.

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

use axum::{Router, body::Body, extract::Request};
use inference_server::{keys::Keys, run::Config};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::{
    certificates::{Authority, start},
    harness::{OpenStream, Serving, config, ended, eventually, file_config, narrow, sample},
    process::binary,
};

/// Two folders, and runs of the program over them.
struct Folders(TempDir);

impl Folders {
    fn new() -> Folders {
        let folders = Folders(tempfile::tempdir().unwrap());
        fs::create_dir(folders.from()).unwrap();
        folders
    }

    fn from(&self) -> std::path::PathBuf {
        self.0.path().join("recordings")
    }

    fn to(&self) -> std::path::PathBuf {
        self.0.path().join("transcripts")
    }

    fn put(&self, name: impl AsRef<Path>, bytes: &[u8]) {
        let path = self.from().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn kept(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.to().join(name)).ok()
    }

    /// The program over both, with what else it is told.
    fn batch(&self, service: &str, flags: &[&str]) -> Command {
        batch(
            &[
                &format!("--from={}", self.from().display()),
                &format!("--to={}", self.to().display()),
                &format!("--service={service}"),
            ],
            flags,
        )
    }
}

fn batch(places: &[&str], flags: &[&str]) -> Command {
    let mut command = binary();
    command.arg("batch").args(places).args(flags);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn http(serving: &Serving) -> String {
    format!("http://{}", serving.grpc)
}

/// Its exit code and its last line; all of what it said when the code is another one.
async fn ran(mut command: Command, code: i32) -> String {
    over(command.spawn().unwrap(), code).await
}

async fn over(child: Child, code: i32) -> String {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let Output {
        status,
        stdout,
        stderr,
    } = output.await.unwrap();
    let (stdout, stderr) = (
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    );
    assert_eq!(status.code(), Some(code), "{stdout}{stderr}");
    let last = if stdout.is_empty() { &stderr } else { &stdout };
    last.lines().last().unwrap().to_owned()
}

fn begins(line: &str, counts: &str) {
    let line = line.strip_prefix("parlance-server: ").unwrap_or(line);
    assert!(line.starts_with(counts), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_transcribed_but_for_what_is_damaged_and_a_second_run_skips_what_is_done() {
    let serving = Serving::start(config()).await;
    let folders = Folders::new();
    let ((three, said), (four, said_too)) = (sample("three-digits-16k.wav"), sample("four-digits-8k.wav"));
    let (three_too, said_there) = sample("three-digits-16k.flac");
    folders.put("three.wav", &three);
    folders.put("sub/dir/three.FLAC", &three_too);
    folders.put("damaged.mp3", b"this is no audio at all, whatever its name is");
    folders.put("empty.wav", b"");
    folders.put(OsStr::from_bytes(b"caf\xe9.wav"), &three);
    folders.put("notes.txt", b"nothing to hear");
    folders.put(".hidden/three.wav", &three);
    let flags = ["--format=txt,srt,json", "--parallel=2", "--word-timestamps"];
    let last = ran(folders.batch(&http(&serving), &flags), 3).await;
    begins(&last, "2 transcribed, 0 skipped, 3 failed: ");
    assert!(last.contains("real-time factor"), "{last}");
    for (name, said) in [("three.wav", &said), ("sub/dir/three.FLAC", &said_there)] {
        assert_eq!(
            folders.kept(&format!("{name}.txt")),
            Some(format!("{said}\n")),
            "{name}"
        );
        let srt = folders.kept(&format!("{name}.srt")).unwrap();
        assert!(srt.starts_with("1\n00:00:0") && srt.contains(said), "{srt}");
        let json: Value = serde_json::from_str(&folders.kept(&format!("{name}.json")).unwrap()).unwrap();
        assert_eq!(
            (&json["text"], json["words"].as_array().unwrap().len()),
            (&said.clone().into(), 3)
        );
        assert!(
            json["model"]["digest"].as_str().unwrap().starts_with("sha256:"),
            "{json}"
        );
    }
    for name in ["damaged.mp3", "empty.wav"] {
        let why = folders.kept(&format!("{name}.error.txt")).unwrap();
        assert!(why.len() > 10 && why.ends_with('\n'), "{name}: {why}");
        assert_eq!(folders.kept(&format!("{name}.txt")), None);
    }
    let kept = walkdir::WalkDir::new(folders.to()).into_iter().flatten();
    assert_eq!(kept.filter(|one| one.file_type().is_file()).count(), 8);

    // What is repaired, and what is new, is transcribed; what is done is not.
    folders.put("damaged.mp3", &four);
    fs::remove_file(folders.from().join(OsStr::from_bytes(b"caf\xe9.wav"))).unwrap();
    fs::remove_file(folders.from().join("empty.wav")).unwrap();
    let asked = serving.metric(&ended("Transcribe", "OK")).await;
    let last = ran(folders.batch(&http(&serving), &flags), 0).await;
    begins(&last, "1 transcribed, 2 skipped, 0 failed: ");
    assert_eq!(folders.kept("damaged.mp3.txt"), Some(format!("{said_too}\n")));
    assert_eq!(folders.kept("damaged.mp3.error.txt"), None);
    folders.put("three.wav", &four);
    let last = ran(folders.batch(&http(&serving), &flags), 0).await;
    begins(&last, "1 transcribed, 2 skipped, 0 failed: ");
    assert_eq!(folders.kept("three.wav.txt"), Some(format!("{said_too}\n")));
    let last = ran(folders.batch(&http(&serving), &flags), 0).await;
    begins(&last, "0 transcribed, 3 skipped, 0 failed: ");
    assert_eq!(serving.metric(&ended("Transcribe", "OK")).await, asked + 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_an_indexed_job_share_the_recordings() {
    let serving = Serving::start(config()).await;
    let folders = Folders::new();
    let (audio, said) = sample("one-digit-16k.wav");
    let names: Vec<String> = (0..6).map(|number| format!("{number}.wav")).collect();
    for name in &names {
        folders.put(name, &audio);
    }
    let mut all = 0;
    for index in ["0", "1"] {
        let mut command = folders.batch(&http(&serving), &["--shards=2"]);
        command.env("JOB_COMPLETION_INDEX", index);
        let last = ran(command, 0).await;
        let done: usize = last.split(' ').next().unwrap().parse().unwrap();
        assert!((1..6).contains(&done), "{last}");
        assert!(last.contains(" transcribed, 0 skipped, 0 failed: "), "{last}");
        all += done;
    }
    assert_eq!(all, 6);
    for name in &names {
        assert_eq!(
            folders.kept(&format!("{name}.txt")),
            Some(format!("{said}\n")),
            "{name}"
        );
    }
    let mut command = folders.batch(&http(&serving), &["--shards=2"]);
    command.env("JOB_COMPLETION_INDEX", "2");
    let last = ran(command, 1).await;
    assert!(last.contains("no shard 2 of 2"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_or_absent_service_is_awaited_and_a_recording_that_changes_meanwhile_is_not_kept() {
    // Nobody listens there before the server does.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let folders = Folders::new();
    let (audio, said) = sample("one-digit-16k.wav");
    folders.put("a.wav", &audio);
    let mut absent = folders.batch(&format!("http://{address}"), &[]).spawn().unwrap();
    let mut log = String::new();
    let mut lines = std::io::BufReader::new(absent.stderr.take().unwrap());
    while !log.contains("cannot be reached") {
        assert_ne!(
            std::io::BufRead::read_line(&mut lines, &mut log).unwrap(),
            0,
            "{log}"
        );
    }
    let serving = Serving::start(Config {
        grpc_addr: address,
        ..narrow()
    })
    .await;
    begins(&over(absent, 0).await, "1 transcribed, 0 skipped, 0 failed: ");
    assert_eq!(folders.kept("a.wav.txt"), Some(format!("{said}\n")));

    folders.put("b.wav", &audio);
    let mut client = serving.client().await;
    let stream = OpenStream::open(&mut client, file_config()).await.unwrap();
    let busy = folders.batch(&http(&serving), &[]).spawn().unwrap();
    eventually("the batch is refused", async || {
        serving.metric(&ended("Transcribe", "RESOURCE_EXHAUSTED")).await >= 1.0
    })
    .await;
    assert_eq!(folders.kept("b.wav.txt"), None);
    drop((stream, client));
    begins(&over(busy, 0).await, "1 transcribed, 1 skipped, 0 failed: ");
    assert_eq!(folders.kept("b.wav.txt"), Some(format!("{said}\n")));
    drop(lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_changes_while_it_is_heard_is_left_to_the_next_run() {
    let serving = Serving::start(config()).await;
    let folders = Folders::new();
    let (audio, said) = sample("one-digit-16k.wav");
    folders.put("a.wav", &sample("four-digits-8k.wav").0);
    let mut client = serving.client().await;
    let stream = OpenStream::open(&mut client, file_config()).await.unwrap();
    let child = folders.batch(&http(&serving), &[]).spawn().unwrap();
    serving.metric_becomes("parlance_requests_queued", 1.0).await;
    folders.put("a.wav", &audio);
    drop((stream, client));
    begins(&over(child, 1).await, "0 transcribed, 0 skipped, 1 failed: ");
    assert_eq!(folders.kept("a.wav.txt"), None);
    let why = folders.kept("a.wav.error.txt").unwrap();
    assert_eq!(why, "it was changed while it was transcribed\n");
    begins(
        &ran(folders.batch(&http(&serving), &[]), 0).await,
        "1 transcribed, ",
    );
    assert_eq!(folders.kept("a.wav.txt"), Some(format!("{said}\n")));
    assert_eq!(folders.kept("a.wav.error.txt"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_it_finishes_what_is_under_way_and_the_next_run_goes_on() {
    let serving = Serving::start(config()).await;
    let folders = Folders::new();
    let (audio, said) = sample("one-digit-16k.wav");
    for name in ["a.wav", "b.wav", "c.wav"] {
        folders.put(name, &audio);
    }
    let mut client = serving.client().await;
    let stream = OpenStream::open(&mut client, file_config()).await.unwrap();
    let flags = ["--parallel=1", "--drain-timeout=1h"];
    let mut child = folders.batch(&http(&serving), &flags).spawn().unwrap();
    serving.metric_becomes("parlance_requests_queued", 1.0).await;
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let mut log = String::new();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
    while !log.contains("told to end") {
        assert_ne!(
            std::io::BufRead::read_line(&mut lines, &mut log).unwrap(),
            0,
            "{log}"
        );
    }
    drop((stream, client));
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap())
        .await
        .unwrap();
    std::io::Read::read_to_string(&mut lines, &mut log).unwrap();
    assert_eq!(status.code(), Some(143), "{log}");
    assert!(
        log.contains("the next run goes on; 1 transcribed, 0 skipped, 0 failed, 2 left: "),
        "{log}"
    );
    assert_eq!(folders.kept("a.wav.txt"), Some(format!("{said}\n")));
    assert_eq!(
        fs::read_dir(folders.to()).unwrap().count(),
        1,
        "nothing is half written"
    );
    let last = ran(folders.batch(&http(&serving), &[]), 0).await;
    begins(&last, "2 transcribed, 1 skipped, 0 failed: ");

    // Who is not let finish leaves nothing behind either.
    folders.put("d.wav", &audio);
    let mut client = serving.client().await;
    let stream = OpenStream::open(&mut client, file_config()).await.unwrap();
    let child = folders
        .batch(&http(&serving), &["--drain-timeout=0s"])
        .spawn()
        .unwrap();
    serving.metric_becomes("parlance_requests_queued", 1.0).await;
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    assert!(
        over(child, 143)
            .await
            .contains("0 transcribed, 3 skipped, 0 failed, 1 left: ")
    );
    assert_eq!(fs::read_dir(folders.to()).unwrap().count(), 3);
    drop(stream);
    serving.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_recording_would_meet_ends_the_run_with_a_sentence() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# ours\nsecret").unwrap();
    let authority = Authority::new();
    let mount = authority.sign(2091).mount();
    let serving = start(&authority, mount.settings()).await;
    let trusted = tempfile::NamedTempFile::new().unwrap();
    fs::write(trusted.path(), authority.pem()).unwrap();
    let ca = format!("--ca-file={}", trusted.path().display());
    let folders = Folders::new();
    folders.put("a.wav", &sample("one-digit-16k.wav").0);
    let https = format!("https://localhost:{}", serving.grpc.port());

    let mut config = config();
    config.settings.keys = Some(Arc::new(Keys::open(file.path()).unwrap()));
    let locked = Serving::start(config).await;
    let key = format!("--api-key-file={}", file.path().display());
    for (service, flags, said) in [
        (https.clone(), vec![], "--ca-file"),
        (https.clone(), vec![ca.as_str(), "--language=xx"], "\"xx\""),
        (http(&locked), vec![], "--api-key-file"),
        (format!("http://{}", locked.http), vec![key.as_str()], "gRPC port"),
    ] {
        let last = ran(folders.batch(&service, &flags), 1).await;
        assert!(last.contains(said), "{said}: {last}");
        assert!(
            last.contains("0 transcribed, 0 skipped, 0 failed, 1 left: "),
            "{last}"
        );
    }
    assert_eq!(fs::read_dir(folders.to()).unwrap().count(), 0);
    begins(&ran(folders.batch(&https, &[&ca]), 0).await, "1 transcribed, ");
    folders.put("b.wav", &sample("one-digit-16k.wav").0);
    let mut command = folders.batch(&http(&locked), &[]);
    command.env("PARLANCE_API_KEY", "secret");
    begins(&ran(command, 0).await, "1 transcribed, 1 skipped, ");
    folders.put("c.wav", &sample("one-digit-16k.wav").0);
    begins(
        &ran(folders.batch(&http(&locked), &[&key]), 0).await,
        "1 transcribed, 2 skipped, ",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_is_too_large_fails_alone() {
    let mut config = config();
    config.settings.max_message_size = 60_000;
    let serving = Serving::start(config).await;
    let folders = Folders::new();
    folders.put("large.wav", &sample("three-digits-16k.wav").0);
    folders.put("small.wav", &sample("one-digit-16k.wav").0);
    begins(
        &ran(folders.batch(&http(&serving), &[]), 3).await,
        "1 transcribed, 0 skipped, 1 failed: ",
    );
    let why = folders.kept("large.wav.error.txt").unwrap();
    assert!(why.contains("larger than 60000 bytes"), "{why}");
    let asked = serving.metric(&ended("Transcribe", "RESOURCE_EXHAUSTED")).await;
    let flags = ["--max-message-size=70000"];
    begins(
        &ran(folders.batch(&http(&serving), &flags), 3).await,
        "0 transcribed, 1 skipped, 1 failed: ",
    );
    let why = folders.kept("large.wav.error.txt").unwrap();
    assert!(why.contains("more than the 70000"), "{why}");
    let now = serving.metric(&ended("Transcribe", "RESOURCE_EXHAUSTED")).await;
    assert_eq!(now, asked, "it was not sent");
}

const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "AKIDPARLANCE"),
    ("AWS_SECRET_ACCESS_KEY", "key-secret"),
];

/// A server that speaks S3 and checks every signature, over a folder of buckets.
async fn buckets(root: &Path) -> String {
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    service.set_auth(SimpleAuth::from_single(KEYS[0].1, KEYS[1].1));
    let service = service.build();
    let router = Router::new().fallback(move |request: Request| {
        let service = service.clone();
        async move { service.oneshot(request).await.unwrap().map(Body::new) }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_transcribed_into_another_and_a_second_run_skips_all() {
    let serving = Serving::start(config()).await;
    let root = tempfile::tempdir().unwrap();
    for folder in ["calls/2026/late", "calls/2025", "words"] {
        fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    let (audio, said) = sample("three-digits-16k.wav");
    fs::write(root.path().join("calls/2026/a b.wav"), &audio).unwrap();
    fs::write(root.path().join("calls/2026/late/é.wav"), &audio).unwrap();
    fs::write(root.path().join("calls/2026/damaged.ogg"), "OggS and no more").unwrap();
    fs::write(root.path().join("calls/2025/old.wav"), &audio).unwrap();
    let endpoint = format!("--s3-endpoint={}", buckets(root.path()).await);
    let run = |keys: &[(&str, &str)], from: &str| {
        let service = format!("--service={}", http(&serving));
        let from = format!("--from={from}");
        let mut command = batch(
            &[&from, "--to=s3://words/of/calls", &service],
            &[&endpoint, "--format=txt,vtt"],
        );
        command.envs(keys.iter().copied());
        command
    };
    begins(
        &ran(run(&KEYS, "s3://calls/2026/"), 3).await,
        "2 transcribed, 0 skipped, 1 failed: ",
    );
    let kept = |name: &str| fs::read_to_string(root.path().join("words/of/calls").join(name)).unwrap();
    for name in ["a b.wav", "late/é.wav"] {
        assert_eq!(kept(&format!("{name}.txt")), format!("{said}\n"), "{name}");
        assert!(kept(&format!("{name}.vtt")).starts_with("WEBVTT\n"), "{name}");
    }
    assert!(!kept("damaged.ogg.error.txt").is_empty());
    fs::remove_file(root.path().join("calls/2026/damaged.ogg")).unwrap();
    begins(
        &ran(run(&KEYS, "s3://calls/2026"), 0).await,
        "0 transcribed, 2 skipped, 0 failed: ",
    );

    let wrong = [KEYS[0], ("AWS_SECRET_ACCESS_KEY", "another-secret")];
    for (keys, from, said) in [
        (
            &wrong[..],
            "s3://calls/2026",
            "refuses access (SignatureDoesNotMatch)",
        ),
        (&KEYS[..], "s3://nowhere", "s3://nowhere/"),
    ] {
        let last = ran(run(keys, from), 1).await;
        assert!(last.contains(said) && !last.contains("another-secret"), "{last}");
    }
}
