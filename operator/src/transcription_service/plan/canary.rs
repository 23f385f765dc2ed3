//! Decides what the canary of a TranscriptionService needs.
//!
//! In: its block, what was fetched, and the plan of the pods beside which it serves. Out: a [`CanaryPlan`], or why there can be
//! none. Pure. It never changes the plan of the others.

use std::time::Duration;

use crds::TranscriptionService;
use crds::canary::{Canary, CanaryPhase};
use crds::model::Reclaim;
use crds::serving::Serving;
use crds::transcription::Transcription;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::{Map, Value, json};

use super::super::fetch::Fetched;
use super::verdict::{self, Failure};
use super::{Error, Place, own_model, shared_model};
use crate::drift::as_json;
use crate::names::{Owner, cache_claim, canary_child, hash, short_hash};
use crate::workload::claim::ClaimPlan;
use crate::workload::rollout::{self, Nodes};
use crate::workload::settings::{self, SpecError};
use crate::workload::{Contents, ModelMount, Replicas, Role, WorkloadPlan};

/// What a canary needs.
#[derive(Clone, Debug, PartialEq)]
pub struct CanaryPlan {
    /// The claim that caches its model, when that is its own.
    pub cache: Option<ClaimPlan>,
    /// Its pods.
    pub workload: WorkloadPlan,
    /// Why they run an older model than its ModelDeployment asks for, if they do.
    pub older: Option<String>,
    /// Hash of what is tried: another one begins anew.
    pub of: String,
    /// Hash of what its pods do otherwise.
    pub variant: String,
    /// Why it was taken away, if it has failed.
    pub failure: Option<Failure>,
    /// How long it must serve to have passed, if the spec says so.
    pub duration: Option<Duration>,
}

/// Decides.
pub fn plan(
    service: &TranscriptionService,
    block: &Canary,
    fetched: &Fetched,
    others: &WorkloadPlan,
    default_image: &str,
) -> Result<Box<CanaryPlan>, Error> {
    let owner = &others.owner;
    let serving = changed(&service.spec.serving, block)?;
    let (cache, mount, older) = model(service, block, owner, fetched, others)?;
    let analysis = block.analysis.as_ref();
    let read = |text: &String| settings::read("canary.analysis.duration", text);
    let duration = analysis.map(|one| read(&one.duration)).transpose()?;
    let variant = variant(block, &mount);
    let of = hash(format!("{} in {variant}", as_json(block)).as_bytes());
    let failure = known_failure(service, &of).or_else(|| {
        let most = analysis.map_or(0, |one| one.max_restarts);
        verdict::failure(fetched, &mount, &variant, most)
    });
    let workload = WorkloadPlan::new(
        owner,
        owner.name.clone(),
        // Requests may name the model: they go to either.
        others.model_name.clone(),
        mount,
        &serving,
        default_image,
    )?;
    let mut workload = workload.with_kinds(&fetched.observed.offered)?;
    workload.role = Role::Canary(variant.clone());
    workload.replicas = Replicas::Fixed(match failure {
        Some(_) => 0,
        None => share(block.weight, wanted(others, fetched)),
    });
    let live = live(owner, fetched);
    workload.rollout = rollout::decide(&workload, live, &fetched.canary.pods, &Nodes::Unasked);
    Ok(Box::new(CanaryPlan {
        cache,
        workload,
        older,
        of,
        variant,
        failure,
        duration,
    }))
}

/// The canary's Deployment, as it was found.
fn live<'a>(owner: &Owner, fetched: &'a Fetched) -> Option<&'a Deployment> {
    let name = canary_child(&owner.name);
    let deployments = &fetched.canary.children.deployments;
    deployments.iter().find(|one| one.name_any() == name)
}

/// How the service serves, with what the canary does otherwise.
fn changed(serving: &Serving, block: &Canary) -> Result<Serving, SpecError> {
    let mut serving = serving.clone();
    if let Some(image) = &block.image {
        serving.image = Some(image.clone());
    }
    if let Some(over) = &block.transcription {
        let refuse = |error: serde_json::Error| SpecError::CanaryTranscription {
            message: error.to_string(),
        };
        let mut all = serde_json::to_value(&serving.transcription).map_err(refuse)?;
        lay_over(&mut all, over);
        serving.transcription = serde_json::from_value::<Transcription>(all).map_err(refuse)?;
    }
    Ok(serving)
}

/// Lays fields over others: within objects by field, everything else as a whole.
fn lay_over(under: &mut Value, over: &Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(under @ Value::Object(_)), Value::Object(over)) => lay_over(under, over),
            _ => under[key] = value.clone(),
        }
    }
}

type Brought = (Option<ClaimPlan>, ModelMount, Option<String>);

/// The canary's model. Without one of its own it serves that of the others, from the same volume; but where another image brings
/// it there, from another one: what the others have mounted is not to be touched.
fn model(
    service: &TranscriptionService,
    block: &Canary,
    owner: &Owner,
    fetched: &Fetched,
    others: &WorkloadPlan,
) -> Result<Brought, Error> {
    if let Some(reference) = &block.model_ref {
        let missing = || Error::ModelNotFound(reference.name.clone());
        let model = fetched.canary.model.as_ref().ok_or_else(missing)?;
        let (mount, older) = shared_model(model, live(owner, fetched), fetched.canary.claim.as_ref())?;
        return Ok((None, mount, older));
    }
    let place = Place {
        claim: cache_claim(&canary_child(&owner.name)),
        claims: &fetched.canary.children.persistent_volume_claims,
        source: fetched.canary.claim.as_ref(),
        profile: service.spec.serving.profile,
    };
    if let Some(own) = &block.model {
        let (cache, mount) = own_model(owner, own, place)?;
        return Ok((cache, mount, None));
    }
    if let (Some(same), Some(_)) = (&service.spec.model, &block.image)
        && Contents::cached(&same.source).is_some()
    {
        let mut same = same.clone();
        if let Some(cache) = &mut same.cache {
            cache.reclaim = Reclaim::Delete;
        }
        let (cache, mount) = own_model(owner, &same, place)?;
        return Ok((cache, mount, None));
    }
    Ok((None, others.model.clone(), None))
}

/// Hash of what pods do otherwise. How many there are and how they are judged restarts none.
fn variant(block: &Canary, mount: &ModelMount) -> String {
    let Canary {
        weight: _,
        model_ref,
        model,
        image,
        transcription,
        analysis: _,
    } = block;
    let shared = model_ref.as_ref().and(mount.digest.as_ref());
    let what = json!([model_ref, model, image, transcription, shared]);
    short_hash(&what.to_string())
}

/// Why the same has failed before.
fn known_failure(service: &TranscriptionService, of: &str) -> Option<Failure> {
    let known = service.status.as_ref()?.canary.as_ref()?;
    let same = known.phase == CanaryPhase::Failed && known.of.as_deref() == Some(of);
    same.then(|| Failure {
        reason: known.reason.clone(),
        message: known.message.clone(),
    })
}

/// Pods that there are to be beside the canary: under an autoscaler, as many as it has decided.
fn wanted(others: &WorkloadPlan, fetched: &Fetched) -> i32 {
    let decided = || others.live(&fetched.observed)?.spec.as_ref()?.replicas;
    match &others.replicas {
        Replicas::Fixed(count) => *count,
        Replicas::Scaled(autoscaling) => decided().unwrap_or(autoscaling.min_replicas),
    }
}

/// So many percent of the pods, rounded up.
fn share(weight: i32, pods: i32) -> i32 {
    let exact = i64::from(weight.max(1)) * i64::from(pods.max(0));
    i32::try_from((exact + 99) / 100).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
