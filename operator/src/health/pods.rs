//! Pods that do not get on.
//!
//! In: a pod. Out: what is wrong with it. Pure.

use crds::condition::Reason;
use crds::placement::Gpu;
use k8s_openapi::api::core::v1::{
    ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Event, Pod, PodCondition,
};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::{Finding, Symptoms, evaluation, newest, newest_warning, report};
use crate::names::{EVALUATION_CONTAINER, MODEL_CONTAINER};

/// Whether the pod has a node.
pub fn is_placed(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

/// Whether the pod is ready, and not on its way out.
pub fn is_ready(pod: &Pod) -> bool {
    ready(pod).is_some()
}

/// Since when it is.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready(pod)?.last_transition_time.as_ref().map(|time| time.0)
}

fn ready(pod: &Pod) -> Option<&PodCondition> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let ready = conditions.find(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready.filter(|_| pod.meta().deletion_timestamp.is_none())
}

/// Whether the pod has a node and its containers are not started: its volumes may not come.
pub fn waits_for_volumes(pod: &Pod) -> bool {
    let pending = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending");
    pending
        && is_placed(pod)
        && containers(pod).all(|container| {
            let state = container.state.clone().unwrap_or_default();
            let reason = state.waiting.and_then(|waiting| waiting.reason);
            matches!(reason.as_deref(), Some("ContainerCreating" | "PodInitializing"))
        })
}

/// Everything that is wrong with a pod. A pod that is on its way out, or was evicted and replaced, is
/// no one's concern.
pub fn findings(pod: &Pod, symptoms: &Symptoms) -> Vec<Finding> {
    let failed = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Failed");
    if failed || pod.meta().deletion_timestamp.is_some() {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = unschedulable(pod, symptoms).into_iter().collect();
    findings.extend(volumes(pod, symptoms));
    findings.extend(containers(pod).filter_map(|container| container_finding(pod, container)));
    findings
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status
        .and_then(|status| status.init_container_statuses.as_deref())
        .unwrap_or_default();
    let main = status
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default();
    init.iter().chain(main)
}

fn unschedulable(pod: &Pod, symptoms: &Symptoms) -> Option<Finding> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled")?;
    if scheduled.status != "False" || scheduled.reason.as_deref() != Some("Unschedulable") {
        return None;
    }
    let text = scheduled
        .message
        .as_deref()
        .unwrap_or("the scheduler gives no reason")
        .trim();
    if let Some(gpu) = symptoms
        .gpu
        .filter(|gpu| text.contains(&format!("Insufficient {}", gpu.resource_name)))
    {
        let message = format!(
            "no node has {} {} free for pod {}: {text}; free some, or add a node",
            gpu.count,
            gpu.resource_name,
            pod.name_any()
        );
        return Some(Finding::new(Reason::NoMatchingGpuNode, message));
    }
    if symptoms.gpu.is_some_and(Gpu::is_claimed) && text.contains("cannot allocate all claims") {
        let message = format!(
            "no node has devices free for the claims of pod {}: {text}; free some, or add a node",
            pod.name_any()
        );
        return Some(Finding::new(Reason::NoMatchingGpuNode, message));
    }
    if let Some(finding) = evaluation::samples_missing(pod, text) {
        return Some(finding);
    }
    let message = format!("no node takes pod {}: {text}", pod.name_any());
    Some(Finding::new(Reason::Unschedulable, message))
}

fn volumes(pod: &Pod, symptoms: &Symptoms) -> Option<Finding> {
    if !waits_for_volumes(pod) {
        return None;
    }
    let uid = pod.uid();
    if let Some(text) = missing_secret(symptoms.warnings, uid.as_deref()) {
        let message = format!(
            "pod {} waits for a Secret: {text}; create it, and the pod starts by itself",
            pod.name_any()
        );
        return Some(Finding::new(Reason::SecretNotFound, message));
    }
    let warning = newest_warning(symptoms.warnings, uid.as_deref())?;
    let text = warning.message.as_deref().unwrap_or("no message").trim();
    if let Some(finding) = evaluation::samples_missing(pod, text) {
        return Some(finding);
    }
    let message = match warning.reason.as_deref() {
        Some("FailedMount" | "FailedAttachVolume" | "FailedMapVolume") => {
            format!("pod {} cannot mount its volume: {text}", pod.name_any())
        }
        _ => return None,
    };
    Some(Finding::new(Reason::VolumePending, message))
}

