//! The text of a pod's `/metrics` in; the numbers that `top` needs out. Pure. The names are those of the server's `metrics`.

use std::collections::BTreeMap;

use prometheus_parse::{Scrape, Value};

/// What a pod said of itself at one moment. Counters count since it started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Requests that hold a permit.
    pub running: f64,
    /// Requests that wait for one.
    pub queued: f64,
    /// Seconds of audio that wait.
    pub queued_audio: f64,
    /// Requests that have ended.
    pub requests: f64,
    /// Requests that were refused.
    pub refused: f64,
    /// Seconds of audio that were transcribed.
    pub audio: f64,
    /// Sum of the real-time factors of those, and how many there were.
    pub factors: (f64, f64),
    /// Requests that took at most so long, by milliseconds; `u64::MAX` holds all.
    pub latencies: BTreeMap<u64, f64>,
    /// When the process started, in seconds since the Unix epoch.
    pub started: f64,
}

/// The numbers in a text.
///
/// # Errors
/// When it holds none of the server's.
pub fn sample(text: &str) -> Result<Sample, String> {
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let scrape = Scrape::parse(lines).map_err(|e| e.to_string())?;
    let mut sample = Sample::default();
    let mut known = false;
    for found in scrape.samples {
        let number = match &found.value {
            Value::Counter(number) | Value::Gauge(number) | Value::Untyped(number) => *number,
            Value::Histogram(_) | Value::Summary(_) => 0.0,
        };
        match (found.metric.as_str(), found.value) {
            ("parlance_requests_running", _) => {
                sample.running = number;
                known = true;
            }
            ("parlance_requests_queued", _) => sample.queued = number,
            ("parlance_queued_audio_seconds", _) => sample.queued_audio = number,
            ("parlance_requests_total", _) => sample.requests += number,
            ("parlance_rejections_total", _) => sample.refused += number,
            ("parlance_audio_seconds_total", _) => sample.audio += number,
            ("parlance_real_time_factor_sum", _) => sample.factors.0 += number,
            ("parlance_real_time_factor_count", _) => sample.factors.1 += number,
            ("parlance_process_start_time_seconds", _) => sample.started = number,
            ("parlance_request_duration_seconds", Value::Histogram(buckets)) => {
                for bucket in buckets {
                    *sample.latencies.entry(millis(bucket.less_than)).or_default() += bucket.count;
                }
            }
            _ => {}
        }
    }
    match known {
        true => Ok(sample),
        false => Err("its /metrics are not those of parlance-server".to_owned()),
    }
}

/// Bounds as whole numbers, so that they can be keys.
fn millis(seconds: f64) -> u64 {
    match seconds.is_finite() {
        true => (seconds * 1000.0).round() as u64,
        false => u64::MAX,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What `parlance-server` writes, cut to what matters.
    pub const TEXT: &str = r#"# HELP parlance_requests Requests that have ended, by API and gRPC code.
# TYPE parlance_requests counter
parlance_requests_total{api="Transcribe",code="OK"} 7
parlance_requests_total{api="HttpTranscriptions",code="RESOURCE_EXHAUSTED"} 2
# HELP parlance_request_duration_seconds From arrival to the end of a request.
# TYPE parlance_request_duration_seconds histogram
# UNIT parlance_request_duration_seconds seconds
parlance_request_duration_seconds_sum{api="Transcribe"} 3.5
parlance_request_duration_seconds_count{api="Transcribe"} 7
parlance_request_duration_seconds_bucket{le="0.1",api="Transcribe"} 2
parlance_request_duration_seconds_bucket{le="0.5",api="Transcribe"} 6
parlance_request_duration_seconds_bucket{le="+Inf",api="Transcribe"} 7
parlance_request_duration_seconds_sum{api="HttpTranscriptions"} 0.1
parlance_request_duration_seconds_count{api="HttpTranscriptions"} 2
parlance_request_duration_seconds_bucket{le="0.1",api="HttpTranscriptions"} 2
parlance_request_duration_seconds_bucket{le="0.5",api="HttpTranscriptions"} 2
parlance_request_duration_seconds_bucket{le="+Inf",api="HttpTranscriptions"} 2
# HELP parlance_audio_seconds Audio that was transcribed.
# TYPE parlance_audio_seconds counter
# UNIT parlance_audio_seconds seconds
parlance_audio_seconds_total{api="Transcribe"} 21.5
# HELP parlance_real_time_factor Time that the model worked, divided by the length of the audio.
# TYPE parlance_real_time_factor histogram
parlance_real_time_factor_sum{api="Transcribe"} 0.35
parlance_real_time_factor_count{api="Transcribe"} 7
parlance_real_time_factor_bucket{le="0.05",api="Transcribe"} 7
parlance_real_time_factor_bucket{le="+Inf",api="Transcribe"} 7
# TYPE parlance_requests_running gauge
parlance_requests_running 1
# TYPE parlance_requests_queued gauge
parlance_requests_queued 3
# TYPE parlance_queued_audio_seconds gauge
# UNIT parlance_queued_audio_seconds seconds
parlance_queued_audio_seconds 12.5
# TYPE parlance_rejections counter
parlance_rejections_total{reason="busy"} 2
# TYPE parlance_process_start_time_seconds gauge
parlance_process_start_time_seconds 1790000000.25
# EOF
"#;

    #[test]
    fn the_numbers_of_all_apis_are_added_up() {
        let sample = sample(TEXT).unwrap();
        assert_eq!(
            (sample.running, sample.queued, sample.queued_audio),
            (1.0, 3.0, 12.5)
        );
        assert_eq!((sample.requests, sample.refused, sample.audio), (9.0, 2.0, 21.5));
        assert_eq!(sample.factors, (0.35, 7.0));
        assert_eq!(
            sample.latencies,
            BTreeMap::from([(100, 4.0), (500, 8.0), (u64::MAX, 9.0)])
        );
        assert_eq!(sample.started, 1_790_000_000.25);
    }

    #[test]
    fn other_programs_metrics_are_not_taken_for_the_servers() {
        assert!(
            sample("go_goroutines 7\n")
                .unwrap_err()
                .contains("parlance-server")
        );
    }
}
