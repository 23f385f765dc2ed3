//! Who may reach the serving pods, and whom they may reach.
//!
//! In: the plan. Out: a NetworkPolicy when the plan asks for one. It is about the pods that serve: the Job of a
//! ModelDeployment, which downloads, is not fenced in. What no rule allows is refused.

use crds::security::NetworkPolicy as Wanted;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Contents, WorkloadPlan};
use crate::names::{ADMIN_PORT, COMPONENT, Component, GRPC_PORT, HTTP_PORT, PROGRESS_PORT, activator};

/// The port of DNS.
const DNS_PORT: i32 = 53;

/// The NetworkPolicy.
pub fn network_policy(plan: &WorkloadPlan) -> Option<NetworkPolicy> {
    let wanted = plan.network_policy.as_ref()?;
    let downloads = matches!(plan.model.contents, Contents::Remote(_));
    let (types, egress) = match downloads {
        // A model may be anywhere, and the way there may lead through a proxy: nothing that these pods reach is ruled out.
        true => (vec!["Ingress"], None),
        false => (vec!["Ingress", "Egress"], Some(vec![names_only()])),
    };
    Some(NetworkPolicy {
        metadata: plan.owner.child(&plan.deployment(), plan.component()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(plan.owner.label_selector(plan.component())),
            policy_types: Some(types.into_iter().map(String::from).collect()),
            ingress: Some(ingress(plan, wanted, downloads)),
            egress,
        }),
    })
}

/// The NetworkPolicy of the activator: clients reach it, and it reaches the pods.
pub fn of_activator(plan: &WorkloadPlan) -> Option<NetworkPolicy> {
    let wanted = plan.network_policy.as_ref()?;
    let mut ingress = from_outside(wanted);
    ingress.push(rule(vec![operator()], &[i32::from(ADMIN_PORT)]));
    let to_pods = NetworkPolicyEgressRule {
        to: Some(vec![pods_of(plan, Component::Server)]),
        ports: Some([GRPC_PORT, HTTP_PORT].map(|number| port("TCP", number)).to_vec()),
    };
    Some(NetworkPolicy {
        metadata: plan.owner.child(&activator(&plan.name), Component::Activator),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(plan.owner.label_selector(Component::Activator)),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            ingress: Some(ingress),
            egress: Some(vec![names_only(), to_pods]),
        }),
    })
}

/// Some pods of the same object.
fn pods_of(plan: &WorkloadPlan, component: Component) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(plan.owner.label_selector(component)),
        ..Default::default()
    }
}

fn from_outside(wanted: &Wanted) -> Vec<NetworkPolicyIngressRule> {
    let Wanted {
        allow_from,
        allow_metrics_from,
    } = wanted;
    let clients = match allow_from.is_empty() {
        true => vec![NetworkPolicyPeer {
            pod_selector: Some(LabelSelector::default()),
            ..Default::default()
        }],
        false => allow_from.clone(),
    };
    let mut rules = vec![rule(clients, &[GRPC_PORT, HTTP_PORT])];
    if !allow_metrics_from.is_empty() {
        rules.push(rule(allow_metrics_from.clone(), &[HTTP_PORT]));
    }
    rules
}

fn ingress(plan: &WorkloadPlan, wanted: &Wanted, downloads: bool) -> Vec<NetworkPolicyIngressRule> {
    let mut rules = from_outside(wanted);
    if plan.zero.is_some() {
        let activator = vec![pods_of(plan, Component::Activator)];
        rules.push(rule(activator, &[GRPC_PORT, HTTP_PORT]));
    }
    if downloads {
        rules.push(rule(vec![operator()], &[i32::from(PROGRESS_PORT)]));
    }
    rules
}

fn rule(from: Vec<NetworkPolicyPeer>, ports: &[i32]) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: Some(from),
        ports: Some(ports.iter().map(|number| port("TCP", *number)).collect()),
    }
}

fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.into()),
        port: Some(IntOrString::Int(number)),
        end_port: None,
    }
}

/// The operator, wherever it runs, as its chart labels it: it asks pods how far their download is.
fn operator() -> NetworkPolicyPeer {
    let labels = [(COMPONENT, "operator"), ("app.kubernetes.io/part-of", "parlance")];
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(LabelSelector {
            match_labels: Some(labels.map(|(key, value)| (key.into(), value.into())).into()),
            ..Default::default()
        }),
        ip_block: None,
    }
}

/// Wherever DNS is: it may be a pod, or an address of the node.
fn names_only() -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: None,
        ports: Some(vec![port("UDP", DNS_PORT), port("TCP", DNS_PORT)]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::workload::tests::{json, plan};

    fn spec(plan: &WorkloadPlan) -> Value {
        json(network_policy(plan).unwrap())["spec"].clone()
    }

    #[test]
    fn the_policy_in_full_for_the_namespace_alone() {
        let plan = plan(json!({"security": {"networkPolicy": {}}}));
        let tcp = |port: i32| json!({"protocol": "TCP", "port": port});
        assert_eq!(
            spec(&plan),
            json!({
                "podSelector": {"matchLabels": {
                    "app.kubernetes.io/component": "server", "parlance.dev/kind": "TranscriptionService", "parlance.dev/name": "calls",
                }},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [{"podSelector": {}}], "ports": [tcp(50051), tcp(8080)]}],
                "egress": [{"ports": [{"protocol": "UDP", "port": 53}, tcp(53)]}],
            })
        );
    }

    #[test]
    fn peers_take_the_place_of_the_namespace_and_a_prometheus_gets_one_port() {
        let edge = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge"}}});
        let block = json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}});
        let policy = json!({"allowFrom": [edge, block], "allowMetricsFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]});
        let plan = plan(json!({"security": {"networkPolicy": policy}}));
        let rules = spec(&plan)["ingress"].clone();
        assert_eq!(rules[0]["from"], json!([edge, block]));
        assert_eq!(
            rules[1],
            json!({"from": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}], "ports": [{"protocol": "TCP", "port": 8080}]})
        );
        assert_eq!(rules.as_array().unwrap().len(), 2);
    }

    #[test]
    fn pods_that_download_reach_out_and_tell_the_operator_how_far_they_are() {
        let mut plan = plan(json!({"security": {"networkPolicy": {}}}));
        let source = json!({"huggingFace": {"repo": "me/tiny"}});
        plan.model.contents = Contents::cached(&serde_json::from_value(source).unwrap()).unwrap();
        let spec = spec(&plan);
        assert_eq!(spec["policyTypes"], json!(["Ingress"]));
        assert_eq!(spec.get("egress"), None);
        assert_eq!(
            spec["ingress"][1]["ports"],
            json!([{"protocol": "TCP", "port": 8081}])
        );
        assert_eq!(
            spec["ingress"][1]["from"][0]["podSelector"]["matchLabels"],
            json!({"app.kubernetes.io/component": "operator", "app.kubernetes.io/part-of": "parlance"})
        );
    }

    #[test]
    fn who_asks_for_no_policy_gets_none() {
        assert_eq!(network_policy(&plan(json!({}))), None);
        assert_eq!(network_policy(&plan(json!({"security": {}}))), None);
    }
}
