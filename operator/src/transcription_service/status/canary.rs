//! What became of the canary of a TranscriptionService.
//!
//! In: the object, what was fetched, how applying went. Out: what its status says of the canary. Pure.

use std::time::Duration;

use crds::TranscriptionService;
use crds::canary::{CanaryPhase, CanaryStatus};
use crds::condition::Reason;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::fetch::Fetched;
use super::super::plan::canary::CanaryPlan;
use super::super::plan::{self, verdict};
use super::Outcome;
use crate::apply;
use crate::conditions::{self, truncated};
use crate::health::{Finding, Rollout, report};
use crate::workload::Replicas;

/// What the status says of the canary; nothing where the spec asks for none.
pub fn canary(
    service: &TranscriptionService,
    fetched: &Fetched,
    outcome: &Outcome,
    now: &Time,
) -> Option<CanaryStatus> {
    service.spec.canary.as_ref()?;
    let before = service.status.as_ref().and_then(|status| status.canary.as_ref());
    let Outcome::Applied { plan, canary, .. } = outcome else {
        return before.cloned();
    };
    Some(match (plan.canary.as_ref()?, canary) {
        (Err(refusal), _) => refused(fetched, refusal),
        (Ok(_), Err(error)) => CanaryStatus {
            of: before.and_then(|before| before.of.clone()),
            ..not_applied(fetched, error)
        },
        (Ok(plan), Ok(live)) => {
            let before = before.filter(|before| before.of.as_deref() == Some(&plan.of));
            of_pods(fetched, plan, live.as_deref(), before, now)
        }
    })
}

/// What a person is told of a service whose canary does not serve.
pub fn finding(status: &CanaryStatus) -> Option<Finding> {
    (status.phase == CanaryPhase::Failed).then(|| {
        let message = format!(
            "the canary has failed ({}) and the other pods serve as before: {}; change or remove canary",
            status.reason, status.message
        );
        Finding::new(Reason::CanaryFailed, message)
    })
}

/// How long until it may have passed.
pub fn passes_in(plan: &CanaryPlan, status: &CanaryStatus, now: &Time) -> Option<Duration> {
    let since = status.serving_since.as_ref()?;
    let served = Duration::try_from(now.0.duration_since(since.0)).unwrap_or_default();
    let left = plan.duration?.saturating_sub(served);
    (status.phase == CanaryPhase::Serving).then_some(left)
}

/// The spec cannot be followed, or waits for a model that is not ready. What serves stays as it is.
fn refused(fetched: &Fetched, refusal: &plan::Error) -> CanaryStatus {
    let finding = Finding::from(refusal);
    let degraded = |model: &crds::ModelDeployment| {
        let status = model.status.as_ref();
        status.is_some_and(|status| conditions::holds(&status.conditions, crds::condition::DEGRADED))
    };
    let waits =
        finding.reason == Reason::ModelNotReady && !fetched.canary.model.as_ref().is_some_and(degraded);
    let phase = if waits {
        CanaryPhase::Progressing
    } else {
        CanaryPhase::Failed
    };
    told(phase, &finding, fetched.canary.children.deployments.first())
}

/// It is tried again; that something else has its name, a person must see to.
fn not_applied(fetched: &Fetched, error: &apply::Error) -> CanaryStatus {
    let phase = match error {
        apply::Error::Conflict { .. } => CanaryPhase::Failed,
        apply::Error::Api { .. } => CanaryPhase::Progressing,
    };
    told(
        phase,
        &Finding::from(error),
        fetched.canary.children.deployments.first(),
    )
}

fn told(phase: CanaryPhase, finding: &Finding, live: Option<&Deployment>) -> CanaryStatus {
    let rollout = live.map(|live| Rollout::of(live, 0)).unwrap_or_default();
    CanaryStatus {
        phase,
        reason: finding.reason.as_str().into(),
        message: truncated(&finding.message),
        replicas: rollout.replicas,
        ready_replicas: rollout.ready,
        digest: None,
        serving_since: None,
        of: None,
    }
}

fn of_pods(
    fetched: &Fetched,
    plan: &CanaryPlan,
    live: Option<&Deployment>,
    before: Option<&CanaryStatus>,
    now: &Time,
) -> CanaryStatus {
    let wanted = match plan.workload.replicas {
        Replicas::Fixed(count) => count,
        Replicas::Scaled(_) => 1,
    };
    let rollout = live.map(|live| Rollout::of(live, wanted)).unwrap_or_default();
    let pods = || verdict::of_variant(fetched, &plan.variant);
    let digest = report::verified(pods()).map(|report| report.digest);
    let status = |phase, finding: &Finding| CanaryStatus {
        phase,
        reason: finding.reason.as_str().into(),
        message: truncated(&finding.message),
        replicas: rollout.replicas,
        ready_replicas: rollout.ready,
        digest: digest.clone().or_else(|| before?.digest.clone()),
        serving_since: None,
        of: Some(plan.of.clone()),
    };
    if let Some(failure) = &plan.failure {
        return CanaryStatus {
            reason: failure.reason.clone(),
            message: truncated(&failure.message),
            ..status(CanaryPhase::Failed, &Finding::new(Reason::CanaryFailed, ""))
        };
    }
    let complete = rollout.complete && wanted > 0 && rollout.replicas == wanted;
    let passed = before.filter(|before| before.phase == CanaryPhase::Passed);
    if complete || passed.is_some() {
        let since = before.and_then(|before| before.serving_since.clone());
        let mut serving = status(CanaryPhase::Serving, &serving(&rollout, plan));
        serving.serving_since = Some(since.unwrap_or_else(|| now.clone()));
        let left = passes_in(plan, &serving, now);
        if passed.is_some() || left == Some(Duration::ZERO) {
            serving.phase = CanaryPhase::Passed;
            serving.reason = Reason::CanaryPassed.as_str().into();
            serving.message = "it has served as long as canary.analysis asks for: move its fields into the spec and remove canary".into();
        }
        return serving;
    }
    let finding = verdict::findings(fetched, &plan.workload.model, &plan.variant)
        .into_iter()
        .next();
    let awaited = finding.unwrap_or_else(|| match (wanted, &digest) {
        (0, _) => Finding::new(
            Reason::RollingOut,
            "the service has no pods, and so its canary has none",
        ),
        (_, None) => Finding::new(
            Reason::FetchingModel,
            "its model is being put on its volume and verified",
        ),
        (_, Some(_)) => Finding::new(Reason::RollingOut, rollout.sentence()),
    });
    status(CanaryPhase::Progressing, &awaited)
}

fn serving(rollout: &Rollout, plan: &CanaryPlan) -> Finding {
    let mut sentence = rollout.sentence();
    if let Some(older) = &plan.older {
        sentence = format!("{sentence}; {older}");
    }
    Finding::new(Reason::CanaryServing, sentence)
}

#[cfg(test)]
mod tests;
