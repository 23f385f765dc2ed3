//! The model that a ModelDeployment lets be served, as its status tells.
//!
//! In: a ModelDeployment, a live Deployment. Out: the model and where it is; whether that is what the spec now asks for; whether pods
//! run it already. Pure. Both kinds read it: the one that serves its own model, and the one that refers to another's.

use crds::ModelDeployment;
use crds::condition::{EVALUATION_PASSED, MODEL_CACHED};
use crds::model::{ClaimSource, ModelFormat, ModelLocation};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use crate::conditions;
use crate::health::ModelReport;
use crate::names::{MODEL_FOLDER, SERVER_CONTAINER, model_child};
use crate::workload::{Contents, ModelMount};

/// A model that may be served.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// What its files are.
    pub report: ModelReport,
    /// Where they are.
    pub location: ModelLocation,
    /// What they are a model of.
    pub format: ModelFormat,
}

impl Accepted {
    /// The claim that holds it, unless an image does.
    pub fn claim(&self) -> Option<&str> {
        let claim = self.location.persistent_volume_claim.as_ref();
        claim.map(|claim| claim.claim_name.as_str())
    }

    /// Its folder on the claim.
    pub fn folder(&self) -> Option<&str> {
        let claim = self.location.persistent_volume_claim.as_ref();
        claim.map(|claim| claim.path.as_str())
    }

    /// How a pod mounts it. `one_node`: whether its claim can be mounted on one node only.
    pub fn mount(&self, one_node: bool) -> ModelMount {
        let digest = Some(self.report.digest.clone());
        let mount = match (&self.location.image, &self.location.persistent_volume_claim) {
            (Some(image), _) => ModelMount::of_image(image, digest),
            (None, Some(claim)) => ModelMount::in_folder(&claim.claim_name, &claim.path, digest, one_node),
            (None, None) => ModelMount::in_folder("", "", digest, one_node),
        };
        mount.of_format(self.format)
    }
}

/// The model that may be served; none before one was verified and, where that is asked for, evaluated.
pub fn of(model: &ModelDeployment) -> Option<Accepted> {
    let status = model.status.as_ref()?;
    Some(Accepted {
        report: ModelReport {
            digest: status.digest.clone()?,
            size_bytes: status.size_bytes.unwrap_or_default(),
            files: status.files.unwrap_or_default(),
            source: status.source.clone(),
            resolved_revision: status.revision.clone(),
        },
        location: status.location.clone().unwrap_or_else(|| first_location(model)),
        format: model.spec.format,
    })
}

/// Where a model is whose status does not say it, as that of an earlier operator.
fn first_location(model: &ModelDeployment) -> ModelLocation {
    let source = &model.spec.model.source;
    let cached = || ClaimSource {
        claim_name: model_child(&model.name_any()),
        path: MODEL_FOLDER.into(),
    };
    ModelLocation {
        persistent_volume_claim: match (&source.image, &source.persistent_volume_claim) {
            (Some(_), _) => None,
            (None, Some(claim)) => Some(claim.clone()),
            (None, None) => Some(cached()),
        },
        image: source.image.clone(),
        of: None,
    }
}

/// Where the model is that a first container has brought from the source of this hash to `folder` of its mount, or has verified in
/// place.
pub fn location(mount: &ModelMount, folder: &str, of: &str) -> ModelLocation {
    let on_claim = |path: &str| ClaimSource {
        claim_name: mount.claim.clone().unwrap_or_default(),
        path: path.into(),
    };
    match &mount.contents {
        Contents::Bundled(_) | Contents::Remote(_) => ModelLocation {
            persistent_volume_claim: Some(on_claim(folder)),
            image: None,
            of: Some(of.into()),
        },
        Contents::Folder(path) => ModelLocation {
            persistent_volume_claim: Some(on_claim(path)),
            image: None,
            of: None,
        },
        Contents::Image(image) => ModelLocation {
            persistent_volume_claim: None,
            image: Some(image.clone()),
            of: None,
        },
    }
}

/// Whether that model is what the spec as it now is asks for: verified, and evaluated where that is asked for.
pub fn is_current(model: &ModelDeployment) -> bool {
    let conditions = model.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let now = |type_: &str| {
        conditions::find(conditions, type_)
            .is_some_and(|one| one.status == "True" && one.observed_generation == model.metadata.generation)
    };
    now(MODEL_CACHED) && (model.spec.evaluation.is_none() || now(EVALUATION_PASSED))
}

/// Whether the pods of a Deployment are to run the model of this digest.
pub fn runs(deployment: &Deployment, digest: &str) -> bool {
    let spec = deployment.spec.as_ref();
    let pod = spec.and_then(|spec| spec.template.spec.as_ref());
    let servers = pod
        .into_iter()
        .flat_map(|pod| &pod.containers)
        .filter(|container| container.name == SERVER_CONTAINER);
    let flag = format!("--digest={digest}");
    servers
        .flat_map(|server| server.args.iter().flatten())
        .any(|argument| *argument == flag)
}
