//! How far the downloads of models are, as their pods tell it.
//!
//! In: pods whose first container brings a model. Out: bytes, and how fast they come. Pods hold no token to write it
//! themselves, so they are asked, and seldom: each answer changes a status, and each change of a status is looked at. A pod
//! that cannot be asked is no error; its object merely says less.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crds::model::DownloadStatus;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;

use crate::ask::{self, Client};
use crate::health::report::is_fetching;
use crate::names::{MODEL_CONTAINER, Owner, PROGRESS_FLAG, PROGRESS_PORT};

/// How seldom an object's pods are asked.
pub const PERIOD: Duration = Duration::from_secs(10);
/// The longest that an answer may take.
const LONGEST: Duration = Duration::from_secs(2);
/// The most pods that are asked: one downloads, the others wait for it.
const MOST: usize = 8;

/// What a pod answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    bytes: u64,
    total_bytes: u64,
    bytes_per_second: u64,
}

/// The downloads that are asked for, and what was last heard of them.
#[derive(Debug, Default)]
pub struct Downloads {
    client: Client,
    heard: Mutex<HashMap<Owner, (Instant, Option<DownloadStatus>)>>,
}

impl Downloads {
    /// How far the download of an object is; nothing when none of its pods downloads, or none can be asked.
    pub async fn of(&self, owner: &Owner, pods: &[Pod]) -> Option<DownloadStatus> {
        let addresses = addresses(pods);
        if addresses.is_empty() {
            self.heard().remove(owner);
            return None;
        }
        if let Some((at, known)) = self.heard().get(owner)
            && at.elapsed() < PERIOD
        {
            return known.clone();
        }
        let asked = addresses.iter().take(MOST);
        let answers = join_all(asked.map(|address| self.client.ask(address, "/progress", LONGEST))).await;
        let furthest = answers
            .into_iter()
            .flatten()
            .max_by_key(|answer: &Answer| answer.bytes);
        let status = furthest.map(status);
        self.heard()
            .insert(owner.clone(), (Instant::now(), status.clone()));
        status
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, HashMap<Owner, (Instant, Option<DownloadStatus>)>> {
        self.heard.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Whether the pod's first container answers: one that only copies a model does not.
fn answers(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| {
        let first = spec.init_containers.iter().flatten();
        first.chain(&spec.containers)
    });
    let mut arguments = containers
        .filter(|container| container.name == MODEL_CONTAINER)
        .flat_map(|container| container.args.iter().flatten());
    arguments.any(|argument| argument.starts_with(PROGRESS_FLAG))
}

/// Where the pods that bring a model can be asked.
fn addresses(pods: &[Pod]) -> Vec<String> {
    let fetching = pods.iter().filter(|pod| is_fetching(pod) && answers(pod));
    fetching
        .filter_map(|pod| ask::address(pod, PROGRESS_PORT))
        .collect()
}

fn status(answer: Answer) -> DownloadStatus {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let left = answer.total_bytes.saturating_sub(answer.bytes);
    DownloadStatus {
        bytes: number(answer.bytes),
        total_bytes: number(answer.total_bytes),
        bytes_per_second: number(answer.bytes_per_second),
        seconds_left: (answer.bytes_per_second > 0).then(|| number(left.div_ceil(answer.bytes_per_second))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(ip: &str, flag: &str, state: Value) -> Pod {
        let status = json!({"name": "model", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        serde_json::from_value(json!({
            "metadata": {},
            "spec": {"containers": [], "initContainers": [{"name": "model", "args": ["fetch", flag]}]},
            "status": {"podIP": ip, "initContainerStatuses": [status]},
        }))
        .unwrap()
    }

    #[test]
    fn only_pods_that_download_are_asked() {
        let running = || json!({"running": {}});
        let flag = "--progress-addr=0.0.0.0:8081";
        let pods = [
            pod("10.0.0.1", flag, running()),
            pod("fd00::1", flag, running()),
            pod("10.0.0.2", flag, json!({"terminated": {"exitCode": 0}})),
            pod("10.0.0.3", "--bundled=whisper-nano-digits", running()),
            Pod::default(),
        ];
        assert_eq!(addresses(&pods), ["10.0.0.1:8081", "[fd00::1]:8081"]);
    }

    #[test]
    fn what_is_left_is_told_in_seconds_while_bytes_come() {
        let answer = |bytes_per_second| {
            status(Answer {
                bytes: 100,
                total_bytes: 351,
                bytes_per_second,
            })
        };
        assert_eq!(answer(50).seconds_left, Some(6));
        assert_eq!(answer(0).seconds_left, None);
        assert_eq!(answer(50).total_bytes, 351);
    }
}
