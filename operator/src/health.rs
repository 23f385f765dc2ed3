//! What is wrong with the children of an object, and how far its pods are.
//!
//! In: objects as they were observed. Out: findings, each with a reason and a sentence that tells a person what to do, the
//! root cause first. Pure. It does not say what follows for the status: `conditions` and each kind's `status` do.

pub mod autoscaler;
pub mod claims;
pub mod evaluation;
pub mod lacks;
pub mod nodes;
pub mod pods;
pub mod report;
pub mod rollout;

use crds::condition::Reason;
use crds::placement::Gpu;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

pub use report::ModelReport;
pub use rollout::Rollout;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, in one word.
    pub reason: Reason,
    /// What, in a sentence, and what to do.
    pub message: String,
}

impl Finding {
    /// A finding.
    pub fn new(reason: Reason, message: impl Into<String>) -> Finding {
        Finding {
            reason,
            message: message.into(),
        }
    }
}

/// What can tell that something is wrong.
#[derive(Clone, Debug, Default)]
pub struct Symptoms<'a> {
    /// The Deployment that serves.
    pub deployment: Option<&'a Deployment>,
    /// The Job that verifies the model.
    pub job: Option<&'a Job>,
    /// The pods of both.
    pub pods: Vec<&'a Pod>,
    /// The claims that the pods mount.
    pub claims: Vec<&'a PersistentVolumeClaim>,
    /// Warnings about any of them.
    pub warnings: &'a [Event],
    /// The StorageClasses, where known.
    pub storage_classes: Option<&'a [StorageClass]>,
    /// The nodes, where known.
    pub nodes: Option<&'a [Node]>,
    /// GPUs that the pods want.
    pub gpu: Option<&'a Gpu>,
}

/// Everything that is wrong, the root cause first and each reason once.
pub fn findings(symptoms: &Symptoms) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(
        symptoms
            .claims
            .iter()
            .filter_map(|claim| claims::finding(claim, symptoms)),
    );
    if let Some(gpu) = symptoms.gpu
        && !symptoms.pods.iter().all(|pod| pods::is_placed(pod))
    {
        findings.extend(nodes::finding(gpu, symptoms.nodes));
    }
    findings.extend(symptoms.deployment.and_then(rollout::refused));
    findings.extend(
        symptoms
            .job
            .and_then(|job| rollout::job_refused(job, symptoms.warnings)),
    );
    for pod in &symptoms.pods {
        findings.extend(pods::findings(pod, symptoms));
    }
    // A large model may be on its way for longer than a rollout has.
    if findings.is_empty() && !symptoms.pods.iter().any(|pod| report::is_fetching(pod)) {
        findings.extend(symptoms.deployment.and_then(rollout::stalled));
    }
    let mut seen = Vec::new();
    findings.retain(|finding| {
        let new = !seen.contains(&finding.reason);
        seen.push(finding.reason);
        new
    });
    findings.sort_by_key(|finding| rank(finding.reason));
    findings
}

/// Causes before their effects: a pod without a volume is unschedulable too.
fn rank(reason: Reason) -> usize {
    let order = [
        Reason::SecretNotFound,
        Reason::StorageClassNotFound,
        Reason::VolumePending,
        Reason::NoMatchingGpuNode,
        Reason::PodsRefused,
        Reason::Unschedulable,
        Reason::ImagePullFailed,
        Reason::ContainerCreationFailed,
    ];
    order.iter().position(|one| *one == reason).unwrap_or(order.len())
}

/// The newest of some warnings, as text.
pub(crate) fn newest_warning<'a>(warnings: &'a [Event], uid: Option<&str>) -> Option<&'a Event> {
    newest(warnings.iter(), uid)
}

/// The newest of those about an object.
pub(crate) fn newest<'a>(warnings: impl Iterator<Item = &'a Event>, uid: Option<&str>) -> Option<&'a Event> {
    let about = warnings.filter(|event| uid.is_some() && event.involved_object.uid.as_deref() == uid);
    about.max_by_key(|event| {
        let series = event
            .series
            .as_ref()
            .and_then(|series| series.last_observed_time.as_ref().map(|time| time.0));
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        let first = event.event_time.as_ref().map(|time| time.0);
        series.max(last).max(first)
    })
}

#[cfg(test)]
mod tests;
