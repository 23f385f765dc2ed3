use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::names::APPLIED;
use crate::workload::tests::plan;

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn on_gpu(more: Value) -> WorkloadPlan {
    let mut serving = json!({"profile": "nano", "gpu": {"count": 1, "products": ["T4"]}});
    serving
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let mut plan = plan(serving);
    plan.model.one_node = false;
    plan
}

/// The Deployment of a plan as the apiserver holds it after we applied it.
fn live(plan: &WorkloadPlan, strategy: Strategy) -> Deployment {
    let mut plan = plan.clone();
    plan.rollout.strategy = strategy;
    let mut live = deployment(&plan);
    let hash = drift::applied_hash(&drift::as_json(&live));
    live.metadata.annotations = Some([(APPLIED.to_string(), hash)].into());
    live
}

/// A node with so many GPUs of a product, of which pods hold some.
fn node(name: &str, product: &str, gpus: u32, held: u32) -> NodeUse {
    let pod = |at: u32| {
        object(
            json!({"metadata": {"name": format!("other-{at}")}, "spec": {"containers": [
            {"name": "a", "resources": {"requests": {"nvidia.com/gpu": "1", "memory": "1Gi"}}}]}}),
        )
    };
    NodeUse {
        node: object(json!({
            "metadata": {"name": name, "labels": {"nvidia.com/gpu.product": product}},
            "spec": {"taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110", "nvidia.com/gpu": gpus.to_string()},
                       "conditions": [{"type": "Ready", "status": "True"}]},
        })),
        pods: (0..held).map(pod).collect(),
    }
}

fn decided(plan: &WorkloadPlan, live: &Deployment, nodes: &[NodeUse]) -> (Strategy, String) {
    let decision = decide(plan, Some(live), &[], &Nodes::Seen(nodes.to_vec()));
    (decision.strategy, decision.why.unwrap_or_default())
}

#[test]
fn nothing_is_decided_while_the_template_stays() {
    let plan = on_gpu(json!({}));
    for strategy in [Strategy::Surge, Strategy::Replace] {
        let live = live(&plan, strategy);
        assert!(!begins(&plan, Some(&live), &[]));
        let kept = decide(&plan, Some(&live), &[], &Nodes::Unasked);
        assert_eq!(kept, Decision { strategy, why: None });
    }
    assert!(!begins(&plan, None, &[]), "the first pods replace none");
    let scaled = on_gpu(json!({"replicas": 3}));
    let before = live(&plan, Strategy::Surge);
    assert!(
        !begins(&scaled, Some(&before), &[]),
        "more pods of the same template"
    );
}

#[test]
fn a_free_gpu_lets_the_new_pod_come_first() {
    let (old, new) = (on_gpu(json!({})), on_gpu(json!({"image": "server:2"})));
    let live = live(&old, Strategy::Replace);
    assert!(begins(&new, Some(&live), &[]));
    let (strategy, why) = decided(&new, &live, &[node("full", "T4", 2, 2), node("free", "T4", 2, 1)]);
    assert_eq!(strategy, Strategy::Surge);
    assert_eq!(
        why,
        "a new pod starts before an old one ends: node free has 1 nvidia.com/gpu free"
    );
}

#[test]
fn without_a_free_gpu_that_will_do_the_old_pod_goes_first() {
    let (old, new) = (on_gpu(json!({})), on_gpu(json!({"image": "server:2"})));
    let live = live(&old, Strategy::Surge);
    let mut cordoned = node("cordoned", "T4", 2, 0);
    cordoned.node.spec.as_mut().unwrap().unschedulable = Some(true);
    let mut lost = node("lost", "T4", 2, 0);
    lost.node.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "Unknown".into();
    let mut small = node("small", "T4", 2, 0);
    let allocatable = small.node.status.as_mut().unwrap().allocatable.as_mut().unwrap();
    allocatable.insert("memory".into(), Quantity("100Mi".into()));
    let others = [
        node("full", "T4", 2, 2),
        node("other", "A100", 8, 0),
        cordoned,
        lost,
        small,
    ];
    let (strategy, why) = decided(&new, &live, &others);
    assert_eq!(strategy, Strategy::Replace);
    assert_eq!(
        why,
        "an old pod ends before its successor starts: no node that will do has 1 nvidia.com/gpu free"
    );
    let forbidden = decide(&new, Some(&live), &[], &Nodes::Forbidden);
    assert_eq!(forbidden.strategy, Strategy::Replace);
    assert!(
        forbidden
            .why
            .unwrap()
            .ends_with("the operator may not read nodes")
    );
}

