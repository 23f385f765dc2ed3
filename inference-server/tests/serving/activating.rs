//! The activator before a real server that is not there yet: what is held, what is answered, and what is refused.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, SinkExt, StreamExt};
use inference_server::{
    activate::{self, Front},
    keys::Keys,
    proto::{GetModelRequest, transcription_client::TranscriptionClient},
    run::{Config, Error, load_model},
    telemetry::LogFormat,
    tls::TlsSettings,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
};
use tokio_tungstenite::tungstenite::Message;
use tonic::{Code, Request, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

use crate::certificates::{Authority, Mount};
use crate::harness::{
    OpenStream, Serving, channel, client, config, eventually, file_config, request, sample, words,
};
use crate::http::{Upload, get, post, post_over};

const HOUR: Duration = Duration::from_secs(3600);

/// An activator, and where its one pod will be.
pub struct Activating {
    pub grpc: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
    /// Of gRPC and of HTTP.
    pod: [SocketAddr; 2],
    shutdown: mpsc::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

impl Activating {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(configure: impl FnOnce(&mut activate::Config)) -> Self {
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let (pod, any) = ([free(), free()], SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut config = activate::Config {
            upstream: vec!["no-such-pods.invalid".to_owned(), "127.0.0.1".to_owned()],
            upstream_grpc_port: pod[0].port(),
            upstream_http_port: pod[1].port(),
            model_name: "digits".to_owned(),
            grpc_addr: any,
            http_addr: any,
            admin_addr: any,
            tls: None,
            keys: None,
            hold_limit: 8,
            hold_timeout: HOUR,
            drain_timeout: HOUR,
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
        };
        configure(&mut config);
        let front = Front::bind(config).await.unwrap();
        let [grpc, http, admin] = front.addresses().unwrap();
        let (shutdown, told) = mpsc::channel(2);
        Activating {
            grpc,
            http,
            admin,
            pod,
            shutdown,
            task: tokio::spawn(front.run(told)),
        }
    }

    /// The pod comes, with the bundled model.
    async fn pod(&self) -> Serving {
        self.pod_with(|_| {}).await
    }

    async fn pod_with(&self, configure: impl FnOnce(&mut Config)) -> Serving {
        let mut config = Config {
            grpc_addr: self.pod[0],
            http_addr: self.pod[1],
            ..config()
        };
        configure(&mut config);
        let model = config.clone();
        Serving::start_with(config, move || load_model(&model)).await
    }

    async fn client(&self) -> TranscriptionClient<Channel> {
        client(self.grpc).await
    }

    async fn demand(&self) -> Value {
        get(self.admin, "/demand").await.json()
    }

    /// Waits until so many wait and so many run.
    async fn has(&self, waiting: u64, running: u64) {
        eventually(&format!("{waiting} wait and {running} run"), async || {
            let demand = self.demand().await;
            demand["waiting"] == waiting && demand["running"] == running
        })
        .await;
    }

    async fn metric(&self, name: &str) -> f64 {
        let text = get(self.admin, "/metrics").await.text();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("no {name} in\n{text}"))
            .parse()
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_every_kind_wait_for_the_pod_and_are_all_answered() {
    let activating = Activating::start().await;
    let (recording, said) = sample("three-digits-16k.wav");
    let known = activating.demand().await;
    assert_eq!((&known["waiting"], &known["running"]), (&json!(0), &json!(0)));
    let turned = {
        let path = format!("/demand?since={}&wait=60", known["version"]);
        let admin = activating.admin;
        tokio::spawn(async move { get(admin, &path).await.json() })
    };

    let mut unary = activating.client().await;
    let unary = {
        let recording = recording.clone();
        tokio::spawn(async move { unary.transcribe(request(recording)).await })
    };
    let turned = turned.await.unwrap();
    assert!(turned["version"].as_u64() > known["version"].as_u64(), "{turned}");
    assert_eq!(turned["waiting"], 1, "{turned}");

    let mut streaming = activating.client().await;
    let streaming = {
        let recording = recording.clone();
        tokio::spawn(async move {
            let stream = OpenStream::open(&mut streaming, file_config()).await.unwrap();
            let pieces = recording.chunks(3200).map(<[u8]>::to_vec).collect();
            words(&stream.finish(pieces).await.unwrap())
        })
    };
    let http = activating.http;
    let upload = {
        let recording = recording.clone();
        tokio::spawn(async move { post(http, Upload::of(&recording)).await })
    };
    let socket = tokio::spawn(async move {
        let address = format!("ws://{http}/v1/realtime?intent=transcription");
        let (mut socket, _) = tokio_tungstenite::connect_async(address).await.unwrap();
        let event = socket.next().await.unwrap().unwrap();
        assert!(event.to_text().unwrap().contains("session.created"), "{event}");
        let update = json!({ "type": "session.update", "session": { "type": "transcription" } });
        socket.send(Message::text(update.to_string())).await.unwrap();
        let event = socket.next().await.unwrap().unwrap();
        assert!(event.to_text().unwrap().contains("session.updated"), "{event}");
        socket
    });
    activating.has(4, 0).await;

    let serving = activating.pod().await;
    assert_eq!(unary.await.unwrap().unwrap().into_inner().text, said);
    assert_eq!(streaming.await.unwrap(), said);
    let answer = upload.await.unwrap();
    assert_eq!(
        (answer.status, answer.json()["text"].as_str()),
        (200, Some(said.as_str()))
    );
    let socket = socket.await.unwrap();
    // What is open is demand, and ends with its client.
    activating.has(0, 1).await;
    drop(socket);
    activating.has(0, 0).await;
    assert_eq!(
        activating.metric("parlance_activator_activations_total").await,
        1.0
    );
    assert_eq!(
        activating.metric("parlance_activator_wait_seconds_count").await,
        4.0
    );
    serving.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_loads_its_model_gets_nothing_before_it_is_ready() {
    let activating = Activating::start().await;
    let (recording, said) = sample("one-digit-16k.wav");
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let config = Config {
        grpc_addr: activating.pod[0],
        http_addr: activating.pod[1],
        ..config()
    };
    let model = config.clone();
    let load = move || {
        gate.recv().expect("the test lets it load");
        load_model(&model)
    };
    let serving = Serving::start_with(config, load).await;
    let http = activating.http;
    let upload = {
        let recording = recording.clone();
        tokio::spawn(async move { post(http, Upload::of(&recording)).await })
    };
    let mut client = activating.client().await;
    let call = tokio::spawn(async move { client.transcribe(request(recording)).await });
    activating.has(2, 0).await;
    // It answers, and only with no.
    assert_eq!(get(serving.http, "/health/ready").await.status, 503);
    go.send(()).unwrap();
    assert_eq!(call.await.unwrap().unwrap().into_inner().text, said);
    assert_eq!(upload.await.unwrap().json()["text"].as_str(), Some(said.as_str()));
    for reason in ["unavailable", "busy"] {
        let refused = format!("parlance_rejections_total{{reason=\"{reason}\"}}");
        assert_eq!(serving.metric(&refused).await, 0.0, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_pod_would_answer_alike_wakes_none() {
    let activating = Activating::start().await;
    let mut health = HealthClient::new(channel(activating.grpc).await);
    for service in ["", "parlance.v1.Transcription"] {
        let asked = HealthCheckRequest {
            service: service.into(),
        };
        assert_eq!(
            health.check(asked).await.unwrap().into_inner().status,
            1,
            "{service}"
        );
    }
    for path in ["/", "/health/live", "/health/ready", "/metrics"] {
        assert_eq!(get(activating.http, path).await.status, 200, "{path}");
    }
    let models = get(activating.http, "/v1/models").await.json();
    assert_eq!(models["data"][0]["id"], "digits");
    for (path, status) in [
        ("/v1/models/whisper-1", 200),
        ("/v1/models/other", 404),
        ("/wp-login.php", 404),
        ("/v1/audio/transcriptions", 405),
    ] {
        assert_eq!(get(activating.http, path).await.status, status, "{path}");
    }
    let demand = activating.demand().await;
    assert_eq!((&demand["waiting"], &demand["running"]), (&json!(0), &json!(0)));
    assert!(demand["idleSeconds"].as_f64().unwrap() > 0.0);
    assert_eq!(
        activating.metric("parlance_activator_activations_total").await,
        0.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_or_leaves_waits_no_more() {
    let activating = Activating::start().await;
    let mut client = activating.client().await;
    let mut late = Request::new(GetModelRequest {});
    // The header alone: the client itself has time.
    late.metadata_mut()
        .insert("grpc-timeout", "300m".parse().unwrap());
    let answer = client.get_model(late).await.unwrap_err();
    assert_eq!(answer.code(), Code::DeadlineExceeded, "{answer:?}");
    assert!(answer.message().contains("waited for a pod"), "{answer:?}");
    activating.has(0, 0).await;

    let mut leaving = activating.client().await;
    let call = tokio::spawn(async move { leaving.get_model(GetModelRequest {}).await });
    let upload = Upload::of(b"no audio").send(activating.http).await;
    activating.has(2, 0).await;
    call.abort();
    activating.has(1, 0).await;
    drop(upload);
    activating.has(0, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_may_wait_are_told_when_to_come_again_and_nobody_waits_for_ever() {
    let activating = Activating::start_with(|config| config.hold_limit = 1).await;
    let held = Upload::of(b"no audio").send(activating.http).await;
    activating.has(1, 0).await;
    let mut client = activating.client().await;
    let refused = client.get_model(GetModelRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.get_error_details().retry_info().is_some());
    let refused = post(activating.http, Upload::of(b"no audio")).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(
        activating
            .metric("parlance_activator_refusals_total{reason=\"busy\"}")
            .await,
        2.0
    );
    drop(held);

    let short = Activating::start_with(|config| config.hold_timeout = Duration::from_millis(200)).await;
    let refused = short
        .client()
        .await
        .get_model(GetModelRequest {})
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(
        refused.message().contains("no pod of this service"),
        "{refused:?}"
    );
    let refused = post(short.http, Upload::of(b"no audio")).await;
    assert_eq!(refused.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_key_wakes_nothing() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "secret").unwrap();
    let keys = Arc::new(Keys::open(file.path()).unwrap());
    let given = keys.clone();
    let activating = Activating::start_with(|config| config.keys = Some(given)).await;
    let refused = activating
        .client()
        .await
        .get_model(GetModelRequest {})
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(post(activating.http, Upload::of(b"no audio")).await.status, 401);
    assert_eq!(get(activating.http, "/v1/models").await.status, 401);
    assert_eq!(
        activating.metric("parlance_activator_activations_total").await,
        0.0
    );

    // The pod asks for the key too, and gets the client's.
    let (recording, said) = sample("one-digit-16k.wav");
    let upload = Upload::of(&recording).header("authorization: Bearer secret");
    let http = activating.http;
    let held = tokio::spawn(async move { post(http, upload).await });
    activating.has(1, 0).await;
    let _serving = activating
        .pod_with(|config| config.settings.keys = Some(keys))
        .await;
    assert_eq!(held.await.unwrap().json()["text"].as_str(), Some(said.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ports_speak_tls_to_clients_and_to_the_pod_and_follow_a_new_certificate() {
    let authority = Authority::new();
    let mut mount = authority.sign(2091).mount();
    let pods = Mount::of(
        &std::fs::read_to_string(mount.file("tls.crt")).unwrap(),
        &std::fs::read_to_string(mount.file("tls.key")).unwrap(),
    );
    std::fs::write(mount.file("ca.crt"), authority.pem()).unwrap();
    let settings = mount.settings();
    let activating = Activating::start_with(|config| config.tls = Some(settings)).await;
    let (recording, said) = sample("one-digit-16k.wav");
    let exchange = async || {
        let stream = authority.connect(activating.http, "http/1.1").await;
        let answer = post_over(stream, Upload::of(&recording)).await;
        assert_eq!(
            (answer.status, answer.json()["text"].as_str()),
            (200, Some(said.as_str()))
        );
    };
    let call = async || {
        let front = Serving {
            grpc: activating.grpc,
            http: activating.http,
            shutdown: activating.shutdown.clone(),
            task: tokio::spawn(async { Ok(()) }),
        };
        let mut client = authority.client(&front, None).await.unwrap();
        let answer = client.transcribe(request(recording.clone())).await.unwrap();
        assert_eq!(answer.into_inner().text, said);
    };
    let pod_settings = pods.settings();
    let come = async {
        activating.has(2, 0).await;
        activating
            .pod_with(|config| config.tls = Some(pod_settings))
            .await
    };
    let ((), (), _serving) = tokio::join!(exchange(), call(), come);

    // The pod still shows the old one: both are of one authority.
    let next = authority.sign(2092);
    next.swap_into(&mut mount);
    eventually("the new certificate is shown", async || {
        let stream = authority.connect(activating.http, "http/1.1").await;
        stream.get_ref().1.peer_certificates().unwrap()[0] == next.der
    })
    .await;
    exchange().await;
    call().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_with_somebody_elses_certificate_gets_no_request() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (mount, theirs) = (authority.sign(2091).mount(), stranger.sign(2091).mount());
    let settings: TlsSettings = mount.settings();
    let activating = Activating::start_with(|config| {
        config.tls = Some(settings);
        config.hold_timeout = Duration::from_secs(1);
    })
    .await;
    let their_settings = theirs.settings();
    let _serving = activating
        .pod_with(|config| config.tls = Some(their_settings))
        .await;
    eventually("the pod is ready", async || {
        stranger.get(activating.pod[1], "/health/ready").await.status == 200
    })
    .await;
    let stream = authority.connect(activating.http, "http/1.1").await;
    assert_eq!(post_over(stream, Upload::of(b"no audio")).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_goes_with_a_request_is_told_and_the_next_request_waits_again() {
    let activating = Activating::start().await;
    let serving = activating.pod().await;
    let mut client = activating.client().await;
    let mut stream = OpenStream::open(&mut client, file_config()).await.unwrap();
    activating.has(0, 1).await;
    // Twice: it leaves at once.
    serving.shutdown.send(()).await.unwrap();
    serving.shutdown.send(()).await.unwrap();
    assert!(stream.next().await.is_err());
    drop(stream);
    serving.ended().await.unwrap();
    activating.has(0, 0).await;

    let (recording, said) = sample("one-digit-16k.wav");
    let call = tokio::spawn(async move { client.transcribe(request(recording)).await });
    activating.has(1, 0).await;
    let _serving = activating.pod().await;
    assert_eq!(call.await.unwrap().unwrap().into_inner().text, said);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_when_what_waits_has_been_answered() {
    let activating = Activating::start().await;
    let (recording, said) = sample("one-digit-16k.wav");
    let mut client = activating.client().await;
    let mut late = client.clone();
    let call = tokio::spawn(async move { client.transcribe(request(recording)).await });
    activating.has(1, 0).await;
    activating.shutdown.send(()).await.unwrap();
    eventually("it takes no more", async || {
        get(activating.admin, "/health/ready").await.status == 503
    })
    .await;
    let refused = late.get_model(GetModelRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    drop(late);
    let _serving = activating.pod().await;
    assert_eq!(call.await.unwrap().unwrap().into_inner().text, said);
    activating.task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_not_read_before_there_is_a_pod() {
    let activating = Activating::start().await;
    let (recording, said) = sample("one-digit-16k.wav");
    let mut stream = TcpStream::connect(activating.http).await.unwrap();
    let part = "--XX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"audio\"\r\n\r\n";
    let length = part.len() + recording.len() + "\r\n--XX--\r\n".len();
    let head = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: test\r\nconnection: close\r\nexpect: 100-continue\r\n\
         content-length: {length}\r\ncontent-type: multipart/form-data; boundary=XX\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    activating.has(1, 0).await;
    // Whoever reads a body first says that it may come.
    let mut byte = [0];
    assert!(
        stream.peek(&mut byte).now_or_never().is_none(),
        "it asked for the body"
    );
    let _serving = activating.pod().await;
    let mut told = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut told).await.unwrap();
    assert!(
        told.starts_with(b"HTTP/1.1 100 "),
        "{}",
        String::from_utf8_lossy(&told)
    );
    stream.write_all(part.as_bytes()).await.unwrap();
    stream.write_all(&recording).await.unwrap();
    stream.write_all(b"\r\n--XX--\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains(&said),
        "{answer}"
    );
}

/// Kind and name of each metric that docs/observability.md describes as the activator's.
fn described() -> Vec<String> {
    let page = include_str!("../../../docs/observability.md");
    let (_, rest) = page.split_once("## Metrics of the activator").unwrap();
    let rows = rest.split("\n## ").next().unwrap().lines();
    let rows = rows.filter_map(|line| line.strip_prefix("| `"));
    let described = rows.map(|row| {
        let name = row.split(['`', '{']).next().unwrap();
        format!("{} {name}", row.split('|').nth(1).unwrap().trim())
    });
    described.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_describes_every_metric_of_the_activator() {
    let activating = Activating::start_with(|config| config.hold_timeout = Duration::from_millis(1)).await;
    assert_eq!(post(activating.http, Upload::of(b"no audio")).await.status, 503);
    let text = get(activating.admin, "/metrics").await.text();
    let mut exported: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            let total = if kind == "counter" { "_total" } else { "" };
            format!("{kind} {name}{total}")
        })
        .filter(|metric| !metric.contains("parlance_tls_"))
        .collect();
    let mut described = described();
    exported.sort();
    described.sort();
    assert_eq!(exported, described);
}
