//! What the container that brings the model said of it.
//!
//! In: pods. Out: digest, size and number of files, or what was wrong. Pure. The words are those of `parlance-server fetch`.

use std::time::Duration;

use crds::condition::Reason;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use serde::Deserialize;

use super::Finding;
use crate::names::MODEL_CONTAINER;

/// A model that was verified.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelReport {
    /// sha256 over its files.
    pub digest: String,
    /// Bytes of its files.
    pub size_bytes: i64,
    /// Number of its files.
    pub files: i64,
    /// URI of where it was downloaded from, if it was.
    #[serde(default)]
    pub source: Option<String>,
    /// The commit that its revision was, where the source has such a thing.
    #[serde(default)]
    pub resolved_revision: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    reason: String,
    message: String,
}

/// The status of the container that brings the model, in a pod of either kind.
pub fn model_container(pod: &Pod) -> Option<&ContainerStatus> {
    let status = pod.status.as_ref()?;
    let statuses = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses);
    statuses
        .flatten()
        .find(|container| container.name == MODEL_CONTAINER)
}

/// Whether the pod is bringing its model.
pub fn is_fetching(pod: &Pod) -> bool {
    let state = model_container(pod).and_then(|container| container.state.as_ref());
    state.is_some_and(|state| state.running.is_some())
}

/// What the newest pod that verified its model reports.
pub fn verified<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Option<ModelReport> {
    let reports = pods.into_iter().filter_map(|pod| {
        let ended = model_container(pod)?.state.as_ref()?.terminated.as_ref()?;
        let succeeded = (ended.exit_code == 0).then_some(ended)?;
        let report = serde_json::from_str(succeeded.message.as_deref()?.trim()).ok()?;
        Some((succeeded.finished_at.as_ref().map(|time| time.0), report))
    });
    reports.max_by_key(|(at, _)| *at).map(|(_, report)| report)
}

/// How long the newest container took that put its model in place and verified it.
pub fn fetch_time<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Option<Duration> {
    let times = pods.into_iter().filter_map(|pod| {
        let ended = model_container(pod)?.state.as_ref()?.terminated.as_ref()?;
        let succeeded = (ended.exit_code == 0).then_some(ended)?;
        let (from, to) = (
            succeeded.started_at.as_ref()?.0,
            succeeded.finished_at.as_ref()?.0,
        );
        Some((to, to.duration_since(from)))
    });
    let (_, took) = times.max_by_key(|(to, _)| *to)?;
    Duration::try_from(took).ok()
}

/// What is wrong when that container ended badly.
pub fn failure(ended: &ContainerStateTerminated) -> Finding {
    let text = ended.message.as_deref().unwrap_or_default().trim();
    if let Ok(Failure { reason, message }) = serde_json::from_str(text) {
        let (reason, advice) = match reason.as_str() {
            "SourceNotFound" => (
                Reason::SourceNotFound,
                "check the name or path in the source; it is looked for again within five minutes",
            ),
            "AccessDenied" => (
                Reason::AccessDenied,
                "check the Secret that the source names, and that it opens this model",
            ),
            "SourceUnreachable" => (
                Reason::SourceUnreachable,
                "check the address, and the way out of the cluster; it is tried again within five minutes",
            ),
            "ChecksumMismatch" => (
                Reason::ChecksumMismatch,
                "if the file was changed on purpose, set its new sha256; else restore it at the source",
            ),
            "DigestMismatch" => (
                Reason::DigestMismatch,
                "if the model was changed on purpose, set digest to the new value; else restore its files",
            ),
            "InvalidModel" => (
                Reason::InvalidModel,
                "serve a Whisper model as optimum exports it",
            ),
            "NoSpace" => (Reason::NoSpace, "set a larger cache.size"),
            _ => (Reason::FetchFailed, "it is tried again"),
        };
        return Finding::new(reason, format!("{message}; {advice}"));
    }
    let text = if text.is_empty() {
        ended.reason.as_deref().unwrap_or("no message")
    } else {
        text
    };
    Finding::new(
        Reason::FetchFailed,
        format!(
            "the model container ended with exit code {}: {text}; it is tried again",
            ended.exit_code
        ),
    )
}
