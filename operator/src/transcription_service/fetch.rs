//! Reads what a TranscriptionService refers to, and its children.
//!
//! In: the object and a client. Out: [`Fetched`]. It decides nothing: what does not exist is simply not there.

use crds::model::Model;
use crds::transcription_service::ModelRef;
use crds::{ModelDeployment, TranscriptionService};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::accepted;
use crate::context::Context;
use crate::names::{COMPONENT, Component, Owner, cache_claim, canary_child};
use crate::observe::{self, Observed};
use crate::resources::{Live, Resources};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The children and what may stand in their way, without those of a canary.
    pub observed: Observed,
    /// The ModelDeployment that `modelRef` names.
    pub model: Option<ModelDeployment>,
    /// The claim of someone else that holds the model.
    pub claim: Option<PersistentVolumeClaim>,
    /// What was found of a canary.
    pub canary: FetchedCanary,
}

/// What was found of a canary.
#[derive(Clone, Debug, Default)]
pub struct FetchedCanary {
    /// Its children, wanted or not.
    pub children: Resources<Live>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// The ModelDeployment that `canary.modelRef` names.
    pub model: Option<ModelDeployment>,
    /// The claim of someone else that holds its model.
    pub claim: Option<PersistentVolumeClaim>,
    /// When this was read.
    pub at: Timestamp,
}

/// Reads the cluster.
pub async fn fetch(
    service: &TranscriptionService,
    owner: &Owner,
    context: &Context,
) -> Result<Fetched, kube::Error> {
    let mut observed = observe::observe(context, owner, service.spec.serving.gpu.is_some()).await?;
    let mut canary = set_apart(&mut observed, owner);
    let (namespace, spec) = (owner.namespace.as_str(), &service.spec);
    let (model, claim) = read_model(context, namespace, spec.model.as_ref(), spec.model_ref.as_ref()).await?;
    if let Some(block) = &spec.canary {
        let (own, reference) = (block.model.as_ref(), block.model_ref.as_ref());
        (canary.model, canary.claim) = read_model(context, namespace, own, reference).await?;
    }
    Ok(Fetched {
        observed,
        model,
        claim,
        canary,
    })
}

/// The ModelDeployment that is referred to, and the claim of someone else that holds the model.
async fn read_model(
    context: &Context,
    namespace: &str,
    own: Option<&Model>,
    reference: Option<&ModelRef>,
) -> Result<(Option<ModelDeployment>, Option<PersistentVolumeClaim>), kube::Error> {
    let (children, client) = (&context.children, &context.client);
    let model = match reference {
        Some(reference) => children.named(client, namespace, &reference.name).await?,
        None => None,
    };
    let claim = match source_claim(own, model.as_ref()) {
        Some(name) => children.named(client, namespace, &name).await?,
        None => None,
    };
    Ok((model, claim))
}

/// Takes what is the canary's out of what was observed.
fn set_apart(observed: &mut Observed, owner: &Owner) -> FetchedCanary {
    let name = canary_child(&owner.name);
    let cache = cache_claim(&name);
    let children = &mut observed.children;
    let component = Component::Canary.as_str();
    let is_canarys = |pod: &mut Pod| pod.labels().get(COMPONENT).map(String::as_str) == Some(component);
    FetchedCanary {
        pods: observed.pods.extract_if(.., is_canarys).collect(),
        children: Resources {
            deployments: named(&mut children.deployments, &name),
            network_policies: named(&mut children.network_policies, &name),
            persistent_volume_claims: named(&mut children.persistent_volume_claims, &cache),
            ..Resources::default()
        },
        at: Timestamp::now(),
        ..FetchedCanary::default()
    }
}

fn named<K: ResourceExt>(all: &mut Vec<K>, name: &str) -> Vec<K> {
    all.extract_if(.., |one| one.name_any() == name).collect()
}

/// Name of the claim that holds a model and is not the service's own.
pub fn source_claim(own: Option<&Model>, model: Option<&ModelDeployment>) -> Option<String> {
    match own {
        Some(own) => {
            let source = own.source.persistent_volume_claim.as_ref();
            source.map(|source| source.claim_name.clone())
        }
        None => accepted::of(model?)?.claim().map(str::to_string),
    }
}
