//! What became of a ModelDeployment.
//!
//! In: the object, what was fetched, how applying went. Out: its status, and one patch when that is new. All but `publish`
//! and `now` is pure.

use crds::ModelDeployment;
use crds::condition::{MODEL_CACHED, READY, Reason};
use crds::model_deployment::{Candidate, ModelDeploymentStatus, ModelPhase};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::KIND;
use super::fetch::Fetched;
use super::plan::{self, Plan};
use crate::apply::{self, Change};
use crate::conditions::{self, Evaluated, State};
use crate::context::Context;
use crate::health::lacks::{lacks, split};
use crate::health::{self, Finding, Rollout, Symptoms, autoscaler, evaluation};
use crate::names::{COMPONENT, Component, EVALUATES, Owner, VERIFIES, model_child};
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
            Outcome::Refused(_) | Outcome::Applied { .. } => Ok(()),
        }
    }

    fn plan(&self) -> Option<&Plan> {
        match self {
            Outcome::Refused(_) => None,
            Outcome::Failed { plan, .. } | Outcome::Applied { plan, .. } => Some(plan),
        }
    }
}

/// The conditions that the object has.
pub fn conditions(model: &ModelDeployment) -> &[Condition] {
    model.status.as_ref().map_or(&[], |status| &status.conditions)
}

/// Whether the status speaks of the spec as it is now.
pub fn is_of_this_spec(model: &ModelDeployment) -> bool {
    let status = model.status.as_ref();
    status.is_some_and(|status| status.observed_generation == model.metadata.generation)
}

/// Whether the model waits because as many are deployed as the operator allows.
pub fn waits_for_its_turn(model: &ModelDeployment) -> bool {
    conditions::find(conditions(model), READY)
        .is_some_and(|ready| ready.reason == Reason::MaxDeployedReached.as_str())
}

/// The time, for conditions.
pub fn now() -> Time {
    Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default())
}

/// The status.
pub fn status(
    model: &ModelDeployment,
    fetched: &Fetched,
    outcome: &Outcome,
    now: Time,
) -> ModelDeploymentStatus {
    let owner = Owner::of(KIND, model.meta());
    let before = model.status.clone().unwrap_or_default();
    let mut state = state(model, fetched, outcome, &owner);
    state.lacks.extend(autoscaler::findings(&fetched.observed, &now));
    let serves = model.spec.serving.is_some();
    let services = match outcome {
        Outcome::Applied { applied, .. } if !applied.keep_serving => &applied.services,
        _ => &fetched.observed.children.services,
    };
    let hosts = match outcome {
        Outcome::Applied { applied, .. } if !applied.keep_serving => hosts(applied),
        _ => hosts(&fetched.observed.children),
    };
    let plan = outcome.plan();
    let accepted = plan.and_then(|plan| plan.accepted.as_ref());
    let report = accepted.map(|accepted| &accepted.report);
    let verified = plan.is_some_and(|plan| plan.verified.is_some());
    let rollout = state.rollout.clone().unwrap_or_default();
    ModelDeploymentStatus {
        observed_generation: model.meta().generation,
        phase: Some(phase(&state, serves)),
        message: Some(state.message()),
        conditions: state.conditions(conditions(model), model.meta().generation, &now),
        download: fetched.observed.download.clone().filter(|_| !verified),
        // What was accepted before is told until something newer is: it may still be served.
        digest: report.map(|report| report.digest.clone()).or(before.digest),
        location: accepted
            .map(|accepted| accepted.location.clone())
            .or(before.location),
        source: report.map_or(before.source, |report| report.source.clone()),
        revision: report.map_or(before.revision, |report| report.resolved_revision.clone()),
        size_bytes: report.map(|report| report.size_bytes).or(before.size_bytes),
        files: report.map(|report| report.files).or(before.files),
        candidate: plan.map_or(before.candidate, candidate),
        evaluation: plan.map_or(before.evaluation, |plan| {
            plan.evaluation.as_ref()?.outcome.clone()
        }),
        endpoint: services
            .iter()
            .find(|one| one.name_any() == model_child(&owner.name))
            .map(|live| endpoint(live, hosts)),
        replicas: rollout.replicas,
        ready_replicas: rollout.ready,
        selector: serves.then(|| owner.scale_selector()),
    }
}

