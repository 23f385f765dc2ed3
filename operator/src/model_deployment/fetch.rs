//! Reads what a ModelDeployment refers to, and its children.
//!
//! In: the object and a client. Out: [`Fetched`]. It decides nothing: what does not exist is simply not there.

use crds::ModelDeployment;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::context::Context;
use crate::names::Owner;
use crate::observe::{self, Observed};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The children and what may stand in their way.
    pub observed: Observed,
    /// The claim that the source names.
    pub claim: Option<PersistentVolumeClaim>,
    /// The ModelDeployments of its namespace: read before it is deployed.
    pub models: Vec<ModelDeployment>,
}

/// Reads the cluster.
pub async fn fetch(
    model: &ModelDeployment,
    owner: &Owner,
    context: &Context,
) -> Result<Fetched, kube::Error> {
    let wants_gpu = model
        .spec
        .serving
        .as_ref()
        .is_some_and(|serving| serving.gpu.is_some());
    let (children, client, namespace) = (&context.children, &context.client, &owner.namespace);
    let observed = observe::observe(context, owner, wants_gpu).await?;
    let claim = match &model.spec.model.source.persistent_volume_claim {
        Some(source) => children.named(client, namespace, &source.claim_name).await?,
        None => None,
    };
    let deployed = !observed.children.deployments.is_empty();
    let models = match &model.spec.serving {
        Some(_) if !deployed => children.all(client, namespace).await?,
        _ => Vec::new(),
    };
    Ok(Fetched {
        observed,
        claim,
        models,
    })
}
