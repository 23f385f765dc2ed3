//! How the pods of a service with GPUs are replaced: beside the old ones where a GPU is free, in their place otherwise.
//!
//! In: the plan, the live Deployment, its pods, and what the nodes have. Out: a [`Strategy`], and why. Pure. It is decided when
//! the pods' template is about to change, and once more when a pod that was to come first finds no node; otherwise the live
//! Deployment's strategy stays, so that nothing is written while nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::deployment::deployment;
use super::scheduling::admits;
use super::{Strategy, WorkloadPlan};
use crate::apply::{Change, Done};
use crate::names::{CLAIM, claim_label};
use crate::observe::Observed;
use crate::resources::Resources;
use crate::{drift, images, quantity};

/// A node, and the pods on it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeUse {
    /// The node.
    pub node: Node,
    /// Its pods, as far as they hold anything.
    pub pods: Vec<Pod>,
}

/// What is known of the nodes on which new pods may run.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Nodes {
    /// Nothing: no one has asked.
    #[default]
    Unasked,
    /// Nothing: the operator may not read them.
    Forbidden,
    /// These, as far as it took to find one with room.
    Seen(Vec<NodeUse>),
}

/// A strategy, and why it was taken when it was taken just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How pods are replaced.
    pub strategy: Strategy,
    /// A sentence for people.
    pub why: Option<String>,
}

/// Whether a strategy must be decided, so that the nodes are worth a look.
pub fn begins(plan: &WorkloadPlan, live: Option<&Deployment>, pods: &[Pod]) -> bool {
    let Some(live) = live.filter(|_| plan.gpu.is_some()) else {
        return false;
    };
    changes(plan, live) || surplus_waits(live, pods)
}

/// Whether a strategy must be decided now, where another image of the operator's own may have to wait.
pub fn is_due(plan: &WorkloadPlan, observed: &Observed) -> bool {
    let Some(live) = plan.live(observed) else {
        return false;
    };
    let keeps =
        observed.keeps_images && !surplus_waits(live, &observed.pods) && keeps_image(plan, live, observed);
    !keeps && begins(plan, Some(live), &observed.pods)
}

/// Whether nothing but the image would change, and that stays as it serves.
fn keeps_image(plan: &WorkloadPlan, live: &Deployment, observed: &Observed) -> bool {
    let mut as_is = plan.clone();
    as_is.rollout.strategy = strategy_of(live).unwrap_or(Strategy::Replace);
    let wanted = Resources {
        deployments: vec![deployment(&as_is)],
        ..Resources::default()
    };
    let kept = images::keep_serving_images(wanted, &observed.children);
    kept.deployments
        .iter()
        .any(|kept| drift::was_applied_as(live, kept))
}

/// How the pods are to be replaced.
pub fn decide(plan: &WorkloadPlan, live: Option<&Deployment>, pods: &[Pod], nodes: &Nodes) -> Decision {
    let told = |strategy, why: String| Decision {
        strategy,
        why: Some(why),
    };
    let kept = |strategy| Decision { strategy, why: None };
    let Some(gpu) = &plan.gpu else {
        return kept(Strategy::Surge);
    };
    let before = live.and_then(strategy_of).unwrap_or(Strategy::Replace);
    let Some(live) = live.filter(|_| *nodes != Nodes::Unasked) else {
        return kept(before);
    };
    if !changes(plan, live) {
        return told(
            Strategy::Replace,
            "a pod that was to start beside the old ones finds no node: an old pod ends before its successor starts".into(),
        );
    }
    let replace = |why: &str| {
        told(
            Strategy::Replace,
            format!("an old pod ends before its successor starts: {why}"),
        )
    };
    let devices = format!("{} {}", gpu.count, gpu.resource_name);
    match nodes {
        _ if gpu.is_claimed() => replace("free devices are not counted where pods claim them"),
        Nodes::Unasked | Nodes::Forbidden => replace("the operator may not read nodes"),
        Nodes::Seen(nodes) => match nodes.iter().find(|one| has_room(plan, one, pods)) {
            Some(free) => told(
                Strategy::Surge,
                format!(
                    "a new pod starts before an old one ends: node {} has {devices} free",
                    free.node.name_any()
                ),
            ),
            None => replace(&format!("no node that will do has {devices} free")),
        },
    }
}

/// Says that a rollout begins, and how, when that was decided just now and the Deployment was changed.
pub fn told(plan: &WorkloadPlan, changes: &[Change]) -> Option<Change> {
    let changed = |change: &&Change| {
        change.kind == "Deployment" && change.name == plan.name && change.action == Done::Updated
    };
    let why = plan.rollout.why.clone()?;
    let change = changes.iter().find(changed)?;
    Some(Change {
        action: Done::RolledOut(why),
        ..change.clone()
    })
}

/// The pod that the plan wants.
pub fn pod(plan: &WorkloadPlan) -> PodSpec {
    let spec = deployment(plan).spec.and_then(|spec| spec.template.spec);
    spec.unwrap_or_default()
}

/// Whether one more pod of the plan has room on the node.
pub fn has_room(plan: &WorkloadPlan, one: &NodeUse, own: &[Pod]) -> bool {
    let pod = pod(plan);
    let ready = one
        .node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let ready = ready
        .filter(|condition| condition.type_ == "Ready")
        .all(|condition| condition.status == "True");
    ready && admits(&one.node, &pod) && has_volume(plan, one, own) && has_free(&pod, one)
}

