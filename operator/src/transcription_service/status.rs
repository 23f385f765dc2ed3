//! What became of a TranscriptionService.
//!
//! In: the object, what was fetched, how applying went. Out: its status, and one patch when that is new. All but `publish`
//! and `now` is pure.

pub mod canary;

use crds::TranscriptionService;
use crds::condition::Reason;
use crds::transcription_service::{ModelStatus, ServicePhase, TranscriptionServiceStatus};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::KIND;
use super::fetch::Fetched;
use super::plan::{self, Plan, model_name};
use crate::apply::{self, Change};
use crate::conditions::State;
use crate::context::Context;
use crate::health::lacks::{lacks, split};
use crate::health::{self, Finding, Rollout, Symptoms, autoscaler, report};
use crate::names::Owner;
use crate::publish::{self, Transition};
use crate::resources::{Applied, Resources};
use crate::workload::service::{endpoint, hosts};

/// How a reconcile went.
#[derive(Debug)]
pub enum Outcome {
    /// There is no plan.
    Refused(plan::Error),
    /// The children could not be made.
    Failed {
        /// What was meant.
        plan: Plan,
        /// What stood in the way.
        error: apply::Error,
    },
    /// The children are as they should be.
    Applied {
        /// What was meant.
        plan: Plan,
        /// The children.
        applied: Box<Resources<Applied>>,
        /// The canary's Deployment, if there is to be one; or what stood in its way.
        canary: Result<Option<Box<Deployment>>, apply::Error>,
        /// What was written.
        changes: Vec<Change>,
    },
}

impl Outcome {
    /// What was written.
    pub fn changes(&self) -> &[Change] {
        match self {
            Outcome::Applied { changes, .. } => changes,
            Outcome::Refused(_) | Outcome::Failed { .. } => &[],
        }
    }

    /// Whether to try again: a spec that cannot be followed waits for a change, what could not be written does not.
    pub fn into_result(self) -> Result<(), apply::Error> {
        match self {
            Outcome::Failed { error, .. } => Err(error),
            Outcome::Applied { canary, .. } if canary.is_err() => canary.map(drop),
            Outcome::Refused(_) | Outcome::Applied { .. } => Ok(()),
        }
    }

    /// What was meant.
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Outcome::Refused(_) => None,
            Outcome::Failed { plan, .. } | Outcome::Applied { plan, .. } => Some(plan),
        }
    }
}

/// The conditions that the object has.
pub fn conditions(service: &TranscriptionService) -> &[Condition] {
    service.status.as_ref().map_or(&[], |status| &status.conditions)
}

/// Whether the status speaks of the spec as it is now.
pub fn is_of_this_spec(service: &TranscriptionService) -> bool {
    let status = service.status.as_ref();
    status.is_some_and(|status| status.observed_generation == service.metadata.generation)
}

/// The time, for conditions.
pub fn now() -> Time {
    Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default())
}

/// The status.
pub fn status(
    service: &TranscriptionService,
    fetched: &Fetched,
    outcome: &Outcome,
    now: Time,
) -> TranscriptionServiceStatus {
    let owner = Owner::of(KIND, service.meta());
    let canary = canary::canary(service, fetched, outcome, &now);
    let mut state = state(service, fetched, outcome, &owner);
    state.lacks.extend(autoscaler::findings(&fetched.observed, &now));
    state.lacks.extend(canary.as_ref().and_then(canary::finding));
    state.canary = canary.clone();
    let live_service = match outcome {
        Outcome::Applied { applied, .. } => applied.services.first(),
        _ => fetched
            .observed
            .children
            .services
            .iter()
            .find(|one| one.name_any() == owner.name),
    };
    let hosts = match outcome {
        Outcome::Applied { applied, .. } => hosts(applied),
        _ => hosts(&fetched.observed.children),
    };
    let rollout = state.rollout.clone().unwrap_or_default();
    TranscriptionServiceStatus {
        observed_generation: service.meta().generation,
        phase: Some(phase(&state)),
        message: Some(state.message()),
        conditions: state.conditions(conditions(service), service.meta().generation, &now),
        endpoint: live_service.map(|live| endpoint(live, hosts)),
        download: fetched.observed.download.clone(),
        model: Some(ModelStatus {
            name: model_name(service),
            source: state.digest.as_ref().and_then(|_| source(service, fetched)),
            digest: state.digest,
        }),
        canary,
        replicas: rollout.replicas,
        ready_replicas: rollout.ready,
        selector: Some(owner.scale_selector()),
    }
}

