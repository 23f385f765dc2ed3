//! Decides what a ModelDeployment needs.
//!
//! In: the object and what was fetched. Out: a [`Plan`] in which nothing is left to decide, or why there can be none. Pure.

pub mod evaluation;
pub mod turn;

use crds::ModelDeployment;
use crds::condition::{MODEL_CACHED, Reason};
use crds::serving::Serving;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::fetch::Fetched;
use crate::accepted::{self, Accepted};
use crate::conditions;
use crate::health::{Finding, ModelReport, report};
use crate::names::{FOLDER, MODEL_FOLDER, Owner, VERIFIES, model_child, model_folder, short_hash};
use crate::workload::claim::{self, ClaimPlan};
use crate::workload::scheduling;
use crate::workload::settings::{self, SpecError, usual_cache_size};
use crate::workload::{Contents, Image, ModelMount, WorkloadPlan};
use evaluation::EvaluationPlan;

/// What the model needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The claim that keeps it, unless its source is a volume itself.
    pub cache: Option<ClaimPlan>,
    /// The Job that puts it there and verifies it.
    pub job: JobPlan,
    /// What that Job found, once it has.
    pub verified: Option<ModelReport>,
    /// The gate before that is served, if the spec asks for one and it is verified.
    pub evaluation: Option<EvaluationPlan>,
    /// Whether that is verified, and good enough where it is asked.
    pub good: bool,
    /// The model that may be served: that one if it is good, else the one before it.
    pub accepted: Option<Accepted>,
    /// The pods that serve it, if the spec asks for them.
    pub workload: Option<WorkloadPlan>,
    /// Why there are none although the spec asks for them and the model is good.
    pub waits: Option<Finding>,
    /// Whether the pods that serve an earlier model stay as they are.
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

/// Decides. At most `max_deployed` models of a namespace are served.
pub fn plan(
    model: &ModelDeployment,
    owner: &Owner,
    fetched: &Fetched,
    default_image: &str,
    max_deployed: usize,
) -> Result<Plan, Error> {
    let usual = Serving::default();
    let serving = model.spec.serving.as_ref();
    let (cache, mut mount) = mount(model, owner, serving.unwrap_or(&usual), fetched)?;
    let image = settings::image(serving.unwrap_or(&usual), default_image);
    let before = accepted::of(model);
    let what = what(&mount.contents, &image);
    let of = short_hash(&what);
    put_beside(&mut mount, &what, &of, before.as_ref());
    let verifies = verifies(&mount, &what);
    let jobs = &fetched.observed.children.jobs;
    let done = done(jobs, owner, VERIFIES, &verifies);
    let verified = done.and_then(|job| found(model, job, &fetched.observed.pods));
    let candidate = done.zip(verified.clone()).map(|(job, report)| {
        let folder = job.annotations().get(FOLDER).map_or(MODEL_FOLDER, String::as_str);
        Accepted {
            report,
            location: accepted::location(&mount, folder, &of),
            format: model.spec.format,
        }
    });
    let evaluation = match (&model.spec.evaluation, &candidate) {
        (Some(asked), Some(candidate)) => {
            let with = (owner, &image, mount.one_node);
            Some(evaluation::plan(model, asked, candidate, fetched, with)?)
        }
        _ => None,
    };
    let asked = model.spec.evaluation.is_some();
    let passed = evaluation.as_ref().and_then(EvaluationPlan::passed);
    let good = candidate.is_some() && (!asked || passed == Some(true));
    let accepted = match candidate {
        Some(candidate) if good => Some(candidate.or_as_before(before, &mount)),
        _ => before,
    };
    let known = Known {
        mount: &mount,
        verified: verified.is_some(),
        good,
        accepted: accepted.as_ref(),
    };
    let Pods {
        workload,
        waits,
        keep_serving,
    } = pods(model, owner, fetched, known, (default_image, max_deployed))?;
    let job = JobPlan {
        owner: owner.clone(),
        placement: scheduling::of_job(serving.unwrap_or(&usual), mount.one_node),
        mount,
        image,
        verifies,
        done_as: done.map(ResourceExt::name_any),
        again: done.is_some() && verified.is_none(),
    };
    Ok(Plan {
        cache,
        job,
        verified,
        evaluation,
        good,
        accepted,
        workload,
        waits,
        keep_serving,
    })
}

