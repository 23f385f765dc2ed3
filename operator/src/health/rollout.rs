//! How far the pods of a Deployment are.
//!
//! In: the Deployment with its pods, or a Job. Out: whether it is as wanted, since when it serves, and what the apiserver refuses.
//! Pure.

use crds::condition::Reason;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::{Finding, newest_warning, pods};
use crate::workload::Strategy;
use crate::workload::rollout::strategy_of;

/// How far a Deployment is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Pods that exist.
    pub replicas: i32,
    /// Pods that serve.
    pub ready: i32,
    /// Pods that there should be at least.
    pub wanted: i32,
    /// Whether all pods are of the newest template and enough of them serve.
    pub complete: bool,
    /// Whether enough pods serve, of whatever template.
    pub available: bool,
    /// How pods that hold devices are being replaced, while some are.
    pub replaced: Option<Strategy>,
}

impl Rollout {
    /// How far `deployment` is towards at least `wanted` pods.
    pub fn of(deployment: &Deployment, wanted: i32) -> Rollout {
        let status = deployment.status.clone().unwrap_or_default();
        let replicas = status.replicas.unwrap_or(0);
        let updated = status.updated_replicas.unwrap_or(0);
        let observed = status.observed_generation >= deployment.meta().generation;
        let ready = status.ready_replicas.unwrap_or(0);
        let available = status.available_replicas.unwrap_or(0);
        Rollout {
            replicas,
            ready,
            wanted,
            complete: observed && updated == replicas && available >= wanted && updated >= wanted,
            // A Deployment that may replace its only pod is Available without one.
            available: (available > 0 || wanted == 0)
                && condition(deployment, "Available").is_some_and(|condition| condition.status == "True"),
            replaced: strategy_of(deployment).filter(|_| updated < replicas && holds_devices(deployment)),
        }
    }

    /// The state in a sentence.
    pub fn sentence(&self) -> String {
        match (self.complete, self.wanted) {
            (true, 0) => "replicas is 0: no pod runs, and no request is answered".into(),
            (true, _) => format!("{} of {} pods serve", self.ready, self.replicas.max(self.wanted)),
            (false, _) => format!(
                "{} of {} pods serve; pods are being started or replaced{}",
                self.ready,
                self.wanted,
                match self.replaced {
                    Some(Strategy::Surge) => ": a new pod starts before an old one ends",
                    Some(Strategy::Replace) => ": an old pod ends before its successor starts",
                    None => "",
                }
            ),
        }
    }
}

/// Whether its pods hold devices: claims, or a resource that a device plugin names.
fn holds_devices(deployment: &Deployment) -> bool {
    let pod = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    pod.is_some_and(|pod| {
        let limits = pod
            .containers
            .iter()
            .filter_map(|one| one.resources.as_ref()?.limits.as_ref());
        pod.resource_claims
            .as_ref()
            .is_some_and(|claims| !claims.is_empty())
            || limits
                .flat_map(|limits| limits.keys())
                .any(|resource| resource.contains('/'))
    })
}

fn condition<'a>(deployment: &'a Deployment, type_: &str) -> Option<&'a DeploymentCondition> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Since when one of the Deployment's pods has served without a break. Its own condition does not tell: a Deployment that may
/// replace its only pod is Available without one, so what it says of that keeps its time while pods come and go.
pub fn serves_since(deployment: &Deployment, pods: &[Pod]) -> Option<Timestamp> {
    let available = deployment.status.as_ref()?.available_replicas;
    let selector = deployment.spec.as_ref()?.selector.match_labels.as_ref();
    let own = pods.iter().filter(|pod| {
        let mut labels = selector.into_iter().flatten();
        labels.all(|(label, value)| pod.labels().get(label) == Some(value))
    });
    let since = own.filter_map(pods::ready_since).min()?;
    (available > Some(0)).then_some(since)
}

/// That the apiserver refuses the pods.
pub fn refused(deployment: &Deployment) -> Option<Finding> {
    let failure = condition(deployment, "ReplicaFailure").filter(|condition| condition.status == "True")?;
    let text = failure.message.as_deref().unwrap_or("no reason given");
    Some(Finding::new(
        Reason::PodsRefused,
        format!("the apiserver refuses the pods: {text}"),
    ))
}

/// That the apiserver refuses the pods of a Job.
pub fn job_refused(job: &Job, warnings: &[Event]) -> Option<Finding> {
    let warning = newest_warning(warnings, job.uid().as_deref())?;
    let text = warning.message.as_deref().unwrap_or("no reason given");
    let refused = warning.reason.as_deref() == Some("FailedCreate");
    refused.then(|| {
        Finding::new(
            Reason::PodsRefused,
            format!("the apiserver refuses the pods: {text}"),
        )
    })
}

/// That pods run and do not become ready, without telling why.
pub fn stalled(deployment: &Deployment) -> Option<Finding> {
    let progressing = condition(deployment, "Progressing")?;
    let late = progressing.reason.as_deref() == Some("ProgressDeadlineExceeded");
    late.then(|| {
        let message = format!(
            "the pods of Deployment {} do not become ready; read their logs with kubectl logs deployment/{}",
            deployment.name_any(),
            deployment.name_any()
        );
        Finding::new(Reason::RolloutStalled, message)
    })
}
