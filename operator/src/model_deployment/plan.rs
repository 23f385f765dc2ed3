//! Decides what a ModelDeployment needs.
//!
//! In: the object and what was fetched. Out: a [`Plan`] in which nothing is left to decide, or why there can be none. Pure.

use crds::ModelDeployment;
use crds::condition::{MODEL_CACHED, Reason};
use crds::serving::Serving;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::fetch::Fetched;
use crate::conditions;
use crate::health::{Finding, ModelReport, report};
use crate::names::{self, Owner, VERIFIES, model_child};
use crate::workload::claim::{self, ClaimPlan};
use crate::workload::settings::{self, SpecError, usual_cache_size};
use crate::workload::{Contents, Image, ModelMount, WorkloadPlan};

/// What the model needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The claim that keeps it, unless its source is a claim itself.
    pub cache: Option<ClaimPlan>,
    /// The Job that puts it there and verifies it.
    pub job: JobPlan,
    /// What that Job found, once it has.
    pub verified: Option<ModelReport>,
    /// The pods that serve it, once it is verified and if the spec asks for them.
    pub workload: Option<WorkloadPlan>,
    /// Whether the pods that serve an earlier model stay until this one is verified.
    pub keep_serving: bool,
}

/// The Job that verifies a model.
#[derive(Clone, Debug, PartialEq)]
pub struct JobPlan {
    /// Whose it is.
    pub owner: Owner,
    /// Its model.
    pub mount: ModelMount,
    /// Its image.
    pub image: Image,
    /// Where its pod may run.
    pub placement: crds::placement::Placement,
    /// Hash of what it verifies.
    pub verifies: String,
    /// Name of a Job that has done it already, with whatever template.
    pub done_as: Option<String>,
    /// Whether it must go and run again: it is done, and no one knows what it found.
    pub again: bool,
}

/// Why there can be no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The spec cannot be followed.
    #[error("{0}")]
    Spec(#[from] SpecError),
    /// The claim with the model does not exist.
    #[error("claim {0} does not exist; create it with the model on it, or change the source")]
    ClaimNotFound(String),
}

impl From<&Error> for Finding {
    fn from(error: &Error) -> Finding {
        let reason = match error {
            Error::Spec(error) => error.reason(),
            Error::ClaimNotFound(_) => Reason::ClaimNotFound,
        };
        Finding::new(reason, error.to_string())
    }
}

/// Decides.
pub fn plan(
    model: &ModelDeployment,
    owner: &Owner,
    fetched: &Fetched,
    default_image: &str,
) -> Result<Plan, Error> {
    let usual = Serving::default();
    let serving = model.spec.serving.as_ref();
    let (cache, mount) = mount(model, owner, serving.unwrap_or(&usual), fetched)?;
    let image = settings::image(serving.unwrap_or(&usual), default_image);
    let verifies = verifies(&mount, &image);
    let done = done(&fetched.observed.children.jobs, owner, &verifies);
    let verified = done.and_then(|job| found(model, job, &fetched.observed.pods));
    let job = JobPlan {
        owner: owner.clone(),
        mount: mount.clone(),
        image,
        placement: serving
            .and_then(|serving| serving.placement.clone())
            .unwrap_or_default(),
        verifies,
        done_as: done.map(ResourceExt::name_any),
        again: done.is_some() && verified.is_none(),
    };
    // The pods are planned even before the model is verified, so that a spec that cannot be followed is told at once.
    let workload = match serving {
        Some(serving) => {
            let folder = match &mount.contents {
                Contents::Bundled(_) | Contents::Remote(_) => "model".to_string(),
                Contents::Folder(folder) => folder.clone(),
            };
            let served = ModelMount {
                contents: Contents::Folder(folder),
                digest: verified.as_ref().map(|report| report.digest.clone()),
                ..mount
            };
            let name = model_child(&owner.name);
            let workload =
                WorkloadPlan::new(owner, name, owner.name.clone(), served, serving, default_image)?;
            let workload = workload.with_kinds(&fetched.observed.offered)?;
            Some(workload.with_rollout(&fetched.observed))
        }
        None => None,
    };
    Ok(Plan {
        cache,
        job,
        keep_serving: verified.is_none(),
        workload: workload.filter(|_| verified.is_some()),
        verified,
    })
}

fn mount(
    model: &ModelDeployment,
    owner: &Owner,
    serving: &Serving,
    fetched: &Fetched,
) -> Result<(Option<ClaimPlan>, ModelMount), Error> {
    let spec = &model.spec.model;
    let digest = spec.digest.clone();
    if let Some(contents) = Contents::cached(&spec.source) {
        let name = model_child(&owner.name);
        let claims = &fetched.observed.children.persistent_volume_claims;
        let live = claims.iter().find(|claim| claim.name_any() == name);
        let usual = usual_cache_size(serving.profile);
        let cache = ClaimPlan::new(owner, name.clone(), spec.cache.as_ref(), usual, live)?;
        let mount = ModelMount {
            claim: name,
            contents,
            digest,
            one_node: cache.one_node(),
        };
        return Ok((Some(cache), mount));
    }
    let source = spec
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

/// What a Job verifies: another claim, folder, source or pin is another thing, and so is a model of another image. The image
/// that merely downloads it or looks at a claim is not, and neither is another token.
fn verifies(mount: &ModelMount, image: &Image) -> String {
    let what = match &mount.contents {
        Contents::Bundled(name) => format!("bundled {name} of {}", image.reference),
        Contents::Remote(remote) => format!("download {}", remote.flags.join(" ")),
        Contents::Folder(folder) => format!("folder {folder}"),
    };
    let pin = mount.digest.as_deref().unwrap_or("any digest");
    names::hash(format!("{what} on {} as {pin}", mount.claim).as_bytes())[..16].to_string()
}

/// The Job that has verified it. One of an earlier object of this name does not count: it is about to go.
fn done<'a>(jobs: &'a [Job], owner: &Owner, verifies: &str) -> Option<&'a Job> {
    let complete = |job: &&Job| {
        let conditions = job
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_deref())
            .unwrap_or_default();
        conditions
            .iter()
            .any(|condition| condition.type_ == "Complete" && condition.status == "True")
    };
    let same = |job: &&Job| {
        let ours = job
            .owner_references()
            .iter()
            .any(|reference| reference.uid == owner.uid);
        ours && job
            .annotations()
            .get(VERIFIES)
            .is_some_and(|value| value == verifies)
    };
    jobs.iter().filter(same).find(complete)
}

/// What it found: by its pod, or by the status when the pod is gone.
fn found(model: &ModelDeployment, job: &Job, pods: &[Pod]) -> Option<ModelReport> {
    let name = job.name_any();
    let of_job = |pod: &&Pod| pod.labels().get("batch.kubernetes.io/job-name") == Some(&name);
    report::verified(pods.iter().filter(of_job)).or_else(|| {
        let status = model
            .status
            .as_ref()
            .filter(|status| conditions::holds(&status.conditions, MODEL_CACHED))?;
        Some(ModelReport {
            digest: status.digest.clone()?,
            size_bytes: status.size_bytes?,
            files: status.files?,
            source: status.source.clone(),
            resolved_revision: status.revision.clone(),
        })
    })
}

#[cfg(test)]
mod tests;