/// What is known of the model when its pods are planned.
#[derive(Clone, Copy)]
struct Known<'a> {
    /// The one that the spec asks for, and where it is brought.
    mount: &'a ModelMount,
    /// Whether that is verified.
    verified: bool,
    /// Whether it is good, too.
    good: bool,
    /// The one that may be served.
    accepted: Option<&'a Accepted>,
}

/// What becomes of the pods, as [`Plan`] has it.
struct Pods {
    workload: Option<WorkloadPlan>,
    waits: Option<Finding>,
    keep_serving: bool,
}

/// Decides on the pods.
fn pods(
    model: &ModelDeployment,
    owner: &Owner,
    fetched: &Fetched,
    known: Known,
    (default_image, max_deployed): (&str, usize),
) -> Result<Pods, Error> {
    let Known {
        mount,
        verified,
        good,
        accepted,
    } = known;
    let name = model_child(&owner.name);
    let deployments = &fetched.observed.children.deployments;
    let live = deployments.iter().find(|one| one.name_any() == name);
    // A model that waits for its verdict or has failed leaves the pods of the one before as the spec asks for them, where those
    // can be told; while a model is fetched nothing of them changes.
    let runs = |accepted: &Accepted| live.is_some_and(|live| accepted::runs(live, &accepted.report.digest));
    let as_before = verified
        && match accepted {
            Some(before) => before.claim() == mount.claim.as_deref() && (live.is_none() || runs(before)),
            None => live.is_none(),
        };
    let starts = accepted.is_some_and(|accepted| good || (as_before && runs(accepted)));
    // The pods are planned even before the model is verified, so that a spec that cannot be followed is told at once.
    let workload = match &model.spec.serving {
        Some(serving) => {
            let served = match accepted {
                Some(accepted) => accepted.mount(mount.one_node),
                None => mount.clone(),
            };
            let workload =
                WorkloadPlan::new(owner, name, owner.name.clone(), served, serving, default_image)?;
            let workload = workload.with_kinds(&fetched.observed.offered)?;
            Some(workload.with_rollout(&fetched.observed))
        }
        None => None,
    };
    let workload = workload.filter(|_| starts);
    let waits = match (&workload, live) {
        (Some(_), None) => turn::waits(model, &fetched.models, max_deployed),
        _ => None,
    };
    Ok(Pods {
        workload: workload.filter(|_| waits.is_none()),
        waits,
        keep_serving: !good && !as_before,
    })
}

impl Accepted {
    /// This model where it is; or where it was before, when its bytes are the same and still there: no pod has to move.
    fn or_as_before(self, before: Option<Accepted>, mount: &ModelMount) -> Accepted {
        let cached = matches!(mount.contents, Contents::Bundled(_) | Contents::Remote(_));
        let stays = before.filter(|before| {
            cached && before.report.digest == self.report.digest && before.claim() == mount.claim.as_deref()
        });
        match stays {
            Some(Accepted { location, .. }) => Accepted { location, ..self },
            None => self,
        }
    }
}

/// A model that is brought goes beside the one that is served, so that this one can be served until it is good. The first one, and
/// the one that is served when it is looked at again, have their own place. `of`: the hash of `what` the model is.
fn put_beside(mount: &mut ModelMount, what: &str, of: &str, before: Option<&Accepted>) {
    if !matches!(mount.contents, Contents::Bundled(_) | Contents::Remote(_)) {
        return;
    }
    let served = before.filter(|before| before.claim() == mount.claim.as_deref());
    let Some((served, folder)) = served.and_then(|served| Some((served, served.folder()?))) else {
        return;
    };
    let same_source = served.location.of.as_deref() == Some(of);
    let pin = mount.digest.as_deref();
    mount.folder = match pin {
        // What is served is what is asked for; it is looked at where it is.
        Some(pin) if pin == served.report.digest => folder.into(),
        None if same_source => folder.into(),
        Some(pin) if same_source => model_folder(&format!("{what} as {pin}")),
        _ => model_folder(what),
    };
    if mount.folder == folder && pin.is_some_and(|pin| pin != served.report.digest) {
        mount.folder = model_folder(&format!("{what} instead of {folder}"));
    }
    mount.keep = Some(folder.into());
}