/// The model that waits for its verdict or was not good enough, unless it is the one that is served.
fn candidate(plan: &Plan) -> Option<Candidate> {
    let verified = plan.verified.as_ref().filter(|_| !plan.good)?;
    let served = plan.accepted.as_ref().map(|accepted| &accepted.report.digest);
    (served != Some(&verified.digest)).then(|| Candidate {
        digest: verified.digest.clone(),
        size_bytes: verified.size_bytes,
        files: verified.files,
        source: verified.source.clone(),
        revision: verified.resolved_revision.clone(),
    })
}

/// What came of the evaluation, where one is asked for.
fn evaluated(model: &ModelDeployment, plan: Option<&Plan>) -> Option<Evaluated> {
    model.spec.evaluation.as_ref()?;
    let known = model
        .status
        .as_ref()
        .and_then(|status| status.evaluation.as_ref());
    let outcome = match plan {
        Some(plan) => plan.evaluation.as_ref().and_then(|plan| plan.outcome.as_ref()),
        None => known,
    };
    Some(outcome.map_or(Evaluated::Awaited, |outcome| {
        Evaluated::Verdict(outcome.passed, evaluation::verdict(outcome))
    }))
}

fn state(model: &ModelDeployment, fetched: &Fetched, outcome: &Outcome, owner: &Owner) -> State {
    let deployments = match outcome {
        Outcome::Applied { applied, .. } if !applied.keep_serving => &applied.deployments,
        _ => &fetched.observed.children.deployments,
    };
    let deployment = deployments
        .iter()
        .find(|one| one.name_any() == model_child(&owner.name));
    let workload = outcome.plan().and_then(|plan| plan.workload.as_ref());
    let rollout = deployment.map(|live| {
        let wanted = live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        Rollout::of(live, workload.map_or(wanted, |workload| workload.least(live)))
    });
    let mut findings: Vec<Finding> = match outcome {
        Outcome::Refused(error) => vec![Finding::from(error)],
        Outcome::Failed { error, .. } => vec![Finding::from(error)],
        Outcome::Applied { .. } => Vec::new(),
    };
    let serving = model.spec.serving.as_ref();
    let observed = &fetched.observed;
    let lacks = serving
        .map(|serving| lacks(serving, "spec.serving", &observed.offered, &observed.children))
        .unwrap_or_default();
    let (causes, mut lacks) = split(lacks, rollout.as_ref());
    findings.extend(causes);
    let sleep = workload.and_then(|workload| workload.told_of_sleep(deployment?));
    let silent = workload.and_then(|workload| workload.zero.as_ref()?.silent.clone());
    match sleep {
        // Nothing could wake it.
        Some(_) => findings.extend(silent),
        None => lacks.extend(silent),
    }
    let evaluated = evaluated(model, outcome.plan());
    if let Some(Evaluated::Verdict(false, why)) = &evaluated {
        findings.push(why.clone());
    }
    findings.extend(health::findings(&symptoms(model, fetched, outcome, deployment)));
    let digest = match outcome.plan() {
        Some(plan) => plan.verified.as_ref().map(|report| report.digest.clone()),
        None => known_digest(model),
    };
    let waits = outcome.plan().and_then(|plan| plan.waits.clone());
    let awaited = match (&digest, &rollout) {
        (None, _) => Some(Finding::new(
            Reason::FetchingModel,
            "the model is being put on its volume and verified",
        )),
        (Some(_), _) if evaluated == Some(Evaluated::Awaited) => Some(Finding::new(
            Reason::Evaluating,
            "the model is being tried on the samples of its evaluation",
        )),
        (Some(_), _) if waits.is_some() => waits,
        (Some(_), Some(rollout)) if !rollout.complete => {
            Some(Finding::new(Reason::RollingOut, rollout.sentence()))
        }
        (Some(_), None) if model.spec.serving.is_some() => {
            Some(Finding::new(Reason::RollingOut, "pods are being started"))
        }
        (Some(_), _) => sleep.as_ref().and_then(|sleep| sleep.awaited.clone()),
    };
    let good_news = match (&sleep, &rollout) {
        (Some(sleep), _) => sleep.news.clone(),
        (None, Some(rollout)) => rollout.sentence(),
        (None, None) => "the model is verified and can be named in modelRef".into(),
    };
    State {
        findings,
        lacks,
        awaited,
        digest,
        evaluation: evaluated,
        canary: None,
        rollout,
        good_news,
        asleep: sleep.is_some(),
    }
}

