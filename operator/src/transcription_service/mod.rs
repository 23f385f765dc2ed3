//! Reconciles a TranscriptionService: fetch, plan, build, apply, status, in this order and once.
//!
//! In: the object. Out: its children and its status as they should be, and when to look again.

pub mod build;
pub mod fetch;
pub mod plan;
pub mod status;

use std::sync::Arc;
use std::time::Duration;

use crds::TranscriptionService;
use crds::canary::CanaryPhase;
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use crate::apply::{self, Applier, Change};
use crate::conditions;
use crate::context::Context;
pub use crate::error::Error;
use crate::images;
use crate::names::{Kind, Owner, PAUSED};
use crate::observe::gpu_nodes;
use crate::pace;
use crate::resources::Resources;
use crate::scale::scale;
use crate::workload::{self, rollout};
use fetch::Fetched;
use plan::Plan;
use status::Outcome;

const KIND: Kind = Kind::TranscriptionService;

/// Brings the children and the status of `service` to what its spec asks for.
pub async fn reconcile(service: Arc<TranscriptionService>, context: Arc<Context>) -> Result<Action, Error> {
    let (_permit, started) = context.admit().await;
    let result = look_after(&service, &context).await;
    context
        .metrics
        .reconciled(KIND, started, if result.is_ok() { "ok" } else { "error" });
    result
}

async fn look_after(service: &TranscriptionService, context: &Context) -> Result<Action, Error> {
    let owner = Owner::of(KIND, service.meta());
    let paused = service
        .annotations()
        .get(PAUSED)
        .is_some_and(|value| value == "true");
    if service.meta().deletion_timestamp.is_some() || paused {
        return Ok(Action::await_change());
    }
    // With a client: read.
    let mut fetched = fetch::fetch(service, &owner, context)
        .await
        .map_err(Error::Fetch)?;
    fetched.observed.download = context.downloads.of(&owner, &fetched.observed.pods).await;
    let may_sleep = workload::zero::asked_for(Some(&service.spec.serving));
    fetched.observed.demand = context.demands.of(&owner, &fetched.observed.pods, may_sleep);
    // Without: decide.
    let plan = decide(service, &owner, &mut fetched, context)
        .await
        .map_err(Error::Fetch)?;
    // With a client: write.
    let brought = match plan {
        Err(refusal) => Some((Outcome::Refused(refusal), None)),
        Ok(plan) => bring(plan, service, &owner, &fetched, context).await,
    };
    let Some((outcome, look_again)) = brought else {
        return Ok(Action::await_change());
    };
    let now = status::now();
    let next = status::status(service, &fetched, &outcome, now.clone());
    let canary_waits = next
        .canary
        .as_ref()
        .is_some_and(|canary| canary.phase == CanaryPhase::Progressing);
    let at_rest = conditions::at_rest(&next.conditions) && !canary_waits;
    status::publish(service, &next, outcome.changes(), context)
        .await
        .map_err(Error::Status)?;
    context.metrics.came(
        KIND,
        (status::conditions(service), &next.conditions),
        &fetched.observed.pods,
        service.meta().creation_timestamp.as_ref(),
    );
    let canary = outcome
        .plan()
        .and_then(|plan| plan.canary.as_ref()?.as_ref().ok());
    let passes = canary
        .zip(next.canary.as_ref())
        .and_then(|(plan, status)| status::canary::passes_in(plan, status, &now));
    outcome.into_result()?;
    context.succeeded(&owner);
    let awaited = passes
        .map(|left| left + pace::SECOND)
        .into_iter()
        .chain(look_again);
    Ok(pace::again(at_rest, &fetched.observed, &now, awaited))
}

/// Makes the children as they should be, and says when to look again; nothing where the namespace is on its way out.
async fn bring(
    plan: Plan,
    service: &TranscriptionService,
    owner: &Owner,
    fetched: &Fetched,
    context: &Context,
) -> Option<(Outcome, Option<Duration>)> {
    let observed = &fetched.observed;
    let applier = Applier {
        client: &context.client,
        owner,
        metrics: &context.metrics,
        settled: conditions::settled(status::conditions(service), service.meta().generation),
    };
    let mut prepared = build::build(&plan);
    if observed.keeps_images {
        prepared = images::keep_serving_images(prepared, &observed.children);
    }
    let (mut applied, mut changes) = match applier.apply(prepared, &observed.children).await {
        Ok(made) => made,
        Err(error) if error.namespace_goes() => return None,
        Err(error) => return Some((Outcome::Failed { plan, error }, None)),
    };
    changes.extend(rollout::told(&plan.workload, &changes));
    let canary = match bring_canary(&plan, service, fetched, &applier).await {
        Err(error) if error.namespace_goes() => return None,
        brought => brought.map(|(live, more)| {
            changes.extend(more);
            live.map(Box::new)
        }),
    };
    let look_again = scale(&applier, &plan.workload, observed, &mut applied, &mut changes).await;
    let outcome = Outcome::Applied {
        plan,
        applied: Box::new(applied),
        canary,
        changes,
    };
    Some((outcome, look_again))
}

/// Makes the canary as it should be. One that cannot be planned stays as it is, and whatever it is, the other pods do.
async fn bring_canary(
    plan: &Plan,
    service: &TranscriptionService,
    fetched: &Fetched,
    applier: &Applier<'_>,
) -> Result<(Option<Deployment>, Vec<Change>), apply::Error> {
    let live = &fetched.canary.children;
    let mut prepared = match &plan.canary {
        None => Resources::default(),
        Some(Ok(canary)) => build::canary(canary),
        Some(Err(_)) => return Ok((None, Vec::new())),
    };
    if fetched.observed.keeps_images {
        prepared = images::keep_serving_images(prepared, live);
    }
    let before = service.status.as_ref().and_then(|status| status.canary.as_ref());
    let was_there = before.is_some_and(|before| before.of.is_some());
    let applier = Applier {
        settled: applier.settled && was_there,
        ..*applier
    };
    let (applied, changes) = applier.apply(prepared, live).await?;
    Ok((applied.deployments.into_iter().next(), changes))
}

/// The plan. Where it replaces pods that hold devices, the nodes are looked at before it is made for good.
async fn decide(
    service: &TranscriptionService,
    owner: &Owner,
    fetched: &mut Fetched,
    context: &Context,
) -> Result<Result<Plan, plan::Error>, kube::Error> {
    fetched.observed.keeps_images = status::is_of_this_spec(service) && !context.update_running_servers;
    let image = context.server_images.of(Some(&service.spec.serving));
    let plan = plan::plan(service, owner, fetched, image);
    let observed = &fetched.observed;
    if let Ok(first) = &plan
        && rollout::is_due(&first.workload, observed)
    {
        fetched.observed.gpu_nodes = gpu_nodes(&context.client, &first.workload, &observed.pods).await?;
        return Ok(plan::plan(service, owner, fetched, image));
    }
    Ok(plan)
}

/// When to try again after a failure.
pub fn error_policy(service: Arc<TranscriptionService>, error: &Error, context: Arc<Context>) -> Action {
    error.try_again(&Owner::of(KIND, service.meta()), &context)
}
