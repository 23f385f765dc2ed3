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
use crds::condition::MODEL_CACHED;
use crds::model_deployment::ModelDeploymentStatus;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use crate::apply::Applier;
use crate::conditions;
use crate::context::Context;
use crate::downloads;
pub use crate::error::Error;
use crate::health::{autoscaler, evaluation, report};
use crate::images;
use crate::names::{Kind, Owner, PAUSED};
use crate::observe::gpu_nodes;
use crate::workload::{self, rollout};
use fetch::Fetched;
use plan::Plan;
use status::Outcome;

const KIND: Kind = Kind::ModelDeployment;
/// Times in a status are whole seconds.
const SECOND: Duration = Duration::from_secs(1);

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
    let settled = conditions::settled(status::conditions(model), model.meta().generation);
    let mut look_again = None;
    let outcome = match plan {
        Err(refusal) => Outcome::Refused(refusal),
        Ok(plan) => {
            let (client, metrics) = (&context.client, &context.metrics);
            let applier = Applier {
                client,
                owner: &owner,
                metrics,
                settled,
            };
            let mut prepared = build::build(&plan);
            if fetched.observed.keeps_images {
                prepared = images::keep_serving_images(prepared, &fetched.observed.children);
            }
            match applier.apply(prepared, &fetched.observed.children).await {
                Ok((mut applied, mut changes)) => {
                    changes.extend(
                        plan.workload
                            .as_ref()
                            .and_then(|workload| rollout::told(workload, &changes)),
                    );
                    let workload = plan.workload.as_ref();
                    look_again = workload.and_then(|workload| workload.zero.as_ref()?.look_again);
                    if let Some((name, replicas)) =
                        workload.and_then(|workload| workload::zero::wanted(workload, &fetched.observed))
                    {
                        match applier.scale(name, replicas).await {
                            Ok((scaled, change)) => {
                                workload::zero::replace(&mut applied, scaled);
                                changes.push(change);
                            }
                            Err(error) => {
                                tracing::warn!("{error}");
                                look_again = Some(Duration::from_secs(1));
                            }
                        }
                    }
                    Outcome::Applied {
                        plan,
                        applied: Box::new(applied),
                        changes,
                    }
                }
                Err(error) if error.namespace_goes() => return Ok(Action::await_change()),
                Err(error) => Outcome::Failed { plan, error },
            }
        }
    };
    let now = status::now();
    let next = status::status(model, &fetched, &outcome, now.clone());
    let at_rest = conditions::at_rest(&next.conditions);
    status::publish(model, &next, outcome.changes(), context)
        .await
        .map_err(Error::Status)?;
    if conditions::became(status::conditions(model), &next.conditions, MODEL_CACHED)
        && let Some(took) = report::fetch_time(&fetched.observed.pods)
    {
        context.metrics.fetched(KIND, took);
    }
    if let Some(after) = conditions::time_to_ready(
        status::conditions(model),
        &next.conditions,
        model.meta().creation_timestamp.as_ref(),
    ) {
        context.metrics.became_ready(KIND, after);
    }
    let known = |status: Option<&ModelDeploymentStatus>| Some(status?.evaluation.as_ref()?.of.clone());
    if known(Some(&next)).is_some_and(|of| known(model.status.as_ref()) != Some(of))
        && let Some(took) = evaluation::time(&fetched.observed.pods)
    {
        context.metrics.evaluated(KIND, took);
    }
    outcome.into_result()?;
    context.succeeded(&owner);
    // Watches tell of most changes; nodes, StorageClasses, warnings and missing kinds are looked up again while something is awaited.
    let soon = match (at_rest, fetched.observed.download) {
        (true, _) => Duration::from_secs(300),
        (false, Some(_)) => downloads::PERIOD,
        (false, None) => Duration::from_secs(30),
    };
    let blind = autoscaler::look_again(&fetched.observed.children, &now);
    let awaited = look_again.into_iter().chain(blind.map(|left| left + SECOND));
    Ok(Action::requeue(awaited.fold(soon, Duration::min)))
}

/// The plan. Where it replaces pods that hold devices, the nodes are looked at before it is made for good.
async fn decide(
    model: &ModelDeployment,
    owner: &Owner,
    fetched: &mut Fetched,
    context: &Context,
) -> Result<Result<Plan, plan::Error>, kube::Error> {
    fetched.observed.keeps_images = status::is_of_this_spec(model) && !context.update_running_servers;
    let (image, limit) = (&context.server_image, context.max_deployed);
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
