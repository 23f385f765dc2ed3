//! What the container that tries a model on samples said of it.
//!
//! In: pods, and what stands in their way. Out: how good the model is, or what was wrong. Pure. The words are those of
//! `parlance-server evaluate`.

use std::time::Duration;

use crds::condition::Reason;
use crds::evaluation::{EvaluationStatus, FailingSample, Metric};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

use super::Finding;
use crate::names::EVALUATION_CONTAINER;

/// How good a model is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvaluationReport {
    metric: String,
    value: f64,
    threshold: f64,
    passed: bool,
    samples: i64,
    #[serde(default)]
    failing: Vec<FailingSample>,
}

#[derive(Deserialize)]
struct Failure {
    reason: String,
    message: String,
}

impl EvaluationReport {
    /// The same for the status. `of` is the hash of what was tried and how.
    pub fn into_status(self, digest: &str, of: &str, at: Option<Time>) -> EvaluationStatus {
        let EvaluationReport {
            metric,
            value,
            threshold,
            passed,
            samples,
            failing,
        } = self;
        EvaluationStatus {
            digest: digest.into(),
            metric,
            value,
            threshold,
            passed,
            samples,
            failing,
            at,
            of: of.into(),
        }
    }
}

/// Whether the pod tries a model on samples.
pub fn is_evaluation(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    spec.is_some_and(|spec| spec.containers.iter().any(|one| one.name == EVALUATION_CONTAINER))
}

fn ended(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let container = statuses.iter().find(|one| one.name == EVALUATION_CONTAINER)?;
    let ended = container.state.as_ref()?.terminated.as_ref()?;
    (ended.exit_code == 0).then_some(ended)
}

/// What the newest of the pods reports that have tried the model, and when.
pub fn reported<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Option<(EvaluationReport, Option<Time>)> {
    let reports = pods.into_iter().filter_map(|pod| {
        let ended = ended(pod)?;
        let report = serde_json::from_str(ended.message.as_deref()?.trim()).ok()?;
        Some((report, ended.finished_at.clone()))
    });
    reports.max_by_key(|(_, at)| at.as_ref().map(|time| time.0))
}

/// How long the newest container took that tried the model.
pub fn time<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Option<Duration> {
    let times = pods.into_iter().filter_map(|pod| {
        let ended = ended(pod)?;
        let (from, to) = (ended.started_at.as_ref()?.0, ended.finished_at.as_ref()?.0);
        Some((to, to.duration_since(from)))
    });
    let (_, took) = times.max_by_key(|(to, _)| *to)?;
    Duration::try_from(took).ok()
}

/// What is wrong when that container ended badly.
pub fn failure(ended: &ContainerStateTerminated) -> Finding {
    let text = ended.message.as_deref().unwrap_or_default().trim();
    let (reason, message) = match serde_json::from_str(text) {
        Ok(Failure { reason, message }) if reason == "SamplesNotFound" => {
            return Finding::new(
                Reason::SamplesNotFound,
                format!("{message}; it is looked again within five minutes"),
            );
        }
        Ok(Failure { reason, message }) => (reason, message),
        Err(_) if text.is_empty() => (
            format!("exit code {}", ended.exit_code),
            ended.reason.clone().unwrap_or_else(|| "no message".into()),
        ),
        Err(_) => (format!("exit code {}", ended.exit_code), text.to_string()),
    };
    Finding::new(
        Reason::EvaluationError,
        format!(
            "the model could not be evaluated ({reason}): {message}; it is tried again within five minutes"
        ),
    )
}

/// That the samples cannot be mounted, from what the kubelet or the scheduler says of the pod that needs them.
pub fn samples_missing(pod: &Pod, text: &str) -> Option<Finding> {
    let about_samples = text.contains("volume \"samples\"") || text.contains("persistentvolumeclaim \"");
    (is_evaluation(pod) && about_samples && text.contains("not found")).then(|| {
        let message = format!(
            "the samples of the evaluation are not there: {text}; create them, or change evaluation.samples"
        );
        Finding::new(Reason::SamplesNotFound, message)
    })
}

