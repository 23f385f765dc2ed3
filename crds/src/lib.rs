//! The API group `parlance.dev/v1alpha1` as Rust types.
//!
//! In: nothing. Out: the two kinds, their parts, and the CustomResourceDefinitions made of them. The types hold no
//! behaviour beyond defaults: the operator decides what a spec means.

pub mod autoscaling;
pub mod canary;
pub mod condition;
pub mod endpoint;
pub mod evaluation;
pub mod generated;
pub mod model;
pub mod model_deployment;
pub mod monitoring;
pub mod placement;
pub mod reference;
pub mod security;
pub mod serving;
pub mod transcription;
pub mod transcription_service;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use model_deployment::ModelDeployment;
pub use transcription_service::TranscriptionService;

/// API group of both kinds.
pub const GROUP: &str = "parlance.dev";

/// API version of both kinds.
pub const VERSION: &str = "v1alpha1";

/// Every CustomResourceDefinition of Parlance, with the name of the file that holds its YAML.
pub fn all_crds() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![
        ("transcriptionservices.yaml", TranscriptionService::crd()),
        ("modeldeployments.yaml", ModelDeployment::crd()),
    ]
}
