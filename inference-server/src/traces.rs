//! Requests in; their spans out, to an OpenTelemetry collector (OTLP over gRPC), where one is named. A collector that is slow or
//! gone costs spans and nothing else: they wait in a bounded queue beside the requests. Holds neither audio nor text.

use std::{
    env, fs, io,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use axum::http::{HeaderMap, StatusCode};
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator,
    trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig, WithTonicConfig,
    tonic_types::transport::{Certificate, ClientTlsConfig},
};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use opentelemetry_semantic_conventions::{
    resource::{SERVICE_NAME, SERVICE_VERSION},
    trace::{
        ERROR_TYPE, HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, RPC_METHOD,
        RPC_RESPONSE_STATUS_CODE, RPC_SYSTEM_NAME, URL_PATH,
    },
};

use crate::{
    metrics::Api,
    proto::{inference::grpc_inference_service_server as inference, transcription_server as transcription},
    stages::Run,
    status::{Code, code_name},
};

/// The name of the service where the environment gives it none.
const NAME: &str = "parlance-server";
/// At the end, how long the last spans may take on their way.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its sentence
pub enum TracesError {
    #[error("cannot send traces to {endpoint}: {source}")]
    Exporter {
        endpoint: String,
        source: ExporterBuildError,
    },
    #[error("cannot read {}, the authority of the traces' collector: {source}", path.display())]
    Certificate { path: PathBuf, source: io::Error },
    #[error("traces are sent by the protocol grpc, but {variable} is {protocol}")]
    Protocol {
        variable: &'static str,
        protocol: String,
    },
}

/// Where the environment wants traces to be sent, by the variables that every program with OpenTelemetry knows.
pub fn endpoint_of_environment() -> Option<String> {
    let is = |name: &str, value: &str| variable(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"))
}

/// An empty variable is none, as the specification has it.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The way to the collector; or none.
#[derive(Clone, Default)]
pub struct Traces(Option<Exporting>);

#[derive(Clone)]
struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Sends the spans of requests to a collector's gRPC port, `http://host:4317` or `https://...`, by the runtime that calls this.
    /// Sampling, batches, headers and the like are as the environment's `OTEL_` variables say.
    pub fn to(endpoint: &str) -> Result<Self, TracesError> {
        for name in [
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        ] {
            if let Some(protocol) = variable(name).filter(|protocol| protocol != "grpc") {
                return Err(TracesError::Protocol {
                    variable: name,
                    protocol,
                });
            }
        }
        let mut builder = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
        if endpoint.starts_with("https:") {
            builder = builder.with_tls_config(authorities()?);
        }
        let exporter = builder.build().map_err(|source| TracesError::Exporter {
            endpoint: endpoint.to_owned(),
            source,
        })?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        let tracer = provider.tracer(NAME);
        tracing::info!(endpoint, "traces are sent");
        Ok(Traces(Some(Exporting { provider, tracer })))
    }

    /// A request arrives, perhaps as part of its client's trace (`traceparent`).
    pub(crate) fn begin(
        &self,
        api: Api,
        request_id: &str,
        model: Option<&str>,
        headers: &HeaderMap,
    ) -> Option<RequestSpan> {
        let Exporting { tracer, .. } = self.0.as_ref()?;
        let parent =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
        let (name, mut attributes) = described(api);
        attributes.push(KeyValue::new("parlance.request_id", request_id.to_owned()));
        attributes.extend(model.map(|model| KeyValue::new("parlance.model", model.to_owned())));
        let (began, at) = (Instant::now(), SystemTime::now());
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Server)
            .with_start_time(at)
            .with_attributes(attributes);
        let span = tracer.build_with_context(builder, &parent);
        Some(RequestSpan {
            tracer: tracer.clone(),
            context: parent.with_span(span),
            began,
            at,
        })
    }

    /// No more requests: sends what is left, if the collector takes it soon.
    pub(crate) async fn end(&self) {
        let Some(Exporting { provider, .. }) = self.0.clone() else {
            return;
        };
        // It blocks, and needs this runtime meanwhile.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_SPANS)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "the last traces may be lost");
        }
    }
}

/// Whom to trust at an `https:` endpoint: everybody that the system trusts, and the authority that the environment names.
fn authorities() -> Result<ClientTlsConfig, TracesError> {
    let tls = ClientTlsConfig::new().with_enabled_roots();
    let named = variable("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")
        .or_else(|| variable("OTEL_EXPORTER_OTLP_CERTIFICATE"));
    let Some(path) = named.map(PathBuf::from) else {
        return Ok(tls);
    };
    match fs::read(&path) {
        Ok(pem) => Ok(tls.ca_certificate(Certificate::from_pem(pem))),
        Err(source) => Err(TracesError::Certificate { path, source }),
    }
}