fn known_digest(model: &ModelDeployment) -> Option<String> {
    let status = model
        .status
        .as_ref()
        .filter(|status| conditions::holds(&status.conditions, MODEL_CACHED))?;
    let candidate = status
        .candidate
        .as_ref()
        .map(|candidate| candidate.digest.clone());
    candidate.or_else(|| status.digest.clone())
}

/// The pods of a Job count until it is done, those that serve do always.
fn symptoms<'a>(
    model: &'a ModelDeployment,
    fetched: &'a Fetched,
    outcome: &'a Outcome,
    deployment: Option<&'a Deployment>,
) -> Symptoms<'a> {
    let observed = &fetched.observed;
    let undone = outcome.plan().and_then(undone);
    let job = match outcome {
        Outcome::Applied { applied, .. } => applied
            .jobs
            .iter()
            .find(|job| undone.is_some_and(|annotation| job.annotations().contains_key(annotation))),
        _ => None,
    };
    let job_name = job.map(ResourceExt::name_any);
    let pods = observed.pods.iter().filter(|pod| {
        let serves = pod.labels().get(COMPONENT).is_some_and(|component| {
            [Component::Server, Component::Activator]
                .map(Component::as_str)
                .contains(&component.as_str())
        });
        serves
            || job_name
                .as_ref()
                .is_some_and(|job| pod.labels().get("batch.kubernetes.io/job-name") == Some(job))
    });
    Symptoms {
        deployment,
        job,
        pods: pods.collect(),
        claims: observed
            .children
            .persistent_volume_claims
            .iter()
            .chain(&fetched.claim)
            .collect(),
        warnings: &observed.warnings,
        storage_classes: observed.storage_classes.as_deref(),
        nodes: observed.nodes.as_deref().filter(|_| deployment.is_some()),
        gpu: model
            .spec
            .serving
            .as_ref()
            .and_then(|serving| serving.gpu.as_ref()),
    }
}

/// The annotation of the Job that has something to do.
fn undone(plan: &Plan) -> Option<&'static str> {
    let tried = plan
        .evaluation
        .as_ref()
        .is_none_or(|evaluation| evaluation.outcome.is_some());
    match (&plan.verified, tried) {
        (None, _) => Some(VERIFIES),
        (Some(_), false) => Some(EVALUATES),
        (Some(_), true) => None,
    }
}

fn phase(state: &State, serves: bool) -> ModelPhase {
    match () {
        () if state.is_ready() && serves && state.is_idle() => ModelPhase::Idle,
        () if state.is_ready() && serves => ModelPhase::Deployed,
        () if state.is_ready() => ModelPhase::Available,
        () if state.waits_for_others() && !state.serves() => ModelPhase::Pending,
        () if !state.findings.is_empty() => ModelPhase::Failed,
        () if state.digest.is_none() => ModelPhase::Downloading,
        () if state.evaluation == Some(Evaluated::Awaited) => ModelPhase::Evaluating,
        () => ModelPhase::Deploying,
    }
}

/// Writes the status when it is new, and tells what is new.
pub async fn publish(
    model: &ModelDeployment,
    next: &ModelDeploymentStatus,
    changes: &[Change],
    context: &Context,
) -> Result<(), kube::Error> {
    let transition = Transition {
        before: model.status.as_ref(),
        after: next,
        conditions_before: conditions(model),
        conditions_after: &next.conditions,
    };
    publish::publish(model, transition, changes, context).await
}
