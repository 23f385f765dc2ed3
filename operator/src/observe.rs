//! Reads what a reconcile must know of the cluster: the children of an object, and what stands in their way.
//!
//! In: a client and the owner. Out: objects as they are. It writes nothing and judges nothing. What only matters when
//! something is wrong is read only then.

use std::collections::BTreeSet;
use std::fmt::Debug;

use crds::model::DownloadStatus;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::try_join;

use crate::context::Context;
use crate::demand::Heard;
use crate::health::{claims, pods};
use crate::kinds::OptionalKind;
use crate::names::Owner;
use crate::resources::{Live, Resources};
use crate::workload::WorkloadPlan;
use crate::workload::rollout::{self, NodeUse, Nodes};
use crate::workload::scheduling::admits;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The children, wanted or not.
    pub children: Resources<Live>,
    /// All pods of the owner.
    pub pods: Vec<Pod>,
    /// How far the download of its model is, where one runs.
    pub download: Option<DownloadStatus>,
    /// What its activator says of requests, where it may have no pods.
    pub demand: Option<Heard>,
    /// Warnings about its claims, pods and Jobs, as far as those are stuck.
    pub warnings: Vec<Event>,
    /// The StorageClasses: read when a claim waits for a volume, and if that is allowed.
    pub storage_classes: Option<Vec<StorageClass>>,
    /// The nodes: read when pods want GPUs and have no node yet, and if that is allowed.
    pub nodes: Option<Vec<Node>>,
    /// The nodes on which new pods may run: read when their template is about to change.
    pub gpu_nodes: Nodes,
    /// Whether pods that serve keep their image when the operator comes with another one.
    pub keeps_images: bool,
    /// The kinds of other projects that the cluster has, and whose objects were read.
    pub offered: BTreeSet<OptionalKind>,
}

/// Reads the children of `owner`, and whatever may keep them from running.
pub async fn observe(context: &Context, owner: &Owner, wants_gpu: bool) -> Result<Observed, kube::Error> {
    let (client, kinds, of) = (&context.client, &context.kinds, &context.children);
    let (network_policies, ingresses) = try_join!(of.of(client, owner), of.of(client, owner))?;
    let (service_accounts, persistent_volume_claims, services, deployments, autoscalers, budgets, jobs, pods) =
        try_join!(
            of.of(client, owner),
            of.of(client, owner),
            of.of(client, owner),
            of.of(client, owner),
            of.of(client, owner),
            of.of(client, owner),
            of.of(client, owner),
            of.of::<Pod>(client, owner),
        )?;
    let mut observed = Observed {
        children: Resources {
            service_accounts,
            persistent_volume_claims,
            services,
            deployments,
            horizontal_pod_autoscalers: autoscalers,
            pod_disruption_budgets: budgets,
            network_policies,
            ingresses,
            jobs,
            ..Resources::default()
        },
        pods,
        ..Observed::default()
    };
    observed.offered = kinds.offered(client).await?;
    let (children, offered) = (&mut observed.children, &mut observed.offered);
    children.pod_monitors = list_optional(context, owner, OptionalKind::PodMonitor, offered).await?;
    children.prometheus_rules = list_optional(context, owner, OptionalKind::PrometheusRule, offered).await?;
    children.scaled_objects = list_optional(context, owner, OptionalKind::ScaledObject, offered).await?;
    children.vertical_pod_autoscalers =
        list_optional(context, owner, OptionalKind::VerticalPodAutoscaler, offered).await?;
    children.resource_claim_templates =
        list_optional(context, owner, OptionalKind::ResourceClaimTemplate, offered).await?;
    children.certificates = list_optional(context, owner, OptionalKind::Certificate, offered).await?;
    children.http_routes = list_optional(context, owner, OptionalKind::HttpRoute, offered).await?;
    children.grpc_routes = list_optional(context, owner, OptionalKind::GrpcRoute, offered).await?;
    let stuck = stuck(&observed);
    for uid in &stuck {
        observed.warnings.extend(warnings(client, owner, uid).await?);
    }
    if observed
        .children
        .persistent_volume_claims
        .iter()
        .any(claims::waits)
    {
        observed.storage_classes = list_cluster(client).await?;
    }
    let all_placed = !observed.pods.is_empty() && observed.pods.iter().all(pods::is_placed);
    if wants_gpu && !all_placed {
        observed.nodes = list_cluster(client).await?;
    }
    Ok(observed)
}

