//! A server in this process, clients for it, recordings to send, and waiting for conditions.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use inference_server::{
    kind::ModelFormat,
    model::{Device, Precision},
    pipeline::Options,
    proto::{
        AudioEncoding, StreamingConfig, StreamingTranscribeRequest, StreamingTranscribeResponse,
        TranscribeRequest, streaming_transcribe_request::Request as Part,
        transcription_client::TranscriptionClient,
    },
    run::{Config, Error, Server, load_model},
    telemetry::LogFormat,
    transcriber::Settings,
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

use crate::http::get;

/// Long enough for any machine; passing it means that the condition will not come.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server that answers.
pub struct Serving {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub shutdown: mpsc::Sender<()>,
    pub task: JoinHandle<Result<(), Error>>,
}

/// The bundled model on free ports; time is no object.
pub fn config() -> Config {
    let hour = Duration::from_secs(3600);
    Config {
        model: model(),
        format: ModelFormat::Whisper,
        model_name: None,
        digest: None,
        dtype: None,
        device: Device::Auto,
        precision: Precision::Auto,
        threads: 1,
        grpc_addr: ([127, 0, 0, 1], 0).into(),
        http_addr: ([127, 0, 0, 1], 0).into(),
        tls: None,
        otlp_endpoint: None,
        settings: Settings {
            options: Options::default(),
            timeout: hour,
            max_audio_duration: hour,
            max_message_size: 64 << 20,
            keys: None,
        },
        max_concurrent: 1,
        queue_limit: 16,
        drain_timeout: hour,
        log_format: LogFormat::Text,
        log_level: "info".to_owned(),
    }
}

/// One at a time and nobody waits: whoever holds the permit makes the server busy.
pub fn narrow() -> Config {
    Config {
        queue_limit: 0,
        ..config()
    }
}

impl Serving {
    /// Starts it and waits until it is ready.
    pub async fn start(config: Config) -> Self {
        let model = config.clone();
        let serving = Self::start_with(config, move || load_model(&model)).await;
        eventually("the server is ready", async || {
            get(serving.http, "/health/ready").await.status == 200
        })
        .await;
        serving
    }

    /// Starts it with another way to load; it may not be ready yet.
    pub async fn start_with(
        config: Config,
        load: impl FnOnce() -> Result<inference_server::model::Model, Error> + Send + 'static,
    ) -> Self {
        let server = Server::bind(config).await.unwrap();
        let (grpc, http) = server.addresses().unwrap();
        let (shutdown, told) = mpsc::channel(2);
        let task = tokio::spawn(server.run_with(load, told));
        Serving {
            grpc,
            http,
            shutdown,
            task,
        }
    }

    /// A client on a connection of its own.
    pub async fn client(&self) -> TranscriptionClient<Channel> {
        client(self.grpc).await
    }

    /// The value of the metric whose line begins with `name`, and a blank; 0 when there is none yet.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = get(self.http, "/metrics").await.text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has the value.
    pub async fn metric_becomes(&self, name: &str, value: f64) {
        eventually(&format!("{name} becomes {value}"), async || {
            self.metric(name).await == value
        })
        .await;
    }

    /// Waits until it has left, and returns why.
    pub async fn ended(self) -> Result<(), Error> {
        let ended = timeout(PATIENCE, self.task).await;
        ended.expect("it leaves").unwrap()
    }

    /// Waits until nothing runs and nothing waits.
    pub async fn idle(&self) {
        self.metric_becomes("parlance_requests_running", 0.0).await;
        self.metric_becomes("parlance_requests_queued", 0.0).await;
    }
}

/// A client of the gRPC port at an address.
pub async fn client(grpc: SocketAddr) -> TranscriptionClient<Channel> {
    TranscriptionClient::new(channel(grpc).await)
}

/// A connection to the gRPC port at an address.
pub async fn channel(grpc: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{grpc}"))
        .unwrap()
        .timeout(PATIENCE)
        .connect()
        .await
        .unwrap()
}

/// How many requests of an API ended with a code.
pub fn ended(api: &str, code: &str) -> String {
    format!("parlance_requests_total{{api=\"{api}\",code=\"{code}\"}}")
}

/// Asks again until the condition holds; fails when it never does.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn model() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/whisper-nano-digits")
}