/// That the model is not good enough, and what to do.
pub fn verdict(status: &EvaluationStatus) -> Finding {
    let EvaluationStatus {
        metric,
        value,
        threshold,
        samples,
        failing,
        ..
    } = status;
    let more_is_better = metric == Metric::Similarity.as_str();
    let (good, bad) = if more_is_better {
        ("at least", "below")
    } else {
        ("at most", "above")
    };
    if status.passed {
        let message =
            format!("{metric} is {value} over {samples} samples, {good} the threshold of {threshold}");
        return Finding::new(Reason::AsExpected, message);
    }
    let mut message = format!(
        "the model is not good enough: {metric} is {value} over {samples} samples, {bad} the threshold of {threshold}"
    );
    if let Some(worst) = failing.first() {
        let name = &worst.name;
        message += &match (&worst.expected, &worst.heard, &worst.output, worst.similarity) {
            (Some(expected), Some(heard), ..) => {
                format!("; worst: {name}, which should be {expected:?} and was heard as {heard:?}")
            }
            (_, _, Some(output), Some(similarity)) => {
                format!("; worst: {name} with {similarity}, whose output {output} is least alike")
            }
            _ => format!("; worst: {name}"),
        };
    }
    message += "; name a better model, or change evaluation.threshold";
    Finding::new(Reason::EvaluationFailed, message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ended(exit_code: i32, message: Value) -> ContainerStateTerminated {
        serde_json::from_value(json!({"exitCode": exit_code, "message": message, "reason": "Error"})).unwrap()
    }

    fn pod(state: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {}, "spec": {"containers": [{"name": "evaluation"}]},
            "status": {"containerStatuses": [{
                "name": "evaluation", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_newest_report_counts() {
        let done = |at: &str, value: f64| {
            let report = json!({"metric": "wer", "value": value, "threshold": 0.5, "passed": true, "samples": 2, "failing": []});
            pod(
                json!({"terminated": {"exitCode": 0, "message": report.to_string(), "startedAt": "2026-01-01T00:00:00Z", "finishedAt": at}}),
            )
        };
        let pods = [
            done("2026-01-01T00:00:05Z", 0.1),
            done("2026-01-01T00:00:03Z", 0.2),
            pod(json!({"running": {}})),
        ];
        let (report, at) = reported(&pods).unwrap();
        let status = report.into_status("sha256:1", "h", at);
        assert_eq!((status.value, status.of.as_str()), (0.1, "h"));
        assert_eq!(time(&pods), Some(Duration::from_secs(5)));
        assert_eq!(
            verdict(&status).message,
            "wer is 0.1 over 2 samples, at most the threshold of 0.5"
        );
    }

    #[test]
    fn a_model_that_is_not_good_enough_names_value_threshold_and_the_worst_sample() {
        let failing = json!({"name": "a.wav", "expected": "one", "heard": "nine", "errors": 1});
        let status: EvaluationStatus = serde_json::from_value(json!({
            "digest": "sha256:1", "metric": "wer", "value": 0.4, "threshold": 0.15, "passed": false, "samples": 5,
            "failing": [failing], "of": "h"
        }))
        .unwrap();
        let finding = verdict(&status);
        assert_eq!(finding.reason, Reason::EvaluationFailed);
        assert_eq!(
            finding.message,
            "the model is not good enough: wer is 0.4 over 5 samples, above the threshold of 0.15; worst: a.wav, which should be \
             \"one\" and was heard as \"nine\"; name a better model, or change evaluation.threshold"
        );
    }

    #[test]
    fn tensors_that_are_not_alike_name_the_output() {
        let status = |value: f64, passed: bool| -> EvaluationStatus {
            serde_json::from_value(json!({
                "digest": "sha256:1", "metric": "similarity", "value": value, "threshold": 0.85, "passed": passed, "samples": 2,
                "failing": [{"name": "a", "output": "logits", "similarity": 0.1}], "of": "h"
            }))
            .unwrap()
        };
        assert_eq!(
            verdict(&status(0.5, false)).message,
            "the model is not good enough: similarity is 0.5 over 2 samples, below the threshold of 0.85; worst: a with 0.1, whose \
             output logits is least alike; name a better model, or change evaluation.threshold"
        );
        assert_eq!(
            verdict(&status(0.9, true)).message,
            "similarity is 0.9 over 2 samples, at least the threshold of 0.85"
        );
    }

    #[test]
    fn why_there_is_no_verdict() {
        let report = |reason: &str| json!(json!({"reason": reason, "message": "no samples"}).to_string());
        let found = failure(&ended(1, report("SamplesNotFound")));
        assert_eq!(found.reason, Reason::SamplesNotFound);
        let found = failure(&ended(1, report("InvalidSample")));
        assert_eq!(found.reason, Reason::EvaluationError);
        assert!(
            found.message.contains("InvalidSample): no samples"),
            "{}",
            found.message
        );
        let found = failure(&ended(139, Value::Null));
        assert!(
            found.message.contains("(exit code 139): Error"),
            "{}",
            found.message
        );
    }

    #[test]
    fn samples_that_cannot_be_mounted() {
        let text = "MountVolume.SetUp failed for volume \"samples\" : configmap \"digits\" not found";
        let waiting = pod(json!({"waiting": {"reason": "ContainerCreating"}}));
        assert_eq!(
            samples_missing(&waiting, text).unwrap().reason,
            Reason::SamplesNotFound
        );
        assert_eq!(samples_missing(&Pod::default(), text), None);
        assert_eq!(
            samples_missing(&waiting, "volume \"model\": claim not found"),
            None
        );
    }
}
