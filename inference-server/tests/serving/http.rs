//! The HTTP port, by a client that writes bytes; and that client.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Serving, config, ended, sample};

/// What came back.
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }
}

async fn read(mut stream: impl AsyncRead + Unpin) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let split = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Answer {
        status,
        headers,
        body: bytes[split + 4..].to_vec(),
    }
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    exchange(address, "GET", path).await
}

async fn exchange(address: SocketAddr, method: &str, path: &str) -> Answer {
    ask(TcpStream::connect(address).await.unwrap(), method, path).await
}

/// Asks over a connection of any kind.
pub async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, method: &str, path: &str) -> Answer {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    read(stream).await
}

/// A form for `/v1/audio/transcriptions`.
pub struct Upload {
    form: Vec<u8>,
    head: String,
}

impl Upload {
    pub fn new() -> Self {
        Upload {
            form: Vec::new(),
            head: String::new(),
        }
    }

    /// A form with nothing but the audio.
    pub fn of(audio: &[u8]) -> Self {
        Self::new().part("file\"; filename=\"audio", audio)
    }

    pub fn field(self, name: &str, value: &str) -> Self {
        self.part(name, value.as_bytes())
    }

    fn part(mut self, name: &str, value: &[u8]) -> Self {
        self.form
            .extend(format!("--XX\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n").bytes());
        self.form.extend_from_slice(value);
        self.form.extend(b"\r\n");
        self
    }

    pub fn header(mut self, line: &str) -> Self {
        self.head += &format!("{line}\r\n");
        self
    }

    /// Sends it all, and does not read.
    pub async fn send(self, address: SocketAddr) -> TcpStream {
        self.send_to(address, "/v1/audio/transcriptions").await
    }

    async fn send_to(self, address: SocketAddr, path: &str) -> TcpStream {
        let stream = TcpStream::connect(address).await.unwrap();
        self.send_over(stream, path).await
    }

    async fn send_over<S: AsyncWrite + Unpin>(mut self, mut stream: S, path: &str) -> S {
        self.form.extend(b"--XX--\r\n");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n\
             content-type: multipart/form-data; boundary=XX\r\n{}\r\n",
            self.form.len(),
            self.head
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&self.form).await.unwrap();
        stream
    }
}

/// Sends a form over a connection of any kind.
pub async fn post_over(stream: impl AsyncRead + AsyncWrite + Unpin, upload: Upload) -> Answer {
    read(upload.send_over(stream, "/v1/audio/transcriptions").await).await
}

