//! What happened to requests in; the text that Prometheus scrapes out. Labels are bounded: never a request's own words.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{
    admission::{Load, SHORT},
    calibration::Calibration,
    pipeline::WindowResult,
    stages::Stage,
    status::{Code, code_name},
};

mod certificate;

pub use certificate::TlsMetrics;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The ways to ask for a transcript, or for what a model makes of tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(missing_docs)] // each is the method or path that `Api::name` writes
pub enum Api {
    Transcribe,
    StreamingTranscribe,
    HttpTranscriptions,
    HttpTranslations,
    HttpRealtime,
    DetectLanguage,
    ModelInfer,
    HttpInfer,
}

impl Api {
    /// The name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Api::Transcribe => "Transcribe",
            Api::StreamingTranscribe => "StreamingTranscribe",
            Api::HttpTranscriptions => "HttpTranscriptions",
            Api::HttpTranslations => "HttpTranslations",
            Api::HttpRealtime => "HttpRealtime",
            Api::DetectLanguage => "DetectLanguage",
            Api::ModelInfer => "ModelInfer",
            Api::HttpInfer => "HttpInfer",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    api: Api,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejection {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByApi {
    api: Api,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStage {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLane {
    api: Api,
    lane: &'static str,
}

/// The queue's lane for so much audio; a request that was refused before its audio was read has none.
fn lane(audio: Duration) -> &'static str {
    match audio {
        Duration::ZERO => "none",
        audio if audio <= SHORT => "short",
        _ => "long",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    name: String,
    digest: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;

/// Every metric of the server.
pub struct Metrics {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    duration: Family<ByLane, Histogram>,
    queue_wait: Histogram,
    batch_size: Histogram,
    audio: Family<ByApi, Counter<f64, AtomicU64>>,
    real_time_factor: Family<ByApi, Histogram>,
    running: Gauge,
    queued: Gauge,
    queued_audio: Seconds,
    rejections: Family<Rejection, Counter>,
    tokens: Counter,
    fallbacks: Counter,
    model: Family<ModelLabels, Gauge>,
    model_load: Seconds,
    threads: Gauge,
    calibrated: Seconds,
    calibration: Family<ByStage, Seconds>,
    stages: Family<ByStage, Histogram>,
    tls: Arc<TlsMetrics>,
}

/// What one request was, once it is over.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// How it was asked.
    pub api: Api,
    /// How it ended.
    pub code: Code,
    /// From arrival to the end.
    pub took: Duration,
    /// Length of the audio that was transcribed.
    pub audio: Duration,
    /// Time that the model worked on it.
    pub work: Duration,
}

const LATENCIES: [f64; 14] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];
const STAGES: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
const FACTORS: [f64; 11] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 1.0, 2.0, 5.0];

const BATCHES: [f64; 8] = [1.0, 2.0, 3.0, 5.0, 8.0, 16.0, 32.0, 64.0];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A run of the decoder took so many sequences.
    pub fn batched(&self, sequences: usize) {
        self.batch_size.observe(sequences as f64);
    }

    /// Registers every metric; nothing has happened yet.
    pub fn new() -> Self {
        let latency: fn() -> Histogram = || Histogram::new(LATENCIES);
        let factor: fn() -> Histogram = || Histogram::new(FACTORS);
        let stage: fn() -> Histogram = || Histogram::new(STAGES);
        let mut metrics = Metrics {
            registry: Registry::with_prefix("parlance"),
            requests: Family::default(),
            duration: Family::new_with_constructor(latency),
            queue_wait: latency(),
            batch_size: Histogram::new(BATCHES),
            audio: Family::default(),
            real_time_factor: Family::new_with_constructor(factor),
            running: Gauge::default(),
            queued: Gauge::default(),
            queued_audio: Gauge::default(),
            rejections: Family::default(),
            tokens: Counter::default(),
            fallbacks: Counter::default(),
            model: Family::default(),
            model_load: Gauge::default(),
            threads: Gauge::default(),
            calibrated: Gauge::default(),
            calibration: Family::default(),
            stages: Family::new_with_constructor(stage),
            tls: Arc::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let Self {
            registry,
            requests,
            duration,
            queue_wait,
            batch_size,
            audio,
            real_time_factor,
            running,
            queued,
            queued_audio,
            rejections,
            tokens,
            fallbacks,
            model,
            model_load,
            threads,
            calibrated,
            calibration,
            stages,
            tls,
        } = self;
        let build: Family<BuildLabels, Gauge> = Family::default();
        build
            .get_or_create(&BuildLabels {
                version: env!("CARGO_PKG_VERSION"),
            })
            .set(1);
        let start = Seconds::default();
        start.set(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs_f64(),
        );

        registry.register(
            "requests",
            "Requests that have ended, by API and gRPC code",
            requests.clone(),
        );
        let s = Unit::Seconds;
        registry.register_with_unit(
            "request_duration",
            "From arrival to the end of a request, by the length of its audio",
            s.clone(),
            duration.clone(),
        );
        registry.register_with_unit(
            "queue_wait",
            "Time that requests waited for a permit",
            s.clone(),
            queue_wait.clone(),
        );
        registry.register(
            "decoder_batch_size",
            "Sequences in one run of the decoder: beams, chunks and requests together",
            batch_size.clone(),
        );
        registry.register_with_unit("audio", "Audio that was transcribed", s.clone(), audio.clone());
        let help = "Time that the model worked, divided by the length of the audio";
        registry.register("real_time_factor", help, real_time_factor.clone());
        registry.register("requests_running", "Requests that hold a permit", running.clone());
        registry.register(
            "requests_queued",
            "Requests that wait for a permit",
            queued.clone(),
        );
        let help = "Audio of the requests that wait for a permit, as far as its length is known";
        registry.register_with_unit("queued_audio", help, s.clone(), queued_audio.clone());
        let help = "Requests that were refused, by reason";
        registry.register("rejections", help, rejections.clone());
        registry.register("tokens", "Tokens of transcripts", tokens.clone());
        let help = "Windows whose text was only good enough at a temperature above 0";
        registry.register("temperature_fallbacks", help, fallbacks.clone());
        registry.register("model_info", "The model that is served; 1", model.clone());
        let help = "Time that loading the model took";
        registry.register_with_unit("model_load", help, s.clone(), model_load.clone());
        registry.register("threads", "Threads that the model runs on", threads.clone());
        let help =
            "Time for a second of audio in full windows of speech, as measured when the server started";
        registry.register("calibrated_real_time_factor", help, calibrated.clone());
        let help = "Time of one window in the encoder and of one step of the decoder, as measured when the server started";
        registry.register_with_unit("calibration", help, s.clone(), calibration.clone());
        let help = "Time that a request spent in a stage, all in all";
        registry.register_with_unit("stage_duration", help, s.clone(), stages.clone());
        tls.register(registry);
        registry.register("build_info", "The version of the server; 1", build);
        let help = "When the process started, since the Unix epoch";
        registry.register_with_unit("process_start_time", help, s, start);
    }

    /// Counts a request that is over.
    pub fn finished(&self, finished: Finished) {
        let Finished {
            api,
            code,
            took,
            audio,
            work,
        } = finished;
        self.requests
            .get_or_create(&Outcome {
                api,
                code: code_name(code),
            })
            .inc();
        self.duration
            .get_or_create(&ByLane {
                api,
                lane: lane(audio),
            })
            .observe(took.as_secs_f64());
        if !audio.is_zero() {
            self.audio
                .get_or_create(&ByApi { api })
                .inc_by(audio.as_secs_f64());
            let factor = work.as_secs_f64() / audio.as_secs_f64();
            self.real_time_factor
                .get_or_create(&ByApi { api })
                .observe(factor);
        }
    }

    /// Counts a request that was refused.
    pub fn rejected(&self, reason: &'static str) {
        self.rejections.get_or_create(&Rejection { reason }).inc();
    }

    /// Counts what the windows of a transcript needed.
    pub fn said(&self, window: &WindowResult) {
        let tokens: usize = window.segments.iter().map(|segment| segment.tokens.len()).sum();
        self.tokens.inc_by(tokens as u64);
        let warm = window
            .segments
            .first()
            .is_some_and(|segment| segment.temperature > 0.0);
        self.fallbacks.inc_by(u64::from(warm));
    }

    /// Counts the wait of a request that got its permit.
    pub fn waited(&self, wait: Duration) {
        self.queue_wait.observe(wait.as_secs_f64());
    }

    /// Says how fast the model is here.
    pub fn calibrated(&self, calibration: &Calibration, threads: usize) {
        self.threads(threads);
        self.calibrated.set(calibration.real_time_factor);
        let stages = [
            ("encoder", calibration.encoder),
            ("decoder_step", calibration.step),
        ];
        for (stage, took) in stages {
            self.calibration
                .get_or_create(&ByStage { stage })
                .set(took.as_secs_f64());
        }
    }

    /// Says on how many threads the model runs.
    pub fn threads(&self, threads: usize) {
        self.threads.set(i64::try_from(threads).unwrap_or(i64::MAX));
    }

    /// Counts what a request spent in each of its stages.
    pub fn stages(&self, busy: &[(Stage, Duration)]) {
        for (stage, busy) in busy {
            let stage = stage.name();
            self.stages
                .get_or_create(&ByStage { stage })
                .observe(busy.as_secs_f64());
        }
    }

    /// What TLS tells of itself.
    pub fn tls(&self) -> &Arc<TlsMetrics> {
        &self.tls
    }

    /// Says which model is served.
    pub fn loaded(&self, name: &str, digest: &str, took: Duration) {
        let labels = ModelLabels {
            name: name.to_owned(),
            digest: digest.to_owned(),
        };
        self.model.get_or_create(&labels).set(1);
        self.model_load.set(took.as_secs_f64());
    }

    /// The text for a scrape, with the load of this moment.
    pub fn encode(&self, load: Load, queued_audio: Duration) -> Result<String, std::fmt::Error> {
        self.queued_audio.set(queued_audio.as_secs_f64());
        self.running.set(i64::try_from(load.running).unwrap_or(i64::MAX));
        self.queued.set(i64::try_from(load.queued).unwrap_or(i64::MAX));
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_in_the_text_with_units_in_the_names() {
        let metrics = Metrics::new();
        let second = Duration::from_secs(1);
        let ok = Finished {
            api: Api::Transcribe,
            code: Code::Ok,
            took: second,
            audio: second * 4,
            work: second,
        };
        metrics.finished(ok);
        metrics.finished(Finished {
            code: Code::ResourceExhausted,
            audio: Duration::ZERO,
            ..ok
        });
        metrics.finished(Finished {
            audio: SHORT + second,
            work: Duration::ZERO,
            ..ok
        });
        metrics.waited(second);
        metrics.rejected("busy");
        metrics.stages(&[(Stage::Encoder, second), (Stage::Decoder, second / 2)]);
        let load = Load {
            running: 1,
            queued: 2,
        };
        let text = metrics.encode(load, second * 90).unwrap();
        for line in [
            "parlance_requests_total{api=\"Transcribe\",code=\"OK\"} 2",
            "parlance_requests_total{api=\"Transcribe\",code=\"RESOURCE_EXHAUSTED\"} 1",
            "parlance_request_duration_seconds_count{api=\"Transcribe\",lane=\"short\"} 1",
            "parlance_request_duration_seconds_count{api=\"Transcribe\",lane=\"long\"} 1",
            "parlance_request_duration_seconds_count{api=\"Transcribe\",lane=\"none\"} 1",
            "parlance_audio_seconds_total{api=\"Transcribe\"} 65.0",
            "parlance_real_time_factor_sum{api=\"Transcribe\"} 0.25",
            "parlance_queue_wait_seconds_count 1",
            "parlance_requests_running 1",
            "parlance_requests_queued 2",
            "parlance_queued_audio_seconds 90.0",
            "parlance_rejections_total{reason=\"busy\"} 1",
            "parlance_stage_duration_seconds_count{stage=\"encoder\"} 1",
            "parlance_stage_duration_seconds_sum{stage=\"decoder\"} 0.5",
            "parlance_tls_handshake_failures_total 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        assert!(
            text.contains("parlance_process_start_time_seconds ") && text.ends_with("# EOF\n"),
            "{text}"
        );
        assert!(
            !text.contains("certificate"),
            "no TLS, no end of a certificate:\n{text}"
        );
        metrics.tls().certificate_expires(UNIX_EPOCH + second * 77);
        let text = metrics.encode(load, second).unwrap();
        let line = "parlance_tls_certificate_expiry_timestamp_seconds 77.0";
        assert!(text.lines().any(|l| l == line), "{text}");
    }
}
