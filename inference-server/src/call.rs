//! One request from its arrival to its end: in go the facts as they become known, out come one log line, its metrics and its span.
//! A request that is dropped before its end was cancelled, and is counted too. Never holds audio or text.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{
    metrics::{Api, Finished, Metrics},
    stages::{Stage, Stages, Taken},
    status::{Code, Failure, code_name},
    traces::{Ended, RequestSpan, Traces},
};

/// The header that brings a request's id, and takes it back.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a client.
const MAX_ID: usize = 128;

/// A timer may fire this much before its time; a request dropped then has still met its deadline.
const TIMER_SLACK: Duration = Duration::from_millis(5);

/// A request that has arrived and not ended.
pub struct Call {
    metrics: Arc<Metrics>,
    api: Api,
    request_id: String,
    arrived: Instant,
    deadline: Instant,
    waited: Duration,
    audio: Duration,
    work: Duration,
    /// What its client got by HTTP, where that is told before the end.
    status: Option<StatusCode>,
    stages: Stages,
    span: Option<RequestSpan>,
    ended: bool,
}

impl Call {
    /// A request arrives, for the model that is served if there is one yet; it must be over after `time`.
    pub fn begin(
        metrics: Arc<Metrics>,
        traces: &Traces,
        api: Api,
        model: Option<&str>,
        headers: &HeaderMap,
        time: Duration,
    ) -> Self {
        let arrived = Instant::now();
        let request_id = request_id(headers);
        // A time that no clock can hold is as good as a year.
        let year = Duration::from_secs(365 * 24 * 3600);
        Call {
            metrics,
            api,
            span: traces.begin(api, &request_id, model, headers),
            request_id,
            arrived,
            deadline: arrived + time.min(year),
            waited: Duration::ZERO,
            audio: Duration::ZERO,
            work: Duration::ZERO,
            status: None,
            stages: Stages::default(),
            ended: false,
        }
    }

    /// The client's id for it, or the one it got here.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// When it must be over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What its stages take.
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// It got its permit, for which it began to wait then.
    pub fn admitted(&mut self, asked: Instant) {
        self.waited = asked.elapsed();
        self.stages.add(Stage::Queue, asked, self.waited);
        self.metrics.waited(self.waited);
    }

    /// The client has got this HTTP status, however the request ends.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// So much audio has been transcribed, and the model worked so long on it.
    pub fn transcribed(&mut self, audio: Duration, work: Duration) {
        self.audio = audio;
        self.work = work;
    }

    /// The model worked so long on it.
    pub fn worked(&mut self, work: Duration) {
        self.work = work;
    }

    /// It is over, well or with an error that is already on its way.
    pub fn end(mut self, code: Code) {
        self.over(code, None);
    }

    /// It is over, with this failure.
    pub fn fail(mut self, failure: &Failure) {
        if let Some(reason) = failure.rejection() {
            self.metrics.rejected(reason);
        }
        self.over(failure.code(), Some(failure));
    }

    fn over(&mut self, code: Code, failure: Option<&Failure>) {
        self.ended = true;
        let Self {
            metrics,
            api,
            request_id,
            arrived,
            waited,
            audio,
            work,
            status,
            stages,
            span,
            ..
        } = self;
        let took = arrived.elapsed();
        let Taken { runs, busy } = stages.take();
        metrics.stages(&busy);
        metrics.finished(Finished {
            api: *api,
            code,
            took,
            audio: *audio,
            work: *work,
        });
        let error = failure.map(ToString::to_string);
        let trace_id = span.as_ref().map(RequestSpan::trace_id);
        if let Some(span) = span.take() {
            span.end(&Ended {
                api: *api,
                code,
                status: status.unwrap_or_else(|| status_of(code, failure)),
                error: error.as_deref(),
                audio: *audio,
                work: *work,
                stages: &runs,
            });
        }
        let (audio_seconds, took_seconds) = (seconds(*audio), seconds(took));
        let (queued_seconds, work_seconds) = (seconds(*waited), seconds(*work));
        let (api, code_name) = (api.name(), code_name(code));
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id,
                    trace_id,
                    api,
                    code = code_name,
                    audio_seconds,
                    took_seconds,
                    queued_seconds,
                    work_seconds,
                    error,
                    "request"
                )
            };
        }
        if code == Code::Internal {
            line!(error)
        } else {
            line!(info)
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let late = Instant::now() + TIMER_SLACK >= self.deadline;
        self.over(
            if late {
                Code::DeadlineExceeded
            } else {
                Code::Cancelled
            },
            None,
        );
    }
}

/// What an HTTP client gets; one that is gone gets nothing, and would have got this.
fn status_of(code: Code, failure: Option<&Failure>) -> StatusCode {
    match (code, failure) {
        (_, Some(failure)) => failure.http_status(),
        (Code::Ok, None) => StatusCode::OK,
        (Code::DeadlineExceeded, None) => Failure::deadline("").http_status(),
        (_, None) => Failure::Cancelled.http_status(),
    }
}

/// To the millisecond, which is as much as a log line needs.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// `id` as a header value; ids are visible ASCII.
pub fn header_value(id: &str) -> HeaderValue {
    HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
}

fn request_id(headers: &HeaderMap) -> String {
    static RANDOM: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given {
        Some(id) if (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) => {
            id.to_owned()
        }
        _ => format!("{:016x}", RANDOM.hash_one(NEXT.fetch_add(1, Ordering::Relaxed))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Load;

    fn with_id(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(id).unwrap())])
    }

    #[test]
    fn a_clients_id_is_kept_when_it_is_one_and_made_otherwise() {
        assert_eq!(request_id(&with_id("abc-1")), "abc-1");
        for bad in ["", "two words", &"x".repeat(MAX_ID + 1)] {
            assert_eq!(request_id(&with_id(bad)).len(), 16);
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn a_dropped_call_is_counted_as_cancelled_or_as_late() {
        let metrics = Arc::new(Metrics::new());
        let (traces, headers) = (Traces::default(), HeaderMap::new());
        let begin = |time| Call::begin(metrics.clone(), &traces, Api::Transcribe, None, &headers, time);
        drop(begin(Duration::from_secs(3600)));
        drop(begin(Duration::from_secs(3600)));
        drop(begin(Duration::ZERO));
        begin(Duration::MAX).end(Code::Ok);
        let load = Load {
            running: 0,
            queued: 0,
        };
        let text = metrics.encode(load, Duration::ZERO).unwrap();
        for (code, times) in [("CANCELLED", 2), ("DEADLINE_EXCEEDED", 1), ("OK", 1)] {
            let line = format!("parlance_requests_total{{api=\"Transcribe\",code=\"{code}\"}} {times}");
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        }
    }
}
