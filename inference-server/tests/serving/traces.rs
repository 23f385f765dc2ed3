//! The spans that a collector of OpenTelemetry gets: a gRPC server of its own protocol.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use inference_server::run::Config;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

use crate::harness::{OpenStream, Serving, config, file_config, request, sample};
use crate::http::{Upload, post};
use crate::process::{Process, binary, fails};

/// What came to a collector.
#[derive(Clone, Default)]
struct Collector {
    resource: Arc<Mutex<Vec<KeyValue>>>,
    spans: Arc<Mutex<Vec<Span>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for exported in request.into_inner().resource_spans {
            *self.resource.lock().unwrap() = exported.resource.unwrap().attributes;
            let spans = exported.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens, and says where.
    async fn start() -> (Self, SocketAddr) {
        let collector = Collector::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(server);
        (collector, address)
    }

    /// The span of the request with this id.
    fn of_request(&self, id: &str) -> Span {
        let spans = self.spans.lock().unwrap();
        let found = spans
            .iter()
            .find(|span| text(&span.attributes, "parlance.request_id").as_deref() == Some(id));
        found
            .unwrap_or_else(|| panic!("no span of {id} in {spans:?}"))
            .clone()
    }

    fn children(&self, parent: &Span) -> Vec<Span> {
        let spans = self.spans.lock().unwrap();
        let own = spans.iter().filter(|span| span.parent_span_id == parent.span_id);
        own.cloned().collect()
    }

    /// What it was told of the server.
    fn resource(&self, name: &str) -> Option<String> {
        text(&self.resource.lock().unwrap(), name)
    }
}

fn value(attributes: &[KeyValue], name: &str) -> Option<Value> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.clone()?.value
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    match value(attributes, name)? {
        Value::StringValue(text) => Some(text),
        other => panic!("{name} is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a client says of the span that its request is part of.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

async fn traced(collector: SocketAddr) -> Serving {
    Serving::start(Config {
        otlp_endpoint: Some(format!("http://{collector}")),
        ..config()
    })
    .await
}

/// Spans leave at the end, at the latest.
async fn stop(serving: Serving) {
    serving.shutdown.send(()).await.unwrap();
    serving.ended().await.unwrap();
}

const STAGES: [&str; 6] = ["audio", "decoder", "encoder", "features", "queue", "vad"];

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_both_apis_join_their_clients_traces_and_tell_their_stages() {
    let (collector, address) = Collector::start().await;
    let serving = traced(address).await;
    let (recording, _) = sample("three-digits-16k.wav");
    let mut asked = Request::new(request(recording.clone()));
    asked
        .metadata_mut()
        .insert("traceparent", traceparent("01").parse().unwrap());
    asked
        .metadata_mut()
        .insert("x-request-id", "by-grpc".parse().unwrap());
    serving.client().await.transcribe(asked).await.unwrap();
    let upload = Upload::of(&recording)
        .header(&format!("traceparent: {}", traceparent("01")))
        .header("x-request-id: by-http");
    assert_eq!(post(serving.http, upload).await.status, 200);
    stop(serving).await;

    let (grpc, http) = (collector.of_request("by-grpc"), collector.of_request("by-http"));
    assert_eq!(grpc.name, "parlance.v1.Transcription/Transcribe");
    assert_eq!(http.name, "POST /v1/audio/transcriptions");
    for (span, facts) in [
        (
            &grpc,
            [
                ("rpc.system.name", "grpc"),
                ("rpc.method", "parlance.v1.Transcription/Transcribe"),
                ("rpc.response.status_code", "OK"),
            ],
        ),
        (
            &http,
            [
                ("http.request.method", "POST"),
                ("http.route", "/v1/audio/transcriptions"),
                ("parlance.code", "OK"),
            ],
        ),
    ] {
        assert_eq!(
            (hex(&span.trace_id), hex(&span.parent_span_id)),
            (TRACE.into(), PARENT.into())
        );
        assert_eq!(span.kind(), SpanKind::Server);
        for (name, expected) in facts {
            assert_eq!(text(&span.attributes, name).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(
            text(&span.attributes, "parlance.model").as_deref(),
            Some("whisper-nano-digits")
        );
        let Some(Value::DoubleValue(audio)) = value(&span.attributes, "parlance.audio_seconds") else {
            panic!("{span:?}");
        };
        assert!((2.0..4.0).contains(&audio), "{audio}");

        let stages = collector.children(span);
        let names: BTreeSet<_> = stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(STAGES));
        for stage in &stages {
            assert_eq!(hex(&stage.trace_id), TRACE);
            let within = span.start_time_unix_nano..=span.end_time_unix_nano;
            assert!(within.contains(&stage.start_time_unix_nano), "{stage:?}");
            assert!(within.contains(&stage.end_time_unix_nano), "{stage:?}");
            assert!(
                stage.start_time_unix_nano <= stage.end_time_unix_nano,
                "{stage:?}"
            );
        }
    }
    assert_eq!(
        value(&http.attributes, "http.response.status_code"),
        Some(Value::IntValue(200))
    );
    assert_eq!(
        collector.resource("service.name").as_deref(),
        Some("parlance-server")
    );
    let version = collector.resource("service.version");
    assert_eq!(version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_refusals_have_spans_too_and_what_a_client_does_not_sample_has_none() {
    let (collector, address) = Collector::start().await;
    let serving = traced(address).await;
    let (recording, said) = sample("three-digits-16k.wav");
    let mut client = serving.client().await;
    let stream = OpenStream::open(&mut client, file_config()).await.unwrap();
    let pieces = recording.chunks(3200).map(<[u8]>::to_vec).collect();
    stream.finish(pieces).await.unwrap();
    let refused = Upload::of(b"no audio").header("x-request-id: refused");
    assert_eq!(post(serving.http, refused).await.status, 400);
    let unseen = Upload::of(&recording)
        .header(&format!("traceparent: {}", traceparent("00")))
        .header("x-request-id: unseen");
    assert_eq!(post(serving.http, unseen).await.status, 200);
    stop(serving).await;

    let refused = collector.of_request("refused");
    assert!(refused.parent_span_id.is_empty(), "its client has no trace");
    assert_eq!(
        (
            value(&refused.attributes, "http.response.status_code"),
            text(&refused.attributes, "error.type").as_deref(),
        ),
        (Some(Value::IntValue(400)), Some("INVALID_ARGUMENT"))
    );
    let status = refused.status.clone().unwrap_or_default();
    assert_eq!(status.code(), StatusCode::Unset, "it is the client's mistake");

    let spans = collector.spans.lock().unwrap().clone();
    let streamed = spans
        .iter()
        .find(|span| span.name == "parlance.v1.Transcription/StreamingTranscribe")
        .expect("the stream has a span");
    let names: BTreeSet<_> = collector
        .children(streamed)
        .into_iter()
        .map(|stage| stage.name)
        .collect();
    assert_eq!(names, STAGES.map(str::to_owned).into());
    let ids: Vec<_> = spans
        .iter()
        .filter_map(|span| text(&span.attributes, "parlance.request_id"))
        .collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(
        !format!("{spans:?}").contains(&said),
        "spans must not hold the text"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_names_the_collector_and_the_service_and_the_log_the_trace() {
    let (collector, address) = Collector::start().await;
    let mut process = Process::serve_with(|command| {
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
            .env("OTEL_SERVICE_NAME", "speech")
            .env("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=speech-0")
            // Longer than this test: what arrives was sent at the end.
            .env("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    });
    let (_, http) = process.addresses();
    process.line("ready");
    let upload = Upload::of(&sample("one-digit-16k.wav").0)
        .header(&format!("traceparent: {}", traceparent("01")))
        .header("x-request-id: mine-9");
    assert_eq!(post(http, upload).await.status, 200);
    let line = process.line("request");
    assert_eq!(
        (line["request_id"].as_str(), line["trace_id"].as_str()),
        (Some("mine-9"), Some(TRACE))
    );
    process.terminate();
    process.ended().await;
    let span = collector.of_request("mine-9");
    assert_eq!(hex(&span.parent_span_id), PARENT);
    assert_eq!(collector.resource("service.name").as_deref(), Some("speech"));
    assert_eq!(collector.resource("k8s.pod.name").as_deref(), Some("speech-0"));
}

#[test]
fn a_protocol_that_traces_are_not_sent_by_is_refused_and_a_switched_off_sdk_is_not_asked() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    let serve = || {
        let mut command = binary();
        command
            .args([
                "serve",
                "--grpc-addr",
                "127.0.0.1:0",
                "--http-addr",
                "127.0.0.1:0",
            ])
            .env(endpoint.0, endpoint.1)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        command
    };
    assert_eq!(
        fails(&mut serve()),
        "parlance-server: traces are sent by the protocol grpc, but OTEL_EXPORTER_OTLP_PROTOCOL is http/protobuf"
    );
    // It gets as far as its model.
    let off = fails(
        serve()
            .env("OTEL_SDK_DISABLED", "true")
            .args(["--model", "/no/such/model"]),
    );
    assert!(off.contains("/no/such/model"), "{off}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_or_says_nothing_costs_spans_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let (recording, said) = sample("one-digit-16k.wav");
    for collector in [silent, gone] {
        let serving = traced(collector).await;
        let answer = serving
            .client()
            .await
            .transcribe(request(recording.clone()))
            .await;
        assert_eq!(answer.unwrap().into_inner().text, said);
        stop(serving).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_none_is_said_at_the_start() {
    let config = Config {
        otlp_endpoint: Some("not an address".to_owned()),
        ..config()
    };
    let error = inference_server::run::Server::<inference_server::model::Model>::bind(config)
        .await
        .err()
        .unwrap();
    let sentence = error.to_string();
    assert!(
        sentence.starts_with("cannot send traces to not an address: "),
        "{sentence}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_stage_of_a_request_took_is_measured() {
    let serving = Serving::start(config()).await;
    let (recording, _) = sample("three-digits-16k.wav");
    for _ in 0..2 {
        assert_eq!(post(serving.http, Upload::of(&recording)).await.status, 200);
    }
    for stage in STAGES {
        let of = |what: &str| format!("parlance_stage_duration_seconds_{what}{{stage=\"{stage}\"}}");
        assert_eq!(serving.metric(&of("count")).await, 2.0, "{stage}");
        assert!(serving.metric(&of("sum")).await > 0.0, "{stage}");
    }
    let busy = async |stage: &str| {
        let sum = format!("parlance_stage_duration_seconds_sum{{stage=\"{stage}\"}}");
        serving.metric(&sum).await
    };
    let work = busy("encoder").await + busy("decoder").await;
    let requests = serving
        .metric("parlance_request_duration_seconds_sum{api=\"HttpTranscriptions\",lane=\"short\"}")
        .await;
    assert!(work < requests, "{work} of {requests}");
}