/// A recording of the bundled model, and what is said in it.
pub fn sample(file: &str) -> (Vec<u8>, String) {
    let samples = model().join("samples");
    let lines = std::fs::read_to_string(samples.join("samples.jsonl")).unwrap();
    let mut entries = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let entry = entries
        .find(|entry| entry["file"] == file)
        .expect("samples.jsonl lists the file");
    assert_eq!(
        entry["clear"], true,
        "{file} is not one that is transcribed exactly"
    );
    (
        std::fs::read(samples.join(file)).unwrap(),
        entry["text"].as_str().unwrap().to_owned(),
    )
}

/// So much silence, as a WAV file at 8 kHz.
pub fn silence(duration: Duration) -> Vec<u8> {
    wav((0..samples(duration)).map(|_| 0))
}

/// Somebody who says the same over and over for so long, as a WAV file at 8 kHz.
pub fn speech(duration: Duration) -> Vec<u8> {
    let once = hound::WavReader::new(&sample("four-digits-8k.wav").0[..])
        .unwrap()
        .into_samples::<i16>()
        .map(Result::unwrap)
        .collect::<Vec<_>>();
    wav(once.into_iter().cycle().take(samples(duration)))
}

fn samples(duration: Duration) -> usize {
    usize::try_from(duration.as_secs()).unwrap() * 8000
}

fn wav(samples: impl Iterator<Item = i16>) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
    for sample in samples {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    file.into_inner()
}

/// A unary request with the defaults of the server.
pub fn request(audio: impl Into<Vec<u8>>) -> TranscribeRequest {
    TranscribeRequest {
        config: None,
        audio: audio.into().into(),
    }
}

/// The client's end of an open stream.
pub struct OpenStream {
    pub send: mpsc::Sender<StreamingTranscribeRequest>,
    pub receive: Streaming<StreamingTranscribeResponse>,
}

/// The first message for a WAV or FLAC file.
pub fn file_config() -> StreamingTranscribeRequest {
    raw_config(AudioEncoding::Unspecified, 0, 0)
}

/// A first message with any encoding.
pub fn raw_config(
    encoding: AudioEncoding,
    sample_rate_hertz: u32,
    channels: u32,
) -> StreamingTranscribeRequest {
    let config = StreamingConfig {
        encoding: encoding.into(),
        sample_rate_hertz,
        channels,
        ..StreamingConfig::default()
    };
    StreamingTranscribeRequest {
        request: Some(Part::Config(config)),
    }
}

/// A later message.
pub fn audio(bytes: &[u8]) -> StreamingTranscribeRequest {
    StreamingTranscribeRequest {
        request: Some(Part::Audio(bytes.to_vec().into())),
    }
}

impl OpenStream {
    /// Opens a stream; once this returns it holds its permit.
    pub async fn open(
        client: &mut TranscriptionClient<Channel>,
        first: StreamingTranscribeRequest,
    ) -> Result<Self, Status> {
        let (send, messages) = mpsc::channel(1);
        send.send(first).await.unwrap();
        let receive = client
            .streaming_transcribe(ReceiverStream::new(messages))
            .await?
            .into_inner();
        Ok(OpenStream { send, receive })
    }

    /// The next result; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<StreamingTranscribeResponse>, Status> {
        next(&mut self.receive).await
    }

    /// Sends pieces as fast as the server takes them, ends, and returns what came.
    pub async fn finish(self, pieces: Vec<Vec<u8>>) -> Result<Vec<StreamingTranscribeResponse>, Status> {
        let Self { send, mut receive } = self;
        let sending = tokio::spawn(async move {
            for piece in pieces {
                if send.send(audio(&piece)).await.is_err() {
                    return;
                }
            }
        });
        let mut results = Vec::new();
        while let Some(result) = next(&mut receive).await? {
            results.push(result);
        }
        sending.await.unwrap();
        Ok(results)
    }
}

async fn next(
    stream: &mut Streaming<StreamingTranscribeResponse>,
) -> Result<Option<StreamingTranscribeResponse>, Status> {
    let next = timeout(PATIENCE, stream.message()).await;
    next.expect("the server says something")
}

/// The text of all windows.
pub fn words(results: &[StreamingTranscribeResponse]) -> String {
    let segments = results.iter().flat_map(|result| &result.segments);
    segments
        .map(|segment| segment.text.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}
