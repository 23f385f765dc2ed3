//! Decides what a TranscriptionService needs.
//!
//! In: the object and what was fetched. Out: a [`Plan`] in which nothing is left to decide, or why there can be none. Pure.

pub mod canary;
pub mod verdict;

use crds::condition::Reason;
use crds::model::{Model, ModelFormat};
use crds::serving::Profile;
use crds::{ModelDeployment, TranscriptionService};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;

use super::fetch::Fetched;
use crate::accepted;
use crate::health::Finding;
use crate::names::{MODEL_FOLDER, Owner, cache_claim};
use crate::workload::claim::{self, ClaimPlan};
use crate::workload::settings::{SpecError, usual_cache_size};
use crate::workload::{Contents, ModelMount, Role, WorkloadPlan};
use canary::CanaryPlan;

/// What the service needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The claim that caches its model, when the model is its own.
    pub cache: Option<ClaimPlan>,
    /// Its pods.
    pub workload: WorkloadPlan,
    /// Why they run an older model than its ModelDeployment asks for, if they do.
    pub older: Option<String>,
    /// The pods that serve otherwise beside them, if the spec asks for some; or why there can be none.
    pub canary: Option<Result<Box<CanaryPlan>, Error>>,
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
    /// The model is another object's, and hears nothing.
    #[error(
        "ModelDeployment {0} is of format onnx: tensors, not speech; name one of format whisper in modelRef, or ask {0} itself by the Open Inference Protocol (spec.serving)"
    )]
    WrongModelFormat(String),
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
            Error::WrongModelFormat(_) => Reason::WrongModelFormat,
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
    let serving = &service.spec.serving;
    let mut older = None;
    let (cache, mount) = match (&service.spec.model, &service.spec.model_ref) {
        (Some(model), _) => {
            let claims = &fetched.observed.children.persistent_volume_claims;
            let place = Place {
                claim: cache_claim(&owner.name),
                claims,
                source: fetched.claim.as_ref(),
                profile: serving.profile,
            };
            own_model(owner, model, place)?
        }
        (None, Some(reference)) => {
            let missing = || Error::ModelNotFound(reference.name.clone());
            let model = fetched.model.as_ref().ok_or_else(missing)?;
            let deployments = &fetched.observed.children.deployments;
            let live = deployments.iter().find(|one| one.name_any() == owner.name);
            let (mount, why) = shared_model(model, live, fetched.claim.as_ref())?;
            older = why;
            (None, mount)
        }
        (None, None) => return Err(SpecError::NoSource.into()),
    };
    let name = owner.name.clone();
    let mut workload = WorkloadPlan::new(owner, name, model_name(service), mount, serving, default_image)?
        .with_kinds(&fetched.observed.offered)?;
    if service.spec.canary.is_some() {
        workload.role = Role::BesideCanary;
    }
    let workload = workload.with_rollout(&fetched.observed);
    let block = service.spec.canary.as_ref();
    let canary = block.map(|block| canary::plan(service, block, fetched, &workload, default_image));
    Ok(Plan {
        cache,
        workload,
        older,
        canary,
    })
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

/// Where a model of the service's own is kept, or is already.
struct Place<'a> {
    /// Name of the claim that it is brought to.
    claim: String,
    /// The claims that there are.
    claims: &'a [PersistentVolumeClaim],
    /// The claim of someone else that holds it.
    source: Option<&'a PersistentVolumeClaim>,
    profile: Profile,
}

fn own_model(owner: &Owner, model: &Model, place: Place) -> Result<(Option<ClaimPlan>, ModelMount), Error> {
    let digest = model.digest.clone();
    if let Some(contents) = Contents::cached(&model.source) {
        let name = place.claim;
        let live = place.claims.iter().find(|claim| claim.name_any() == name);
        let usual = usual_cache_size(place.profile);
        let cache = ClaimPlan::new(owner, name.clone(), model.cache.as_ref(), usual, live)?;
        let mount = ModelMount {
            claim: Some(name),
            contents,
            folder: MODEL_FOLDER.into(),
            keep: None,
            digest,
            format: ModelFormat::Whisper,
            one_node: cache.one_node(),
        };
        return Ok((Some(cache), mount));
    }
    if let Some(image) = &model.source.image {
        return Ok((None, ModelMount::of_image(image, digest)));
    }
    let source = model
        .source
        .persistent_volume_claim
        .as_ref()
        .ok_or(SpecError::NoSource)?;
    let missing = || Error::ClaimNotFound(source.claim_name.clone());
    let live = place.source.ok_or_else(missing)?;
    let mount = ModelMount::in_folder(&source.claim_name, &source.path, digest, claim::one_node(live));
    Ok((None, mount))
}

/// The model of a ModelDeployment, once that is as its spec now is: verified, and evaluated where that is asked for. Until then
/// pods that run the one before keep it, and the second half says why.
fn shared_model(
    model: &ModelDeployment,
    live: Option<&Deployment>,
    claim: Option<&PersistentVolumeClaim>,
) -> Result<(ModelMount, Option<String>), Error> {
    if model.spec.format != ModelFormat::Whisper {
        return Err(Error::WrongModelFormat(model.name_any()));
    }
    let says = || {
        let message = model.status.as_ref().and_then(|status| status.message.clone());
        message.unwrap_or_else(|| "it has not been looked at yet".into())
    };
    let current = accepted::is_current(model);
    let accepted = accepted::of(model)
        .filter(|accepted| current || live.is_some_and(|live| accepted::runs(live, &accepted.report.digest)));
    let accepted = accepted.ok_or_else(|| Error::ModelNotReady {
        name: model.name_any(),
        message: says(),
    })?;
    let one_node = match (accepted.claim(), claim) {
        (Some(claim), None) => return Err(Error::ClaimNotFound(claim.into())),
        (Some(_), Some(live)) => claim::one_node(live),
        (None, _) => false,
    };
    let older = (!current).then(|| {
        let name = model.name_any();
        format!(
            "they keep their model until ModelDeployment {name} has another that is good: {}",
            says()
        )
    });
    Ok((accepted.mount(one_node), older))
}

#[cfg(test)]
mod tests;