fn mount(
    model: &ModelDeployment,
    owner: &Owner,
    serving: &Serving,
    fetched: &Fetched,
) -> Result<(Option<ClaimPlan>, ModelMount), Error> {
    let spec = &model.spec.model;
    let (digest, format) = (spec.digest.clone(), model.spec.format);
    if let Some(contents) = Contents::cached(&spec.source) {
        let name = model_child(&owner.name);
        let claims = &fetched.observed.children.persistent_volume_claims;
        let live = claims.iter().find(|claim| claim.name_any() == name);
        let usual = usual_cache_size(serving.profile);
        let cache = ClaimPlan::new(owner, name.clone(), spec.cache.as_ref(), usual, live)?;
        let mount = ModelMount {
            claim: Some(name),
            contents,
            folder: MODEL_FOLDER.into(),
            keep: None,
            digest,
            format,
            one_node: cache.one_node(),
        };
        return Ok((Some(cache), mount));
    }
    if let Some(image) = &spec.source.image {
        return Ok((None, ModelMount::of_image(image, digest).of_format(format)));
    }
    let source = spec
        .source
        .persistent_volume_claim
        .as_ref()
        .ok_or(SpecError::NoSource)?;
    let missing = || Error::ClaimNotFound(source.claim_name.clone());
    let live = fetched.claim.as_ref().ok_or_else(missing)?;
    let mount = ModelMount::in_folder(&source.claim_name, &source.path, digest, claim::one_node(live));
    Ok((None, mount.of_format(format)))
}

/// What a Job verifies: another claim, folder, source or pin is another thing, and so is a model of another image. The image
/// that merely downloads it or looks at a claim is not, and neither is another token.
fn verifies(mount: &ModelMount, what: &str) -> String {
    let pin = mount.digest.as_deref().unwrap_or("any digest");
    let claim = mount.claim.as_deref().unwrap_or("no claim");
    short_hash(&format!("{what} on {claim} as {pin}"))
}

fn what(contents: &Contents, image: &Image) -> String {
    match contents {
        Contents::Bundled(name) => format!("bundled {name} of {}", image.reference),
        Contents::Remote(remote) => format!("download {}", remote.flags.join(" ")),
        Contents::Folder(folder) => format!("folder {folder}"),
        Contents::Image(source) => format!("folder {} of image {}", source.path, source.reference),
    }
}

/// The Job that has done what this annotation says. One of an earlier object of this name does not count: it is about to go.
fn done<'a>(jobs: &'a [Job], owner: &Owner, annotation: &str, value: &str) -> Option<&'a Job> {
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
            .get(annotation)
            .is_some_and(|found| found == value)
    };
    jobs.iter().filter(same).find(complete)
}

/// The pods of a Job.
fn of_job<'a>(pods: &'a [Pod], job: &str) -> impl Iterator<Item = &'a Pod> {
    pods.iter().filter(move |pod| {
        pod.labels()
            .get("batch.kubernetes.io/job-name")
            .is_some_and(|name| name == job)
    })
}

/// What it found: by its pod, or by the status when the pod is gone.
fn found(model: &ModelDeployment, job: &Job, pods: &[Pod]) -> Option<ModelReport> {
    report::verified(of_job(pods, &job.name_any())).or_else(|| {
        let status = model
            .status
            .as_ref()
            .filter(|status| conditions::holds(&status.conditions, MODEL_CACHED))?;
        if let Some(candidate) = status.candidate.clone() {
            return Some(ModelReport {
                digest: candidate.digest,
                size_bytes: candidate.size_bytes,
                files: candidate.files,
                source: candidate.source,
                resolved_revision: candidate.revision,
            });
        }
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