pub async fn post(address: SocketAddr, upload: Upload) -> Answer {
    read(upload.send(address).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn transcriptions_come_as_json_or_text() {
    let serving = Serving::start(config()).await;
    let (audio, said) = sample("three-digits-16k.wav");
    let answer = post(serving.http, Upload::of(&audio).header("x-request-id: mine-8")).await;
    let usage = json!({ "type": "duration", "seconds": 3 });
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({ "text": said, "usage": usage }))
    );
    assert_eq!(answer.header("x-request-id"), Some("mine-8"));

    let whole = Upload::of(&audio)
        .field("model", "whisper-1")
        .field("language", "en")
        .field("response_format", "text")
        .field("temperature", "0");
    let answer = post(serving.http, whole).await;
    assert_eq!((answer.status, answer.text()), (200, said + "\n"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let named = Upload::of(&audio).field("model", "whisper-nano-digits");
    assert_eq!(post(serving.http, named).await.status, 200);
    assert_eq!(serving.metric(&ended("HttpTranscriptions", "OK")).await, 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn verbose_json_has_segments_and_words_with_their_times() {
    let serving = Serving::start(config()).await;
    let (audio, said) = sample("three-digits-16k.wav");
    let verbose = || Upload::of(&audio).field("response_format", "verbose_json");
    let answer = post(serving.http, verbose()).await.json();
    assert_eq!(
        (&answer["text"], &answer["task"]),
        (&json!(said), &json!("transcribe"))
    );
    assert_eq!(answer["language"], "english");
    assert!(
        (2.3..2.5).contains(&answer["duration"].as_f64().unwrap()),
        "{answer}"
    );
    assert!(answer.get("words").is_none());
    let segment = &answer["segments"][0];
    assert_eq!(segment["text"], json!(format!(" {said}")));
    assert_eq!(
        (&segment["id"], &segment["temperature"]),
        (&json!(0), &json!(0.0))
    );
    // Its window begins where speech does.
    assert!(segment["seek"].as_u64().unwrap() < 50, "{segment}");
    assert!(segment["compression_ratio"].as_f64().unwrap() > 0.0, "{segment}");
    assert!(segment["tokens"].as_array().unwrap().len() >= 3, "{segment}");

    let both = verbose()
        .field("timestamp_granularities[]", "word")
        .field("timestamp_granularities[]", "segment");
    let answer = post(serving.http, both).await.json();
    assert_eq!(answer["segments"].as_array().unwrap().len(), 1);
    let words = answer["words"].as_array().unwrap();
    let texts: Vec<&str> = words.iter().map(|word| word["word"].as_str().unwrap()).collect();
    assert_eq!(texts.join(" "), said);
    let times: Vec<f64> = words
        .iter()
        .flat_map(|word| [word["start"].as_f64().unwrap(), word["end"].as_f64().unwrap()])
        .collect();
    assert!(times.is_sorted() && times[times.len() - 1] <= 2.5, "{times:?}");
    assert!(times[times.len() - 1] > 1.0, "{times:?}");
    let only = post(serving.http, verbose().field("timestamp_granularities[]", "word"))
        .await
        .json();
    assert!(only.get("segments").is_none() && only["words"] == answer["words"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn subtitles_come_in_their_own_media_types() {
    let serving = Serving::start(config()).await;
    let (audio, said) = sample("three-digits-16k.wav");
    let as_format = |format: &str| Upload::of(&audio).field("response_format", format);
    let srt = post(serving.http, as_format("srt")).await;
    assert_eq!(
        srt.header("content-type"),
        Some("application/x-subrip; charset=utf-8")
    );
    assert!(
        srt.text().starts_with("1\n00:00:0") && srt.text().contains(&said),
        "{}",
        srt.text()
    );
    let vtt = post(serving.http, as_format("vtt")).await;
    assert_eq!(vtt.header("content-type"), Some("text/vtt; charset=utf-8"));
    assert!(
        vtt.text().starts_with("WEBVTT\n\n00:00:0") && vtt.text().contains(&said),
        "{}",
        vtt.text()
    );
}

/// The data of server-sent events.
fn events(answer: &Answer) -> Vec<serde_json::Value> {
    let text = answer.text();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_transcript_comes_in_deltas_that_add_up() {
    let mut config = config();
    config.settings.options.chunk_duration = Duration::from_secs(5);
    let serving = Serving::start(config).await;
    // Two recordings with a long silence between them: two windows.
    let parts = ["three-digits-16k.wav", "one-digit-16k.wav"].map(|file| sample(file).0);
    let mut samples = Vec::new();
    for part in &parts {
        let wav = hound::WavReader::new(&part[..]).unwrap();
        samples.extend(wav.into_samples::<i16>().map(Result::unwrap));
        samples.extend([0; 16_000 * 4]);
    }
    let mut wav = std::io::Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::new(&mut wav, spec).unwrap();
    samples
        .iter()
        .for_each(|sample| writer.write_sample(*sample).unwrap());
    writer.finalize().unwrap();
    let upload = Upload::of(wav.get_ref())
        .field("stream", "true")
        .field("response_format", "verbose_json");
    let answer = post(serving.http, upload).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let events = events(&answer);
    let of = |kind: &str| -> Vec<serde_json::Value> {
        let some = events.iter().filter(|event| event["type"] == kind);
        some.cloned().collect()
    };
    let deltas = of("transcript.text.delta");
    assert!(deltas.len() >= 2, "{events:?}");
    let told: String = deltas
        .iter()
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    let done = events.last().unwrap();
    assert_eq!(
        (&done["type"], &done["text"]),
        (&json!("transcript.text.done"), &json!(told))
    );
    assert!(told.starts_with(&sample("three-digits-16k.wav").1), "{told}");
    let segments = of("transcript.text.segment");
    assert_eq!(
        segments.len(),
        done["verbose"]["segments"].as_array().unwrap().len()
    );
    assert!(segments[1]["start"].as_f64().unwrap() > 5.0);
    assert_eq!(serving.metric(&ended("HttpTranscriptions", "OK")).await, 1.0);

    let garbage = Upload::of(b"no audio at all").field("stream", "true");
    let answer = post(serving.http, garbage).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["param"]),
        (400, &json!("file"))
    );
}

/// The bundled model was never taught to translate; what it does with English is say it again.
#[tokio::test(flavor = "multi_thread")]
async fn translations_have_a_path_of_their_own() {
    let serving = Serving::start(config()).await;
    let upload = Upload::of(&sample("three-digits-16k.wav").0).field("response_format", "verbose_json");
    let answer = read(upload.send_to(serving.http, "/v1/audio/translations").await).await;
    assert_eq!(
        (answer.status, answer.json()["task"].clone()),
        (200, json!("translate"))
    );
    assert_eq!(serving.metric(&ended("HttpTranslations", "OK")).await, 1.0);
}

/// A prompt is part of what the model hears, and drawing at a temperature gives the same words each time.
#[tokio::test(flavor = "multi_thread")]
async fn prompt_and_temperature_reach_the_decoder() {
    let serving = Serving::start(config()).await;
    let audio = sample("three-digits-16k.wav").0;
    let verbose = || Upload::of(&audio).field("response_format", "verbose_json");
    let logprob = |answer: &Answer| answer.json()["segments"][0]["avg_logprob"].as_f64();
    let plain = post(serving.http, verbose()).await;
    let prompted = post(serving.http, verbose().field("prompt", "Seven three one.")).await;
    assert_ne!(logprob(&plain), logprob(&prompted));
    let warm = || verbose().field("temperature", "0.8");
    let (first, second) = (post(serving.http, warm()).await, post(serving.http, warm()).await);
    assert_eq!(first.json(), second.json());
    assert_eq!(first.json()["segments"][0]["temperature"], 0.8);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_openai_shape_and_name_the_parameter() {
    let serving = Serving::start(config()).await;
    let audio = sample("one-digit-16k.wav").0;
    let upload = || Upload::of(&audio);
    for (upload, status, param, code) in [
        (
            upload().field("model", "gpt-4o-transcribe"),
            404,
            json!("model"),
            json!("model_not_found"),
        ),
        (
            upload().field("response_format", "diarized_json"),
            400,
            json!("response_format"),
            json!(null),
        ),
        (
            upload().field("timestamp_granularities[]", "word"),
            400,
            json!("timestamp_granularities[]"),
            json!(null),
        ),
        (
            upload().field("temperature", "1.5"),
            400,
            json!("temperature"),
            json!(null),
        ),
        (
            upload().field("language", "tlh"),
            400,
            json!("language"),
            json!(null),
        ),
        (
            Upload::new().field("model", "whisper-1"),
            400,
            json!("file"),
            json!(null),
        ),
        (Upload::of(b"no audio"), 400, json!("file"), json!(null)),
    ] {
        let answer = post(serving.http, upload).await;
        let error = answer.json()["error"].clone();
        assert_eq!(answer.status, status, "{error}");
        assert_eq!((&error["param"], &error["code"]), (&param, &code), "{error}");
        assert_eq!(error["type"], "invalid_request_error");
        assert!(error["message"].as_str().unwrap().len() > 10);
        assert_eq!(answer.header("x-request-id").unwrap().len(), 16);
    }
    serving.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_methods_and_bodies_are_refused_in_the_same_shape() {
    let serving = Serving::start(config()).await;
    let nowhere = get(serving.http, "/v1/audio/speech").await;
    assert_eq!(
        (nowhere.status, nowhere.json()["error"]["code"].clone()),
        (404, json!("unknown_url"))
    );
    let wrong = get(serving.http, "/v1/audio/transcriptions").await;
    assert_eq!(
        (wrong.status, wrong.json()["error"]["code"].clone()),
        (405, json!("method_not_supported"))
    );
    let no_form = exchange(serving.http, "POST", "/v1/audio/transcriptions").await;
    assert_eq!(
        (no_form.status, no_form.json()["error"]["param"].clone()),
        (400, json!("file"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn models_lists_the_one_that_is_served() {
    let serving = Serving::start(inference_server::run::Config {
        model_name: Some("mine".into()),
        ..config()
    })
    .await;
    let list = get(serving.http, "/v1/models").await.json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], "mine");
    assert_eq!(get(serving.http, "/v1/models/mine").await.json(), list["data"][0]);
    assert_eq!(get(serving.http, "/v1/models/other").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_parse_and_tell_the_model_and_what_was_done() {
    let serving = Serving::start(config()).await;
    post(serving.http, Upload::of(&sample("three-digits-16k.wav").0)).await;
    let answer = get(serving.http, "/metrics").await;
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a series and its value");
        assert!(series.starts_with("parlance_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let labels = series.split_once('{').map_or("", |(_, labels)| labels);
        assert!(labels.is_empty() || labels.ends_with("\"}"), "{line}");
    }
    let seconds = serving
        .metric("parlance_audio_seconds_total{api=\"HttpTranscriptions\"}")
        .await;
    assert!((2.3..2.5).contains(&seconds), "{seconds}");
    let factors = "parlance_real_time_factor_count{api=\"HttpTranscriptions\"}";
    assert_eq!(serving.metric(factors).await, 1.0);
    assert!(serving.metric("parlance_model_load_seconds").await > 0.0);
    assert!(
        text.contains("parlance_model_info{name=\"whisper-nano-digits\",digest=\"sha256:"),
        "{text}"
    );
}

/// Kind and name of each metric that docs/observability.md describes as the server's, as `counter parlance_x_total`.
fn described() -> Vec<String> {
    let page = include_str!("../../../docs/observability.md");
    let (_, rest) = page.split_once("## Metrics of the server").unwrap();
    let rest = rest.split("\n## ").next().unwrap();
    let rows = rest.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut found: Vec<String> = rows
        .map(|row| {
            let name = row.split(['`', '{']).next().unwrap();
            let kind = row.split('|').nth(1).unwrap().trim();
            format!("{kind} {name}")
        })
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn the_page_describes_every_metric_and_no_other() {
    let mut config = config();
    config.settings.max_message_size = 1 << 20;
    let serving = Serving::start(config).await;
    post(serving.http, Upload::of(&sample("three-digits-16k.wav").0)).await;
    let too_large = post(serving.http, Upload::of(&vec![0; 2 << 20])).await;
    assert_eq!(too_large.status, 413);
    let text = get(serving.http, "/metrics").await.text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut exported: Vec<String> = types
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            let total = if kind == "counter" { "_total" } else { "" };
            format!("{kind} {name}{total}")
        })
        .collect();
    // Only with TLS: `tls.rs` looks at it.
    exported.push("gauge parlance_tls_certificate_expiry_timestamp_seconds".to_owned());
    exported.sort();
    assert_eq!(exported, described());
}
