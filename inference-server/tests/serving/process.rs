//! The real binary: signals, exit codes, standard error.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use serde_json::Value;

use crate::harness::{OpenStream, client, eventually, file_config, sample, words};
use crate::http::get;

pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlance-server"));
    command.env_clear();
    command
}

/// A server process; killed when the test fails.
pub struct Process {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Process {
    fn serve() -> Self {
        Self::serve_with(|command| command)
    }

    /// With flags or an environment of its own.
    pub fn serve_with(configure: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let addresses = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"];
        let mut command = binary();
        command
            .arg("serve")
            .args(addresses)
            .args(["--log-format", "json", "--timeout", "1h"]);
        command.args(["--drain-timeout", "1h"]).stderr(Stdio::piped());
        let mut child = configure(&mut command).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Process { child, log }
    }

    /// The next log line with the message.
    pub fn line(&mut self, message: &str) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.log.read_line(&mut line).unwrap(),
                0,
                "the log ends before \"{message}\""
            );
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"] == message {
                return line;
            }
        }
    }

    pub fn addresses(&mut self) -> (SocketAddr, SocketAddr) {
        let line = self.line("listening");
        let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
        (address("grpc"), address("http"))
    }

    /// Waits until it has left by itself.
    pub async fn ended(&mut self) {
        eventually("it leaves", async || self.child.try_wait().unwrap().is_some()).await;
        assert!(self.child.wait().unwrap().success());
    }

    pub fn terminate(&self) {
        let killed = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has usually left by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_makes_it_unready_lets_the_stream_finish_and_exits_with_zero() {
    let mut process = Process::serve();
    let (grpc, http) = process.addresses();
    eventually("it is ready", async || {
        get(http, "/health/ready").await.status == 200
    })
    .await;
    let mut client = client(grpc).await;
    let stream = OpenStream::open(&mut client, file_config()).await.unwrap();
    process.terminate();
    eventually("it is not ready", async || {
        get(http, "/health/ready").await.status == 503
    })
    .await;
    let (recording, said) = sample("three-digits-16k.wav");
    let results = stream
        .finish(recording.chunks(3200).map(<[u8]>::to_vec).collect())
        .await
        .unwrap();
    assert_eq!(words(&results), said);
    drop(client);
    process.ended().await;

    let line = process.line("request");
    assert_eq!(
        (line["api"].as_str(), line["code"].as_str()),
        (Some("StreamingTranscribe"), Some("OK")),
        "{line}"
    );
    assert!(line["audio_seconds"].as_f64().unwrap() > 2.0, "{line}");
    assert!(
        !line.to_string().contains(&said),
        "the log must not hold the text"
    );
    process.line("stopped");
}

/// Its last words, when it ends with exit code 1.
pub fn fails(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(stdout.is_empty());
    let stderr = String::from_utf8(stderr).unwrap();
    stderr.lines().last().expect("a sentence").to_owned()
}

#[test]
fn a_model_that_is_not_there_or_not_the_right_one_exits_with_one_and_a_sentence() {
    let serve = || {
        let mut command = binary();
        command.args([
            "serve",
            "--grpc-addr",
            "127.0.0.1:0",
            "--http-addr",
            "127.0.0.1:0",
        ]);
        command
    };
    let missing = fails(serve().args(["--model", "/no/such/model"]));
    assert!(
        missing.starts_with("parlance-server: ") && missing.contains("/no/such/model"),
        "{missing}"
    );
    let wrong = fails(serve().env("PARLANCE_DIGEST", "sha256:00"));
    assert!(
        wrong.contains("has the digest sha256:") && wrong.contains("sha256:00 was asked for"),
        "{wrong}"
    );
    let level = fails(serve().args(["--log-level", "loud"]));
    assert!(level.contains("log level"), "{level}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let busy = fails(binary().args(["serve", "--grpc-addr", &address, "--http-addr", "127.0.0.1:0"]));
    assert!(busy.contains(&address), "{busy}");
}

#[test]
fn without_a_subcommand_it_prints_its_help() {
    let Output { stderr, .. } = binary().output().unwrap();
    let help = String::from_utf8(stderr).unwrap();
    for command in ["serve", "transcribe", "batch", "inspect", "fetch"] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command} is missing in\n{help}"
        );
    }
}