fn state(service: &TranscriptionService, fetched: &Fetched, outcome: &Outcome, owner: &Owner) -> State {
    let deployment = match outcome {
        Outcome::Applied { applied, .. } => applied.deployments.first(),
        _ => fetched
            .observed
            .children
            .deployments
            .iter()
            .find(|one| one.name_any() == owner.name),
    };
    let wanted = |live: &Deployment| live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let rollout = deployment.map(|live| {
        let least = outcome
            .plan()
            .map_or_else(|| wanted(live), |plan| plan.workload.least(live));
        Rollout::of(live, least)
    });
    let mut findings: Vec<Finding> = match outcome {
        Outcome::Refused(plan::Error::ModelNotReady { .. }) | Outcome::Applied { .. } => Vec::new(),
        Outcome::Refused(error) => vec![Finding::from(error)],
        Outcome::Failed { error, .. } => vec![Finding::from(error)],
    };
    let observed = &fetched.observed;
    let lacks = lacks(
        &service.spec.serving,
        "spec",
        &observed.offered,
        &observed.children,
    );
    let (causes, mut lacks) = split(lacks, rollout.as_ref());
    findings.extend(causes);
    let workload = outcome.plan().map(|plan| &plan.workload);
    let sleep = workload.and_then(|workload| workload.told_of_sleep(deployment?));
    let silent = workload.and_then(|workload| workload.zero.as_ref()?.silent.clone());
    match sleep {
        // Nothing could wake it.
        Some(_) => findings.extend(silent),
        None => lacks.extend(silent),
    }
    findings.extend(health::findings(&symptoms(service, fetched, deployment)));
    let digest = digest(service, fetched);
    let awaited = match (outcome, &rollout) {
        (Outcome::Refused(error), _) => Some(Finding::from(error)),
        (_, Some(rollout)) if rollout.complete => sleep.as_ref().and_then(|sleep| sleep.awaited.clone()),
        (_, rollout) if digest.is_none() && rollout.as_ref().is_none_or(|rollout| rollout.ready == 0) => {
            Some(Finding::new(
                Reason::FetchingModel,
                "the model is being put on its volume and verified",
            ))
        }
        (_, rollout) => {
            let sentence = rollout
                .as_ref()
                .map_or_else(|| "pods are being started".into(), Rollout::sentence);
            Some(Finding::new(Reason::RollingOut, sentence))
        }
    };
    let mut good_news = match &sleep {
        Some(sleep) => sleep.news.clone(),
        None => rollout.as_ref().map(Rollout::sentence).unwrap_or_default(),
    };
    if let Some(older) = outcome.plan().and_then(|plan| plan.older.as_ref()) {
        good_news = format!("{good_news}; {older}");
    }
    State {
        findings,
        lacks,
        awaited,
        digest,
        evaluation: None,
        canary: None,
        rollout,
        good_news,
        asleep: sleep.is_some(),
    }
}

fn symptoms<'a>(
    service: &'a TranscriptionService,
    fetched: &'a Fetched,
    deployment: Option<&'a Deployment>,
) -> Symptoms<'a> {
    let observed = &fetched.observed;
    Symptoms {
        deployment,
        job: None,
        pods: observed.pods.iter().collect(),
        claims: observed
            .children
            .persistent_volume_claims
            .iter()
            .chain(&fetched.claim)
            .collect(),
        warnings: &observed.warnings,
        storage_classes: observed.storage_classes.as_deref(),
        nodes: observed.nodes.as_deref(),
        gpu: service.spec.serving.gpu.as_ref(),
    }
}

/// The digest that the pods report; what was known before, as long as it is the same model, when none is there to report.
fn digest(service: &TranscriptionService, fetched: &Fetched) -> Option<String> {
    if let Some(report) = report::verified(&fetched.observed.pods) {
        return Some(report.digest);
    }
    let known = service
        .status
        .as_ref()?
        .model
        .as_ref()
        .filter(|known| known.name == model_name(service))?;
    let pin = service
        .spec
        .model
        .as_ref()
        .and_then(|model| model.digest.as_ref());
    known
        .digest
        .clone()
        .filter(|digest| pin.is_none_or(|pin| pin == digest))
}

/// Where the model was downloaded from: as its ModelDeployment says, or the pods, or the status when none is there to say.
fn source(service: &TranscriptionService, fetched: &Fetched) -> Option<String> {
    if let Some(model) = &fetched.model {
        return model.status.as_ref()?.source.clone();
    }
    if let Some(report) = report::verified(&fetched.observed.pods) {
        return report.source;
    }
    let known = service.status.as_ref()?.model.as_ref()?;
    (known.name == model_name(service)).then(|| known.source.clone())?
}

fn phase(state: &State) -> ServicePhase {
    match () {
        () if state.is_ready() && state.is_idle() => ServicePhase::Idle,
        () if state.is_ready() && state.lacks.is_empty() => ServicePhase::Ready,
        () if state.is_ready() => ServicePhase::Degraded,
        () if !state.findings.is_empty() && state.serves() => ServicePhase::Degraded,
        () if state.waits_for_others() && !state.serves() => ServicePhase::Pending,
        () if !state.findings.is_empty() => ServicePhase::Failed,
        () => ServicePhase::Deploying,
    }
}

/// Writes the status when it is new, and tells what is new.
pub async fn publish(
    service: &TranscriptionService,
    next: &TranscriptionServiceStatus,
    changes: &[Change],
    context: &Context,
) -> Result<(), kube::Error> {
    let transition = Transition {
        before: service.status.as_ref(),
        after: next,
        conditions_before: conditions(service),
        conditions_after: &next.conditions,
    };
    publish::publish(service, transition, changes, context).await
}

#[cfg(test)]
mod tests;
