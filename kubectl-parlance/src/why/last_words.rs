//! What containers that ended said last.
//!
//! In: pods. Out: the last lines of their logs. A log that cannot be read is left out.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::LogParams;
use kube::{Api, Client, ResourceExt};

use crate::pods;

/// Lines that are read of a log.
const LINES: i64 = 5;
/// How the kubelet answers, as if it were the log, when the container is swept away.
const GONE: &str = "unable to retrieve container logs";

/// The end of a container's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWords {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Lines, the last one last.
    pub lines: Vec<String>,
}

/// Whether the container ended badly and does not serve now.
pub fn failed(container: &ContainerStatus) -> bool {
    let state = container.state.clone().unwrap_or_default();
    let before = container.last_state.clone().unwrap_or_default().terminated;
    let ended = state.terminated.or(before);
    !container.ready && ended.is_some_and(|ended| ended.exit_code != 0)
}

/// The last words of every container that ended badly.
pub async fn of(client: &Client, namespace: &str, pods: &[Pod]) -> Vec<LastWords> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let mut heard = Vec::new();
    for pod in pods {
        for container in pods::containers(pod).filter(|one| failed(one)) {
            let running = container
                .state
                .as_ref()
                .is_some_and(|state| state.running.is_some());
            let params = LogParams {
                container: Some(container.name.clone()),
                // What runs now has not ended: the one before it did.
                previous: running,
                tail_lines: Some(LINES),
                ..LogParams::default()
            };
            if let Ok(log) = api.logs(&pod.name_any(), &params).await {
                let lines = log
                    .lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty() && !line.starts_with(GONE));
                heard.push(LastWords {
                    pod: pod.name_any(),
                    container: container.name.clone(),
                    lines: lines.map(str::to_owned).collect(),
                });
            }
        }
    }
    heard.retain(|words| !words.lines.is_empty());
    heard
}
