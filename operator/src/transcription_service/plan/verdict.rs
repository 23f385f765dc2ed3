//! Whether a canary has failed.
//!
//! In: its pods and its Deployment, as they were found. Out: why it must go, if it must. Pure. Pods that only wait, for a node, a
//! volume or a quota, keep no client waiting and are given time; so are images for a minute, since registries have bad moments.

use crds::condition::Reason;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::SignedDuration;
use kube::ResourceExt;

use super::super::fetch::Fetched;
use crate::health::{self, Finding, Symptoms};
use crate::names::VARIANT;
use crate::workload::ModelMount;

/// How long what may pass by itself is let pass.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// Why a canary was taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was wrong, in one word.
    pub reason: String,
    /// What, in a sentence.
    pub message: String,
}

/// Everything that is wrong with pods of this variant.
pub fn findings(fetched: &Fetched, mount: &ModelMount, variant: &str) -> Vec<Finding> {
    let observed = &fetched.observed;
    let mounted = |claim: &&PersistentVolumeClaim| mount.claim.as_deref() == Some(claim.name_any().as_str());
    let claims = fetched
        .canary
        .children
        .persistent_volume_claims
        .iter()
        .chain(&observed.children.persistent_volume_claims)
        .chain(&fetched.canary.claim)
        .chain(&fetched.claim);
    let deployments = &fetched.canary.children.deployments;
    health::findings(&Symptoms {
        deployment: deployments.iter().find(|one| is_judged(one, variant)),
        pods: of_variant(fetched, variant).collect(),
        claims: claims.filter(mounted).collect(),
        warnings: &observed.warnings,
        storage_classes: observed.storage_classes.as_deref(),
        nodes: observed.nodes.as_deref(),
        ..Symptoms::default()
    })
}

/// Why the canary must go. Its containers may be started again `most` times.
pub fn failure(fetched: &Fetched, mount: &ModelMount, variant: &str, most: i32) -> Option<Failure> {
    let findings = findings(fetched, mount, variant);
    let old = |pod: &Pod| {
        let made = pod.metadata.creation_timestamp.as_ref();
        made.is_some_and(|made| fetched.canary.at.duration_since(made.0) >= PATIENCE)
    };
    let late = of_variant(fetched, variant).any(old);
    let ends: i32 = of_variant(fetched, variant).flat_map(servers).map(ends).sum();
    let too_often = ends > most;
    let told = findings
        .iter()
        .find(|finding| match finding.reason {
            Reason::CrashLoop | Reason::OutOfMemory => too_often,
            Reason::ImagePullFailed | Reason::ContainerCreationFailed | Reason::SecretNotFound => late,
            reason => is_final(reason),
        })
        .map(|finding| Failure {
            reason: finding.reason.as_str().into(),
            message: finding.message.clone(),
        });
    let restarted = || Failure {
        reason: Reason::CrashLoop.as_str().into(),
        message: format!("the server of its pods ended {ends} times, and may do so {most} times"),
    };
    told.or_else(|| too_often.then(restarted))
}

/// What no waiting mends.
fn is_final(reason: Reason) -> bool {
    use Reason::{
        AccessDenied, ChecksumMismatch, DigestMismatch, InvalidModel, NoSpace, RolloutStalled, SourceNotFound,
    };
    matches!(
        reason,
        AccessDenied
            | ChecksumMismatch
            | DigestMismatch
            | InvalidModel
            | NoSpace
            | RolloutStalled
            | SourceNotFound
    )
}

/// The pods that do what is tried now, and not what was tried before.
pub fn of_variant<'a>(fetched: &'a Fetched, variant: &'a str) -> impl Iterator<Item = &'a Pod> {
    let same = move |pod: &&Pod| pod.annotations().get(VARIANT).is_some_and(|one| one == variant);
    let stays = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
    fetched.canary.pods.iter().filter(same).filter(stays)
}

/// Whether what the Deployment says is about this variant.
fn is_judged(deployment: &Deployment, variant: &str) -> bool {
    let spec = deployment.spec.as_ref();
    let annotations = spec
        .and_then(|spec| spec.template.metadata.as_ref())
        .and_then(|template| template.annotations.as_ref());
    let observed = deployment
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    let same = annotations.is_some_and(|all| all.get(VARIANT).is_some_and(|one| one == variant));
    same && observed == deployment.metadata.generation
}

fn servers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten())
}

/// How often a container has ended: once more than it was started again, while it is down.
fn ends(container: &ContainerStatus) -> i32 {
    let state = container.state.as_ref();
    let down = state.is_some_and(|state| {
        let backs_off = state
            .waiting
            .as_ref()
            .and_then(|waiting| waiting.reason.as_deref());
        state.terminated.is_some() || backs_off == Some("CrashLoopBackOff")
    });
    container.restart_count + i32::from(down)
}
