//! One request from its arrival to its end: in go the facts as they become known, out come one log line and its metrics.
//! A request that is dropped before its end was cancelled, and is counted too. Never holds audio or text.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    metrics::{Api, Finished, Metrics},
    status::{Code, Failure, code_name},
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
    ended: bool,
}

impl Call {
    /// A request arrives; it must be over after `time`.
    pub fn begin(metrics: Arc<Metrics>, api: Api, headers: &HeaderMap, time: Duration) -> Self {
        let arrived = Instant::now();
        // A time that no clock can hold is as good as a year.
        let year = Duration::from_secs(365 * 24 * 3600);
        Call {
            metrics,
            api,
            request_id: request_id(headers),
            arrived,
            deadline: arrived + time.min(year),
            waited: Duration::ZERO,
            audio: Duration::ZERO,
            work: Duration::ZERO,
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

    /// It got its permit after `wait` in the queue.
    pub fn admitted(&mut self, wait: Duration) {
        self.waited = wait;
        self.metrics.waited(wait);
    }

    /// So much audio has been transcribed, and the model worked so long on it.
    pub fn transcribed(&mut self, audio: Duration, work: Duration) {
        self.audio = audio;
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
            ..
        } = self;
        let took = arrived.elapsed();
        metrics.finished(Finished {
            api: *api,
            code,
            took,
            audio: *audio,
            work: *work,
        });
        let (api, code_name) = (api.name(), code_name(code));
        let error = failure.map(ToString::to_string);
        let (audio_seconds, took_seconds) = (seconds(*audio), seconds(took));
        let (queued_seconds, work_seconds) = (seconds(*waited), seconds(*work));
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id,
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
        let begin = |time| Call::begin(metrics.clone(), Api::Transcribe, &HeaderMap::new(), time);
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
