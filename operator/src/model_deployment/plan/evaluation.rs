//! Decides whether a verified model is to be tried on samples, and what came of it.
//!
//! In: the model, where it is, the Jobs and pods that there are. Out: an [`EvaluationPlan`]. Pure.

use crds::ModelDeployment;
use crds::evaluation::{Evaluation, EvaluationStatus};
use crds::model::ModelFormat;
use crds::placement::Placement;
use crds::serving::Serving;
use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::ResourceExt;

use super::super::fetch::Fetched;
use super::{done, of_job};
use crate::accepted::Accepted;
use crate::health::evaluation;
use crate::names::{EVALUATES, Owner, short_hash};
use crate::workload::scheduling;
use crate::workload::server_flags::ServerFlags;
use crate::workload::settings::{self, SpecError};
use crate::workload::{Image, ModelMount};

/// The gate before a verified model is served.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationPlan {
    /// What came of it; nothing before that is known.
    pub outcome: Option<EvaluationStatus>,
    /// The Job that tries the model; none when it is not needed any more, or must go for once and run again.
    pub job: Option<EvaluationJob>,
}

/// The Job that tries a model on samples.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationJob {
    /// Whose it is.
    pub owner: Owner,
    /// The model.
    pub mount: ModelMount,
    /// The server's image.
    pub image: Image,
    /// Requests and limits, as for serving.
    pub resources: ResourceRequirements,
    /// Where its pod may run.
    pub placement: Placement,
    /// Samples and threshold.
    pub asked: Evaluation,
    /// Language of the samples, where the spec names one for serving.
    pub language: Option<String>,
    /// Precision of the products with weights, where the spec names one for serving.
    pub precision: Option<&'static str>,
    /// Hash of what is tried and how.
    pub evaluates: String,
    /// Name of a Job that has done it already, with whatever template.
    pub done_as: Option<String>,
}

impl EvaluationPlan {
    /// Whether the model is good enough; nothing before that is known.
    pub fn passed(&self) -> Option<bool> {
        self.outcome.as_ref().map(|outcome| outcome.passed)
    }
}

/// Decides. `one_node`: whether the model's claim can be mounted on one node only.
pub fn plan(
    model: &ModelDeployment,
    asked: &Evaluation,
    candidate: &Accepted,
    fetched: &Fetched,
    (owner, image, one_node): (&Owner, &Image, bool),
) -> Result<EvaluationPlan, SpecError> {
    let digest = &candidate.report.digest;
    let evaluates = evaluates(asked, digest);
    let jobs = &fetched.observed.children.jobs;
    let done = done(jobs, owner, EVALUATES, &evaluates);
    let reported = done.and_then(|job| evaluation::reported(of_job(&fetched.observed.pods, &job.name_any())));
    let known = model.status.as_ref().and_then(|status| status.evaluation.clone());
    let outcome = known
        .filter(|known| known.of == evaluates)
        .or_else(|| reported.map(|(report, at)| report.into_status(digest, &evaluates, at)));
    let usual = Serving::default();
    let serving = model.spec.serving.as_ref();
    let flags = ServerFlags::of(serving.unwrap_or(&usual))?;
    let hears = model.spec.format == ModelFormat::Whisper;
    let job = EvaluationJob {
        owner: owner.clone(),
        mount: candidate.mount(one_node),
        image: image.clone(),
        resources: settings::resources(serving.unwrap_or(&usual))?,
        placement: scheduling::of_job(serving.unwrap_or(&usual), one_node),
        asked: asked.clone(),
        language: serving.filter(|_| hears).map(|_| flags.language),
        precision: flags.precision,
        evaluates,
        done_as: done.map(ResourceExt::name_any),
    };
    // One that is done stays for its log, and is not made again once its outcome is known.
    let wanted = outcome.is_some() == done.is_some();
    Ok(EvaluationPlan {
        outcome,
        job: wanted.then_some(job),
    })
}

/// Hash of what is tried and how: of another model, other samples or another threshold nothing is known yet.
fn evaluates(asked: &Evaluation, digest: &str) -> String {
    let asked = serde_json::to_string(asked).unwrap_or_default();
    short_hash(&format!("{digest} by {asked}"))
}