/// What the kubelet says of a Secret that the pod mounts and that does not exist, or not with the key. It says so between more
/// general words, so not its newest ones count.
fn missing_secret<'a>(warnings: &'a [Event], uid: Option<&str>) -> Option<&'a str> {
    let about_secrets = warnings.iter().filter(|one| secret_words(one).is_some());
    newest(about_secrets, uid).and_then(secret_words)
}

fn secret_words(warning: &Event) -> Option<&str> {
    let text = warning.message.as_deref()?.trim();
    let missing = (text.contains("secret \"") && text.contains("not found"))
        || text.contains("references non-existent secret key");
    (warning.reason.as_deref() == Some("FailedMount") && missing).then_some(text)
}

fn container_finding(pod: &Pod, container: &ContainerStatus) -> Option<Finding> {
    let state = container.state.clone().unwrap_or_default();
    let before = container.last_state.clone().unwrap_or_default().terminated;
    if let Some(finding) = state
        .waiting
        .as_ref()
        .and_then(|waiting| waiting_finding(pod, container, waiting))
    {
        return Some(finding);
    }
    // What is up and ready is well, whatever it went through.
    let settled = container.ready
        || state
            .terminated
            .as_ref()
            .is_some_and(|ended| ended.exit_code == 0);
    let ended = state
        .terminated
        .or(before)
        .filter(|ended| !settled && ended.exit_code != 0)?;
    Some(ended_finding(pod, container, &ended))
}

fn waiting_finding(
    pod: &Pod,
    container: &ContainerStatus,
    waiting: &ContainerStateWaiting,
) -> Option<Finding> {
    let text = waiting
        .message
        .as_deref()
        .unwrap_or("the kubelet gives no reason");
    // The kubelet says the same with and without this; only one of the two makes a status that stands still.
    let text = text.rsplit("ErrImagePull: ").next().unwrap_or(text).trim();
    match waiting.reason.as_deref()? {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError"
        | "SignatureValidationFailed" => Some(Finding::new(
            Reason::ImagePullFailed,
            match image_volume(pod).filter(|reference| text.contains(*reference)) {
                Some(model) => format!(
                    "the model's image {model} cannot be mounted: {text}; check source.image and imagePullSecrets"
                ),
                None => format!(
                    "image {} cannot be pulled: {text}; check image and imagePullSecrets",
                    container.image
                ),
            },
        )),
        "CreateContainerConfigError" if container.name == MODEL_CONTAINER => Some(Finding::new(
            Reason::ContainerCreationFailed,
            format!(
                "the model cannot be downloaded: {text}; create what is missing, or name another Secret in the source"
            ),
        )),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Some(Finding::new(
            Reason::ContainerCreationFailed,
            format!("container {} cannot be started: {text}", container.name),
        )),
        _ => None,
    }
}

/// The image that is mounted as a volume. What is wrong with it, the kubelet says of the containers.
fn image_volume(pod: &Pod) -> Option<&str> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    let mut images = volumes.iter().filter_map(|volume| volume.image.as_ref());
    images.find_map(|image| image.reference.as_deref())
}

fn ended_finding(pod: &Pod, container: &ContainerStatus, ended: &ContainerStateTerminated) -> Finding {
    if ended.reason.as_deref() == Some("OOMKilled") {
        let limit = memory_limit(pod, &container.name);
        return Finding::new(
            Reason::OutOfMemory,
            format!(
                "container {} was ended for using more memory than its limit of {limit}; \
                 choose a larger profile, or set resources.limits.memory",
                container.name
            ),
        );
    }
    if container.name == MODEL_CONTAINER {
        return report::failure(ended);
    }
    if container.name == EVALUATION_CONTAINER {
        return evaluation::failure(ended);
    }
    let text = ended
        .message
        .as_deref()
        .or(ended.reason.as_deref())
        .unwrap_or("no message")
        .trim();
    Finding::new(
        Reason::CrashLoop,
        format!(
            "container {} ended with exit code {} ({} restarts): {}",
            container.name,
            ended.exit_code,
            container.restart_count,
            last_lines(text)
        ),
    )
}

fn memory_limit(pod: &Pod, container: &str) -> String {
    let spec = pod.spec.as_ref();
    let containers = spec.into_iter().flat_map(|spec| {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    });
    let limits = containers
        .filter(|one| one.name == container)
        .filter_map(|one| one.resources.as_ref()?.limits.as_ref());
    let mut memory = limits.filter_map(|limits| limits.get("memory"));
    memory
        .next()
        .map_or_else(|| "the node".to_string(), |quantity| quantity.0.clone())
}

/// The end of a log, where the cause stands.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(3)..].join(" | ");
    let start = tail.char_indices().rev().nth(599).map_or(0, |(at, _)| at);
    tail[start..].to_string()
}