#[test]
fn a_volume_of_one_node_counts_its_gpus_only() {
    let (old, mut new) = (on_gpu(json!({})), on_gpu(json!({"image": "server:2"})));
    new.model.one_node = true;
    let live = live(&old, Strategy::Replace);
    let own: Pod = object(
        json!({"metadata": {"name": "calls-1", "labels": {CLAIM: "calls-cache"}},
        "spec": {"nodeName": "here", "containers": []}}),
    );
    let decide = |nodes: Vec<NodeUse>| {
        decide(&new, Some(&live), std::slice::from_ref(&own), &Nodes::Seen(nodes)).strategy
    };
    assert_eq!(
        decide(vec![node("here", "T4", 1, 1), node("there", "T4", 1, 0)]),
        Strategy::Replace
    );
    assert_eq!(decide(vec![node("here", "T4", 2, 1)]), Strategy::Surge);
}

#[test]
fn a_pod_that_was_to_come_first_and_finds_no_node_changes_the_strategy_once() {
    let plan = on_gpu(json!({}));
    let pod = |name: &str, hash: &str, spec: Value, status: Value| -> Pod {
        object(
            json!({"metadata": {"name": name, "labels": {"pod-template-hash": hash}}, "spec": spec, "status": status}),
        )
    };
    let old = pod("old", "1", json!({"nodeName": "n", "containers": []}), json!({}));
    let waits =
        json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
    let new = pod("new", "2", json!({"containers": []}), waits.clone());
    let surging = live(&plan, Strategy::Surge);
    let both = [old.clone(), new];
    assert!(begins(&plan, Some(&surging), &both));
    let decision = decide(
        &plan,
        Some(&surging),
        &both,
        &Nodes::Seen(vec![node("free", "T4", 1, 0)]),
    );
    assert_eq!(decision.strategy, Strategy::Replace);
    assert!(
        decision
            .why
            .unwrap()
            .starts_with("a pod that was to start beside the old ones finds no node")
    );
    let replacing = live(&plan, Strategy::Replace);
    assert!(!begins(&plan, Some(&replacing), &both), "it stays so");
    let one_more = pod("more", "1", json!({"containers": []}), waits);
    assert!(
        !begins(&plan, Some(&surging), &[old, one_more]),
        "no rollout: there are more pods than GPUs"
    );
}

#[test]
fn a_pod_needs_what_its_containers_need_together_or_the_largest_before_them() {
    let pod: PodSpec = object(json!({
        "containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}, {"name": "b", "resources": {"requests": {"cpu": "500m"}}}],
        "initContainers": [
            {"name": "c", "resources": {"requests": {"cpu": "2", "memory": "1"}}},
            {"name": "d", "restartPolicy": "Always", "resources": {"requests": {"cpu": "250m"}}},
        ],
    }));
    let expected =
        [("cpu", 2000), ("memory", 1000), ("pods", 1000)].map(|(name, amount)| (name.to_string(), amount));
    assert_eq!(requests(&pod), BTreeMap::from(expected));
}

#[test]
fn without_gpus_nothing_is_asked_and_a_new_pod_comes_first() {
    let (old, new) = (plan(json!({})), plan(json!({"image": "server:2"})));
    let live = live(&old, Strategy::Surge);
    assert!(!begins(&new, Some(&live), &[]));
    assert_eq!(
        decide(&new, Some(&live), &[], &Nodes::Unasked).strategy,
        Strategy::Surge
    );
}