/// What the environment says of this server (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`), and what it leaves out.
fn resource() -> Resource {
    let said = Resource::builder().build();
    let name = said.get(&SERVICE_NAME.into());
    // What the library makes of silence.
    let named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let own = [
        (!named).then(|| KeyValue::new(SERVICE_NAME, NAME)),
        (said.get(&SERVICE_VERSION.into()).is_none())
            .then(|| KeyValue::new(SERVICE_VERSION, env!("CARGO_PKG_VERSION"))),
    ];
    Resource::builder()
        .with_attributes(own.into_iter().flatten())
        .build()
}

/// The name of a request's span, and what is known of every request like it.
fn described(api: Api) -> (String, Vec<KeyValue>) {
    let rpc = |service: &str, method: &str| {
        let method = format!("{service}/{method}");
        let attributes = vec![
            KeyValue::new(RPC_SYSTEM_NAME, "grpc"),
            KeyValue::new(RPC_METHOD, method.clone()),
        ];
        (method, attributes)
    };
    let http = |method: &'static str, path: &'static str| {
        let attributes = vec![
            KeyValue::new(HTTP_REQUEST_METHOD, method),
            KeyValue::new(HTTP_ROUTE, path),
            KeyValue::new(URL_PATH, path),
        ];
        (format!("{method} {path}"), attributes)
    };
    match api {
        Api::Transcribe | Api::StreamingTranscribe | Api::DetectLanguage => {
            rpc(transcription::SERVICE_NAME, api.name())
        }
        Api::ModelInfer => rpc(inference::SERVICE_NAME, api.name()),
        Api::HttpInfer => http("POST", "/v2/models/{name}/infer"),
        Api::HttpTranscriptions => http("POST", "/v1/audio/transcriptions"),
        Api::HttpTranslations => http("POST", "/v1/audio/translations"),
        Api::HttpRealtime => http("GET", "/v1/realtime"),
    }
}

/// How a request ended.
pub(crate) struct Ended<'r> {
    pub(crate) api: Api,
    pub(crate) code: Code,
    /// What the client of an HTTP API got.
    pub(crate) status: StatusCode,
    /// Why it failed, for the log's readers.
    pub(crate) error: Option<&'r str>,
    /// Length of the audio that was transcribed.
    pub(crate) audio: Duration,
    /// Time that the model worked on it.
    pub(crate) work: Duration,
    pub(crate) stages: &'r [Run],
}

/// The span of a request that has not ended.
pub(crate) struct RequestSpan {
    tracer: SdkTracer,
    context: Context,
    began: Instant,
    at: SystemTime,
}

impl RequestSpan {
    /// The id of its trace, as hexadecimal digits.
    pub(crate) fn trace_id(&self) -> String {
        self.context.span().span_context().trace_id().to_string()
    }

    /// Ends it, and gives it a child for each run of a stage.
    pub(crate) fn end(self, ended: &Ended<'_>) {
        let span = self.context.span();
        if span.is_recording() {
            ended.stages.iter().for_each(|run| self.child(run));
            span.set_attributes(told(ended));
            if fault(ended.code) {
                span.set_status(Status::error(ended.error.unwrap_or_default().to_owned()));
            }
        }
        span.end();
    }

    fn child(&self, run: &Run) {
        let builder = SpanBuilder::from_name(run.stage.name())
            .with_kind(SpanKind::Internal)
            .with_start_time(self.time(run.began))
            .with_attributes([KeyValue::new("parlance.busy_seconds", run.busy.as_secs_f64())]);
        let mut span = self.tracer.build_with_context(builder, &self.context);
        span.end_with_timestamp(self.time(run.ended));
    }

    /// By the wall's clock, which may jump, as it was when the request came.
    fn time(&self, instant: Instant) -> SystemTime {
        self.at + instant.saturating_duration_since(self.began)
    }
}

fn told(ended: &Ended<'_>) -> Vec<KeyValue> {
    let code = code_name(ended.code);
    let mut attributes = vec![
        KeyValue::new("parlance.code", code),
        KeyValue::new("parlance.audio_seconds", ended.audio.as_secs_f64()),
        KeyValue::new("parlance.work_seconds", ended.work.as_secs_f64()),
    ];
    match ended.api {
        Api::Transcribe | Api::StreamingTranscribe | Api::DetectLanguage | Api::ModelInfer => {
            attributes.push(KeyValue::new(RPC_RESPONSE_STATUS_CODE, code));
        }
        Api::HttpTranscriptions | Api::HttpTranslations | Api::HttpRealtime | Api::HttpInfer => {
            let status = i64::from(ended.status.as_u16());
            attributes.push(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, status));
        }
    }
    if ended.code != Code::Ok {
        attributes.push(KeyValue::new(ERROR_TYPE, code));
    }
    attributes
}

/// Codes that the conventions hold for errors of a server; the others are the client's.
fn fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
