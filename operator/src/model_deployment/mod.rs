//! Reconciles a ModelDeployment: fetch, plan, build, apply, status, in this order and once.
//!
//! In: the object. Out: its children and its status as they should be, and when to look again.

pub mod build;
pub mod fetch;
pub mod plan;
pub mod status;

use std::sync::Arc;
use std::time::Duration;

use crds::ModelDeployment;
use crds::model_deployment::ModelDeploymentStatus;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use crate::apply::Applier;
use crate::conditions;
use crate::context::Context;
pub use crate::error::Error;
use crate::health::evaluation;
use crate::images;
use crate::names::{Kind, Owner, PAUSED};
use crate::observe::gpu_nodes;
use crate::pace;
use crate::scale::scale;
use crate::workload::{self, rollout};
use fetch::Fetched;
use plan::Plan;
use status::Outcome;

const KIND: Kind = Kind::ModelDeployment;

/// Brings the children and the status of `model` to what its spec asks for.
pub async fn reconcile(model: Arc<ModelDeployment>, context: Arc<Context>) -> Result<Action, Error> {
    let (_permit, started) = context.admit().await;
    let result = look_after(&model, &context).await;
    context
        .metrics
        .reconciled(KIND, started, if result.is_ok() { "ok" } else { "error" });
    result
}

async fn look_after(model: &ModelDeployment, context: &Context) -> Result<Action, Error> {
    let owner = Owner::of(KIND, model.meta());
    let paused = model
        .annotations()
        .get(PAUSED)
        .is_some_and(|value| value == "true");
    if model.meta().deletion_timestamp.is_some() || paused {
        return Ok(Action::await_change());
    }
    // With a client: read.
    let mut fetched = fetch::fetch(model, &owner, context).await.map_err(Error::Fetch)?;
    fetched.observed.download = context.downloads.of(&owner, &fetched.observed.pods).await;
    let may_sleep = workload::zero::asked_for(model.spec.serving.as_ref());
    fetched.observed.demand = context.demands.of(&owner, &fetched.observed.pods, may_sleep);
    // Without: decide.
    let plan = decide(model, &owner, &mut fetched, context)
        .await
        .map_err(Error::Fetch)?;
    // With a client: write.
    let brought = match plan {
        Err(refusal) => Some((Outcome::Refused(refusal), None)),
        Ok(plan) => bring(plan, model, &owner, &fetched, context).await,
    };
    let Some((outcome, look_again)) = brought else {
        return Ok(Action::await_change());
    };
    let now = status::now();
    let next = status::status(model, &fetched, &outcome, now.clone());
    let at_rest = conditions::at_rest(&next.conditions);
    status::publish(model, &next, outcome.changes(), context)
        .await
        .map_err(Error::Status)?;
    context.metrics.came(
        KIND,
        (status::conditions(model), &next.conditions),
        &fetched.observed.pods,
        model.meta().creation_timestamp.as_ref(),
    );
    let known = |status: Option<&ModelDeploymentStatus>| Some(status?.evaluation.as_ref()?.of.clone());
    if known(Some(&next)).is_some_and(|of| known(model.status.as_ref()) != Some(of))
        && let Some(took) = evaluation::time(&fetched.observed.pods)
    {
        context.metrics.evaluated(KIND, took);
    }
    outcome.into_result()?;
    context.succeeded(&owner);
    Ok(pace::again(at_rest, &fetched.observed, &now, look_again))
}

/// Makes the children as they should be, and says when to look again; nothing where the namespace is on its way out.
async fn bring(
    plan: Plan,
    model: &ModelDeployment,
    owner: &Owner,
    fetched: &Fetched,
    context: &Context,
) -> Option<(Outcome, Option<Duration>)> {
    let observed = &fetched.observed;
    let applier = Applier {
        client: &context.client,
        owner,
        metrics: &context.metrics,
        settled: conditions::settled(status::conditions(model), model.meta().generation),
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
    let mut look_again = None;
    if let Some(workload) = &plan.workload {
        changes.extend(rollout::told(workload, &changes));
        look_again = scale(&applier, workload, observed, &mut applied, &mut changes).await;
    }
    let outcome = Outcome::Applied {
        plan,
        applied: Box::new(applied),
        changes,
    };
    Some((outcome, look_again))
}

/// The plan. Where it replaces pods that hold devices, the nodes are looked at before it is made for good.
async fn decide(
    model: &ModelDeployment,
    owner: &Owner,
    fetched: &mut Fetched,
    context: &Context,
) -> Result<Result<Plan, plan::Error>, kube::Error> {
    fetched.observed.keeps_images = status::is_of_this_spec(model) && !context.update_running_servers;
    let image = context.server_images.of(model.spec.serving.as_ref());
    let limit = context.max_deployed;
    let plan = plan::plan(model, owner, fetched, image, limit);
    let observed = &fetched.observed;
    if let Ok(first) = &plan
        && let Some(workload) = &first.workload
        && rollout::is_due(workload, observed)
    {
        fetched.observed.gpu_nodes = gpu_nodes(&context.client, workload, &observed.pods).await?;
        return Ok(plan::plan(model, owner, fetched, image, limit));
    }
    Ok(plan)
}

/// When to try again after a failure.
pub fn error_policy(model: Arc<ModelDeployment>, error: &Error, context: Arc<Context>) -> Action {
    error.try_again(&Owner::of(KIND, model.meta()), &context)
}
