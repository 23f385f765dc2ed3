//! A client of a running service: its address, its gRPC call, and the recordings to send.

use std::fs;
use std::process::Stdio;

use k8s_openapi::api::core::v1::Service;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use crate::api::transcription_client::TranscriptionClient;
use crate::api::{TranscribeRequest, TranscribeResponse};
use crate::manifest::repository;
use crate::namespace::TestNamespace;
use crate::wait::{Found, wait_for};

/// A recording of the repository and the words that are spoken in it.
#[derive(Clone, Debug, Deserialize)]
pub struct Recording {
    /// File in `models/whisper-nano-digits/samples`.
    pub file: String,
    /// The words.
    pub text: String,
    /// Whether the bundled model must get every word right.
    #[serde(default)]
    pub clear: bool,
}

impl Recording {
    /// The bytes of the file.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn audio(&self) -> Vec<u8> {
        let path = repository("models/whisper-nano-digits/samples").join(&self.file);
        fs::read(&path).unwrap_or_else(|e| panic!("failed to read {}: {e}", path.display()))
    }
}

/// The recordings that the bundled model must get right, in the order of the list.
///
/// # Panics
/// When the list cannot be read or has no such recording.
pub fn clear_recordings() -> Vec<Recording> {
    let path = repository("models/whisper-nano-digits/samples/samples.jsonl");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("failed to read {}: {e}", path.display()));
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let recordings = lines.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")));
    let clear: Vec<Recording> = recordings
        .filter(|r: &Recording| r.clear && !r.text.is_empty())
        .collect();
    assert!(!clear.is_empty(), "{} lists no clear recording", path.display());
    clear
}

/// Sends a recording to `address` (host:port) and returns what the service answers.
///
/// # Errors
/// When the address cannot be reached or the service refuses the call.
pub async fn transcribe(address: &str, audio: Vec<u8>) -> Result<TranscribeResponse, String> {
    let endpoint = Channel::from_shared(format!("http://{address}")).map_err(|e| e.to_string())?;
    let channel = endpoint
        .connect()
        .await
        .map_err(|e| format!("failed to connect to {address}: {e:?}"))?;
    let request = TranscribeRequest { config: None, audio };
    let answer = TranscriptionClient::new(channel).transcribe(request).await;
    answer
        .map(|response| response.into_inner())
        .map_err(|status| status.to_string())
}

/// Address of a service's ClusterIP, reachable from this machine where the cluster is on it, once it takes connections: kube-proxy hears
/// of pods that are ready a moment after the operator does.
///
/// # Panics
/// When the Service has no address, or takes no connection.
pub async fn cluster_ip(namespace: &TestNamespace, service: &str, port: i32) -> String {
    let service: Service = namespace
        .api()
        .get(service)
        .await
        .expect("failed to read the Service");
    let ip = service
        .spec
        .and_then(|spec| spec.cluster_ip)
        .expect("the Service has no ClusterIP");
    let address = format!("{ip}:{port}");
    wait_for(&format!("{address} to take a connection"), || async {
        match TcpStream::connect(&address).await {
            Ok(_) => Found::Yes(()),
            Err(error) => Found::NotYet(error.to_string()),
        }
    })
    .await;
    address
}

/// Whether ClusterIPs can be reached from here: so on the cluster that `make cluster-up` boots, on no other.
pub fn cluster_is_here() -> bool {
    std::env::var("PARLANCE_CLUSTER").is_ok_and(|cluster| cluster == "own")
}

/// A running `kubectl port-forward`; it ends when this is dropped.
pub struct PortForward {
    _kubectl: Child,
    /// Address on this machine.
    pub address: String,
}

/// Forwards a port of this machine to a port of a Service, as a person would.
///
/// # Panics
/// When kubectl cannot be run or does not forward.
pub async fn port_forward(namespace: &TestNamespace, service: &str, port: i32) -> PortForward {
    let mut kubectl = Command::new("kubectl")
        .args([
            "-n",
            &namespace.name,
            "port-forward",
            &format!("svc/{service}"),
            &format!(":{port}"),
        ])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("failed to run kubectl");
    let stdout = kubectl.stdout.take().expect("kubectl has an output");
    let mut lines = BufReader::new(stdout).lines();
    let first = lines
        .next_line()
        .await
        .expect("failed to read kubectl's output")
        .unwrap_or_default();
    // Forwarding from 127.0.0.1:41234 -> 50051
    let address = first.split_whitespace().nth(2).unwrap_or_default().to_owned();
    assert!(
        address.starts_with("127.0.0.1:"),
        "kubectl does not forward: {first:?}"
    );
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    PortForward {
        _kubectl: kubectl,
        address,
    }
}
