//! Reads what a TranscriptionService refers to, and its children.
//!
//! In: the object and a client. Out: [`Fetched`]. It decides nothing: what does not exist is simply not there.

use crds::{ModelDeployment, TranscriptionService};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::accepted;
use crate::context::Context;
use crate::names::Owner;
use crate::observe::{self, Observed};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The children and what may stand in their way.
    pub observed: Observed,
    /// The ModelDeployment that `modelRef` names.
    pub model: Option<ModelDeployment>,
    /// The claim of someone else that holds the model.
    pub claim: Option<PersistentVolumeClaim>,
}

/// Reads the cluster.
pub async fn fetch(
    service: &TranscriptionService,
    owner: &Owner,
    context: &Context,
) -> Result<Fetched, kube::Error> {
    let (children, client, namespace) = (&context.children, &context.client, &owner.namespace);
    let observed = observe::observe(context, owner, service.spec.serving.gpu.is_some()).await?;
    let model = match &service.spec.model_ref {
        Some(reference) => children.named(client, namespace, &reference.name).await?,
        None => None,
    };
    let claim = match source_claim(service, model.as_ref()) {
        Some(name) => children.named(client, namespace, &name).await?,
        None => None,
    };
    Ok(Fetched {
        observed,
        model,
        claim,
    })
}

/// Name of the claim that holds the model and is not this service's own.
pub fn source_claim(service: &TranscriptionService, model: Option<&ModelDeployment>) -> Option<String> {
    match &service.spec.model {
        Some(own) => {
            let source = own.source.persistent_volume_claim.as_ref();
            source.map(|source| source.claim_name.clone())
        }
        None => accepted::of(model?)?.claim().map(str::to_string),
    }
}