/// Most nodes whose pods are read. Behind so many full ones, a rollout does without a free one.
const MOST_NODES: usize = 100;

/// The nodes on which the plan's pods may run, with what runs there, up to the first that has room for one more.
pub async fn gpu_nodes(client: &Client, plan: &WorkloadPlan, own: &[Pod]) -> Result<Nodes, kube::Error> {
    let Some(nodes) = list_cluster::<Node>(client).await? else {
        return Ok(Nodes::Forbidden);
    };
    let pod = rollout::pod(plan);
    let mut seen = Vec::new();
    for node in nodes
        .into_iter()
        .filter(|node| admits(node, &pod))
        .take(MOST_NODES)
    {
        let there = format!(
            "spec.nodeName={},status.phase!=Succeeded,status.phase!=Failed",
            node.name_any()
        );
        let pods = Api::<Pod>::all(client.clone())
            .list(&ListParams::default().fields(&there))
            .await;
        let pods = match pods {
            Ok(list) => list.items,
            Err(kube::Error::Api(status)) if status.code == 403 => return Ok(Nodes::Forbidden),
            Err(error) => return Err(error),
        };
        let one = NodeUse { node, pods };
        let enough = rollout::has_room(plan, &one, own);
        seen.push(one);
        if enough {
            break;
        }
    }
    Ok(Nodes::Seen(seen))
}

/// Uids of the objects whose warnings may tell why they do not get on.
fn stuck(observed: &Observed) -> Vec<String> {
    let claims = observed
        .children
        .persistent_volume_claims
        .iter()
        .filter(|claim| claims::waits(claim));
    let pods = observed.pods.iter().filter(|pod| pods::waits_for_volumes(pod));
    let jobs = observed.children.jobs.iter().filter(|job| {
        let status = job.status.clone().unwrap_or_default();
        status.active.unwrap_or(0) == 0 && status.conditions.unwrap_or_default().is_empty()
    });
    let uids = claims
        .filter_map(PersistentVolumeClaim::uid)
        .chain(pods.filter_map(Pod::uid));
    uids.chain(jobs.filter_map(ResourceExt::uid)).collect()
}

/// Children of a kind that the cluster may lack. Where it has just gone, or the operator may not read it, it counts as missing.
async fn list_optional<K>(
    context: &Context,
    owner: &Owner,
    kind: OptionalKind,
    offered: &mut BTreeSet<OptionalKind>,
) -> Result<Vec<K>, kube::Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    if !offered.contains(&kind) {
        return Ok(Vec::new());
    }
    match context.children.of(&context.client, owner).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
            context.kinds.forget(kind);
            offered.remove(&kind);
            Ok(Vec::new())
        }
        listed => listed,
    }
}

async fn warnings(client: &Client, owner: &Owner, uid: &str) -> Result<Vec<Event>, kube::Error> {
    let about = ListParams::default().fields(&format!("type=Warning,involvedObject.uid={uid}"));
    let api = Api::<Event>::namespaced(client.clone(), &owner.namespace);
    Ok(api.list(&about).await?.items)
}

/// Objects of the whole cluster; nothing where the operator may not read them, as in namespaced mode.
async fn list_cluster<K>(client: &Client) -> Result<Option<Vec<K>>, kube::Error>
where
    K: Resource<Scope = k8s_openapi::ClusterResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned,
{
    match Api::<K>::all(client.clone()).list(&ListParams::default()).await {
        Ok(list) => Ok(Some(list.items)),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        Err(error) => Err(error),
    }
}