/// Whether the volume can be mounted there: it may be held by another node.
fn has_volume(plan: &WorkloadPlan, one: &NodeUse, own: &[Pod]) -> bool {
    let Some(claim) = &plan.model.claim else {
        return true;
    };
    let label = claim_label(claim);
    let with_volume = |pod: &&Pod| {
        pod.labels().get(CLAIM) == Some(&label)
            && pod.metadata.namespace.as_deref() == Some(&plan.owner.namespace)
    };
    let node_of = |pod: &Pod| pod.spec.as_ref()?.node_name.clone();
    let holders: BTreeSet<String> = own
        .iter()
        .filter(|pod| pod.labels().get(CLAIM) == Some(&label))
        .filter_map(node_of)
        .collect();
    !plan.model.one_node
        || holders.contains(&one.node.name_any())
        || (holders.is_empty() && one.pods.iter().any(|pod| with_volume(&pod)))
}

fn has_free(pod: &PodSpec, one: &NodeUse) -> bool {
    let allocatable = one.node.status.clone().and_then(|status| status.allocatable);
    let allocatable = allocatable.unwrap_or_default();
    let mut used: BTreeMap<String, i128> = BTreeMap::new();
    for spec in one.pods.iter().filter_map(|pod| pod.spec.as_ref()) {
        for (resource, amount) in requests(spec) {
            *used.entry(resource).or_default() += amount;
        }
    }
    requests(pod).into_iter().all(|(resource, wanted)| {
        let all = allocatable
            .get(&resource)
            .and_then(quantity::thousandths)
            .unwrap_or(0);
        all - used.get(&resource).copied().unwrap_or(0) >= wanted
    })
}

/// What the scheduler sets aside for a pod: its containers together, or the largest of those that run before them; what the
/// pod as a whole asks for comes before either. One place on the node, too.
fn requests(pod: &PodSpec) -> BTreeMap<String, i128> {
    let of = |resources: Option<&ResourceRequirements>| -> BTreeMap<String, i128> {
        let amounts = resources
            .and_then(|resources| resources.requests.clone())
            .unwrap_or_default();
        let number = |(name, amount): (String, Quantity)| Some((name, quantity::thousandths(&amount)?));
        amounts.into_iter().filter_map(number).collect()
    };
    let (mut all, mut first) = (BTreeMap::new(), BTreeMap::new());
    let beside = |one: &&Container| one.restart_policy.as_deref() == Some("Always");
    let init = pod.init_containers.as_deref().unwrap_or_default();
    for container in pod.containers.iter().chain(init.iter().filter(beside)) {
        for (name, amount) in of(container.resources.as_ref()) {
            *all.entry(name).or_default() += amount;
        }
    }
    for container in init.iter().filter(|one| !beside(one)) {
        for (name, amount) in of(container.resources.as_ref()) {
            let most: &mut i128 = first.entry(name).or_default();
            *most = amount.max(*most);
        }
    }
    for (name, amount) in first {
        let sum: &mut i128 = all.entry(name).or_default();
        *sum = amount.max(*sum);
    }
    all.extend(of(pod.resources.as_ref()));
    all.insert("pods".into(), 1000);
    all
}

/// Whether anything but the number of pods is about to change.
fn changes(plan: &WorkloadPlan, live: &Deployment) -> bool {
    let mut kept = plan.clone();
    kept.rollout.strategy = strategy_of(live).unwrap_or(Strategy::Replace);
    let mut wanted = deployment(&kept);
    let same = |wanted: &Deployment| drift::was_applied_as(live, wanted);
    if same(&wanted) {
        return false;
    }
    if let Some(spec) = wanted.spec.as_mut().filter(|spec| spec.replicas.is_some()) {
        spec.replicas = live.spec.as_ref().and_then(|live| live.replicas);
    }
    !same(&wanted)
}

/// The strategy of a live Deployment, if it is one of ours.
pub fn strategy_of(live: &Deployment) -> Option<Strategy> {
    let rolling = live.spec.as_ref()?.strategy.as_ref()?.rolling_update.as_ref()?;
    match (rolling.max_surge.as_ref()?, rolling.max_unavailable.as_ref()?) {
        (IntOrString::Int(1), IntOrString::Int(0)) => Some(Strategy::Surge),
        (IntOrString::Int(0), IntOrString::Int(1)) => Some(Strategy::Replace),
        _ => None,
    }
}

/// Whether a new pod was to come first, and finds no node while old ones run.
fn surplus_waits(live: &Deployment, pods: &[Pod]) -> bool {
    let hash = |pod: &Pod| pod.labels().get("pod-template-hash").cloned();
    let waits = pods.iter().filter(|pod| {
        let status = pod.status.as_ref();
        let conditions = status
            .and_then(|status| status.conditions.as_deref())
            .unwrap_or_default();
        conditions.iter().any(|one| {
            one.type_ == "PodScheduled"
                && one.status == "False"
                && one.reason.as_deref() == Some("Unschedulable")
        })
    });
    let mut waiting = waits.filter_map(hash);
    let placed = |pod: &&Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    strategy_of(live) == Some(Strategy::Surge)
        && waiting.any(|new| pods.iter().filter(placed).filter_map(hash).any(|old| old != new))
}

#[cfg(test)]
mod tests;
