//! Decides what a TranscriptionService needs.
//!
//! In: the object and what was fetched. Out: a [`Plan`] in which nothing is left to decide, or why there can be none. Pure.

use crds::condition::{MODEL_CACHED, Reason};
use crds::model::Model;
use crds::{ModelDeployment, TranscriptionService};
use kube::ResourceExt;

use super::fetch::{Fetched, source_claim};
use crate::conditions;
use crate::health::Finding;
use crate::names::{Owner, cache_claim};
use crate::workload::claim::{self, ClaimPlan};
use crate::workload::settings::{SpecError, usual_cache_size};
use crate::workload::{Contents, ModelMount, WorkloadPlan};

/// What the service needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The claim that caches its model, when the model is its own.
    pub cache: Option<ClaimPlan>,
    /// Its pods.
    pub workload: WorkloadPlan,
}

/// Why there can be no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The spec cannot be followed.
    #[error("{0}")]
    Spec(#[from] SpecError),
    /// The model is another object's, which does not exist.
    #[error("ModelDeployment {0} does not exist; create it, or change modelRef")]
    ModelNotFound(String),
    /// The model is another object's, and is not verified yet.
    #[error("ModelDeployment {name} is not available yet: {message}")]
    ModelNotReady {
        /// Its name.
        name: String,
        /// What its status says.
        message: String,
    },
    /// The claim with the model does not exist.
    #[error("claim {0} does not exist; create it with the model on it, or change the source")]
    ClaimNotFound(String),
}

impl From<&Error> for Finding {
    fn from(error: &Error) -> Finding {
        let reason = match error {
            Error::Spec(error) => error.reason(),
            Error::ModelNotFound(_) => Reason::ModelNotFound,
            Error::ModelNotReady { .. } => Reason::ModelNotReady,
            Error::ClaimNotFound(_) => Reason::ClaimNotFound,
        };
        Finding::new(reason, error.to_string())
    }
}

/// Decides.
pub fn plan(
    service: &TranscriptionService,
    owner: &Owner,
    fetched: &Fetched,
    default_image: &str,
) -> Result<Plan, Error> {
    let (cache, mount) = match (&service.spec.model, &service.spec.model_ref) {
        (Some(model), _) => own_model(service, owner, model, fetched)?,
        (None, Some(reference)) => {
            let missing = || Error::ModelNotFound(reference.name.clone());
            (
                None,
                shared_model(service, fetched.model.as_ref().ok_or_else(missing)?, fetched)?,
            )
        }
        (None, None) => return Err(SpecError::NoSource.into()),
    };
    let workload = WorkloadPlan::new(
        owner,
        owner.name.clone(),
        model_name(service),
        mount,
        &service.spec.serving,
        default_image,
    )?
    .with_kinds(&fetched.observed.offered)?
    .with_rollout(&fetched.observed);
    Ok(Plan { cache, workload })
}

/// Name of the model, for people and for clients.
pub fn model_name(service: &TranscriptionService) -> String {
    let source = service.spec.model.as_ref().map(|model| &model.source);
    let bundled = source
        .and_then(|source| source.bundled.as_ref())
        .map(|bundled| bundled.name.clone());
    let repository = source
        .and_then(|source| source.hugging_face.as_ref())
        .map(|hub| hub.repo.clone());
    let claim = source
        .and_then(|source| source.persistent_volume_claim.as_ref())
        .map(|claim| claim.claim_name.clone());
    let shared = service
        .spec
        .model_ref
        .as_ref()
        .map(|reference| reference.name.clone());
    // URLs and prefixes name no model.
    let named = bundled.or(repository).or(claim).or(shared);
    named.unwrap_or_else(|| service.name_any())
}

fn own_model(
    service: &TranscriptionService,
    owner: &Owner,
    model: &Model,
    fetched: &Fetched,
) -> Result<(Option<ClaimPlan>, ModelMount), Error> {
    let digest = model.digest.clone();
    if let Some(contents) = Contents::cached(&model.source) {
        let name = cache_claim(&owner.name);
        let claims = &fetched.observed.children.persistent_volume_claims;
        let live = claims.iter().find(|claim| claim.name_any() == name);
        let usual = usual_cache_size(service.spec.serving.profile);
        let cache = ClaimPlan::new(owner, name.clone(), model.cache.as_ref(), usual, live)?;
        let mount = ModelMount {
            claim: name,
            contents,
            digest,
            one_node: cache.one_node(),
        };
        return Ok((Some(cache), mount));
    }
    let source = model
        .source
        .persistent_volume_claim
        .as_ref()
        .ok_or(SpecError::NoSource)?;
    let missing = || Error::ClaimNotFound(source.claim_name.clone());
    let live = fetched.claim.as_ref().ok_or_else(missing)?;
    let mount = ModelMount {
        claim: source.claim_name.clone(),
        contents: Contents::Folder(source.path.clone()),
        digest,
        one_node: claim::one_node(live),
    };
    Ok((None, mount))
}

/// The model of a ModelDeployment, once that has verified it as its spec now is.
fn shared_model(
    service: &TranscriptionService,
    model: &ModelDeployment,
    fetched: &Fetched,
) -> Result<ModelMount, Error> {
    let status = model.status.clone().unwrap_or_default();
    let cached = conditions::find(&status.conditions, MODEL_CACHED);
    let verified = cached
        .is_some_and(|one| one.status == "True" && one.observed_generation == model.metadata.generation);
    let digest = status
        .digest
        .filter(|_| verified)
        .ok_or_else(|| Error::ModelNotReady {
            name: model.name_any(),
            message: status
                .message
                .unwrap_or_else(|| "it has not been looked at yet".into()),
        })?;
    let claim = source_claim(service, Some(model)).unwrap_or_default();
    let live = fetched
        .claim
        .as_ref()
        .ok_or_else(|| Error::ClaimNotFound(claim.clone()))?;
    let folder = match &model.spec.model.source.persistent_volume_claim {
        Some(source) => source.path.clone(),
        None => "model".into(),
    };
    Ok(ModelMount {
        claim,
        contents: Contents::Folder(folder),
        digest: Some(digest),
        one_node: claim::one_node(live),
    })
}

#[cfg(test)]
mod tests;
