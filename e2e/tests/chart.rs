//! The operator's chart, rendered by Helm: what it makes of its values, and which values it refuses. Needs Helm, no cluster.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::process::Command;

use e2e::manifest::repository;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use serde::Deserialize;
use serde_json::Value;

/// Renders the chart; the documents, or Helm's words when it refuses.
fn render(arguments: &[&str]) -> Result<Vec<Value>, String> {
    let helm = Command::new("helm")
        .args(["template", "parlance", "--namespace", "parlance-system"])
        .arg(repository("charts/parlance"))
        .args(arguments)
        .output()
        .expect("failed to run helm: run the test with `make chart-test`");
    if !helm.status.success() {
        return Err(String::from_utf8_lossy(&helm.stderr).into_owned());
    }
    let text = String::from_utf8(helm.stdout).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text).map(|d| Value::deserialize(d).unwrap());
    Ok(documents.filter(|d| !d.is_null()).collect())
}

fn of_kind<K: for<'a> Deserialize<'a>>(documents: &[Value], kind: &str) -> Vec<K> {
    let found = documents.iter().filter(|d| d["kind"] == kind);
    found
        .map(|d| serde_json::from_value(d.clone()).unwrap())
        .collect()
}

/// The operator's pods.
fn pod(documents: &[Value]) -> PodTemplateSpec {
    let deployment = of_kind::<Deployment>(documents, "Deployment").remove(0);
    deployment.spec.unwrap().template
}

/// The operator's container.
fn container(documents: &[Value]) -> Container {
    pod(documents).spec.unwrap().containers.remove(0)
}

fn kinds(documents: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = documents.iter().map(|d| d["kind"].as_str().unwrap()).collect();
    kinds.sort();
    kinds
}

#[test]
#[ignore = "needs helm: make chart-test"]
fn the_default_is_one_hardened_pod_for_the_whole_cluster() {
    let documents = render(&[]).unwrap();
    assert_eq!(
        kinds(&documents),
        [
            "ClusterRole",
            "ClusterRole",
            "ClusterRole",
            "ClusterRoleBinding",
            "Deployment",
            "Role",
            "RoleBinding",
            "Service",
            "ServiceAccount"
        ]
    );
    let pod = pod(&documents).spec.unwrap();
    assert_eq!(pod.security_context.unwrap().run_as_non_root, Some(true));
    let container = &pod.containers[0];
    assert_eq!(container.image.as_deref(), Some("parlance-operator:0.1.0"));
    let arguments = container.args.clone().unwrap();
    assert!(
        arguments.contains(&"--server-image=parlance-server:0.1.0".to_owned()),
        "{arguments:?}"
    );
    assert!(
        arguments.contains(&"--max-deployed=10".to_owned()),
        "{arguments:?}"
    );
    assert!(
        arguments.contains(&"--leader-election=true".to_owned()),
        "{arguments:?}"
    );
    assert!(
        !arguments.iter().any(|a| a.starts_with("--namespaces")),
        "{arguments:?}"
    );
    let security = container.security_context.clone().unwrap();
    assert_eq!(security.read_only_root_filesystem, Some(true));
    assert_eq!(security.allow_privilege_escalation, Some(false));
    assert_eq!(security.capabilities.unwrap().drop, Some(vec!["ALL".to_owned()]));
}

#[test]
#[ignore = "needs helm: make chart-test"]
fn with_namespaces_nothing_is_granted_cluster_wide() {
    let documents = render(&["--set", "namespaces={team-a,team-b}"]).unwrap();
    assert!(
        !kinds(&documents)
            .iter()
            .any(|kind| kind.starts_with("ClusterRole")),
        "{:?}",
        kinds(&documents)
    );
    let roles = of_kind::<Role>(&documents, "Role");
    let mut places: Vec<_> = roles
        .iter()
        .map(|r| r.metadata.namespace.clone().unwrap())
        .collect();
    places.sort();
    assert_eq!(places, ["parlance-system", "team-a", "team-b"]);
    let arguments = container(&documents).args.unwrap();
    assert!(
        arguments.contains(&"--namespaces=team-a,team-b".to_owned()),
        "{arguments:?}"
    );
}

#[test]
#[ignore = "needs helm: make chart-test"]
fn rights_are_named_one_by_one() {
    let mut rules: Vec<PolicyRule> = Vec::new();
    for arguments in [&[][..], &["--set", "namespaces={team-a}"]] {
        let documents = render(arguments).unwrap();
        rules.extend(
            of_kind::<Role>(&documents, "Role")
                .into_iter()
                .flat_map(|r| r.rules.unwrap_or_default()),
        );
        rules.extend(
            of_kind::<ClusterRole>(&documents, "ClusterRole")
                .into_iter()
                .flat_map(|r| r.rules.unwrap_or_default()),
        );
    }
    assert!(rules.len() > 10, "{}", rules.len());
    for rule in rules {
        let words = rule
            .verbs
            .iter()
            .chain(rule.resources.iter().flatten())
            .chain(rule.api_groups.iter().flatten());
        assert!(words.clone().all(|word| word != "*"), "{rule:?}");
        assert!(
            !rule.resources.iter().flatten().any(|r| r == "secrets"),
            "the operator reads no Secret: {rule:?}"
        );
    }
}

#[test]
#[ignore = "needs helm: make chart-test"]
fn every_kind_of_an_endpoint_may_be_made_and_pruned_in_either_mode() {
    for arguments in [&[][..], &["--set", "namespaces={team-a}"]] {
        let documents = render(arguments).unwrap();
        let mut rules: Vec<PolicyRule> = Vec::new();
        for role in of_kind::<Role>(&documents, "Role") {
            rules.extend(role.rules.unwrap_or_default());
        }
        for role in of_kind::<ClusterRole>(&documents, "ClusterRole") {
            rules.extend(role.rules.unwrap_or_default());
        }
        for (group, resource) in [
            ("networking.k8s.io", "ingresses"),
            ("networking.k8s.io", "networkpolicies"),
            ("cert-manager.io", "certificates"),
            ("gateway.networking.k8s.io", "httproutes"),
            ("gateway.networking.k8s.io", "grpcroutes"),
        ] {
            let names = |list: &Option<Vec<String>>, word: &str| list.iter().flatten().any(|one| one == word);
            let rule = rules
                .iter()
                .find(|rule| names(&rule.api_groups, group) && names(&rule.resources, resource))
                .unwrap_or_else(|| panic!("{resource}: {arguments:?}"));
            for verb in ["get", "list", "watch", "create", "patch", "delete"] {
                assert!(rule.verbs.iter().any(|one| one == verb), "{verb} {resource}");
            }
        }
    }
}

#[test]
#[ignore = "needs helm: make chart-test"]
fn several_replicas_bring_a_disruption_budget_and_images_take_a_registry() {
    let documents = render(&[
        "--set",
        "replicaCount=2,image.registry=mirror:5000,serverImage.registry=mirror:5000,image.tag=v9",
    ])
    .unwrap();
    assert!(kinds(&documents).contains(&"PodDisruptionBudget"));
    let container = container(&documents);
    assert_eq!(
        container.image.as_deref(),
        Some("mirror:5000/parlance-operator:v9")
    );
    assert!(
        container
            .args
            .unwrap()
            .contains(&"--server-image=mirror:5000/parlance-server:0.1.0".to_owned())
    );
}

#[test]
#[ignore = "needs helm: make chart-test"]
fn pods_with_gpus_have_an_image_of_their_own_only_where_one_is_named() {
    let gpu_images = |arguments: &[&str]| -> Vec<String> {
        let documents = render(arguments).unwrap();
        let arguments = container(&documents).args.unwrap().into_iter();
        arguments
            .filter(|argument| argument.starts_with("--gpu-server-image"))
            .collect()
    };
    assert!(gpu_images(&[]).is_empty());
    assert!(gpu_images(&["--set", "gpuServerImage.tag=0.1.0-cuda"]).is_empty());
    let named = "gpuServerImage.registry=mirror:5000,gpuServerImage.repository=parlance-server,gpuServerImage.tag=0.1.0-cuda";
    assert_eq!(
        gpu_images(&["--set", named]),
        ["--gpu-server-image=mirror:5000/parlance-server:0.1.0-cuda"]
    );
}

#[test]
#[ignore = "needs helm: make chart-test"]
fn values_that_mean_nothing_are_refused() {
    for (value, words) in [
        ("replicas=2", "replicas"),
        ("log.format=xml", "format"),
        ("image.tga=v1", "tga"),
        ("maxConcurrentReconciles=0", "maxConcurrentReconciles"),
        ("maxDeployedModels=-1", "maxDeployedModels"),
        ("monitoring.podMonitor.interval=often", "interval"),
        (
            "monitoring.podMonitor.enabled=true",
            "the cluster has no kind PodMonitor: install the Prometheus operator",
        ),
        (
            "monitoring.prometheusRule.enabled=true",
            "the cluster has no kind PrometheusRule",
        ),
    ] {
        let refusal = render(&["--set", value]).expect_err(value);
        assert!(refusal.contains(words), "{value}: {refusal}");
    }
}

/// What `helm template` must be told of a cluster with the Prometheus operator.
const PROMETHEUS_OPERATOR: [&str; 2] = [
    "--api-versions=monitoring.coreos.com/v1/PodMonitor",
    "--api-versions=monitoring.coreos.com/v1/PrometheusRule",
];

fn render_monitored(value: &str) -> Vec<Value> {
    let [monitor, rule] = PROMETHEUS_OPERATOR;
    render(&[monitor, rule, "--set", value]).unwrap()
}

#[test]
#[ignore = "needs helm: make chart-test"]
fn a_pod_monitor_selects_the_operators_pods_and_their_port() {
    let documents = render_monitored(
        "monitoring.podMonitor.enabled=true,monitoring.podMonitor.labels.release=prom,monitoring.podMonitor.interval=15s",
    );
    let monitor = documents.iter().find(|d| d["kind"] == "PodMonitor").unwrap();
    assert_eq!(monitor["metadata"]["labels"]["release"], "prom");
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["interval"], "15s");
    let ports = container(&documents).ports.unwrap();
    assert!(
        ports
            .iter()
            .any(|port| port.name.as_deref() == endpoint["port"].as_str()),
        "{endpoint} is none of {ports:?}"
    );
    let labels = pod(&documents).metadata.unwrap().labels.unwrap();
    let selector = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
    assert!(selector.len() >= 3, "{selector:?}");
    for (key, value) in selector {
        assert_eq!(labels.get(key).map(String::as_str), value.as_str(), "{key}");
    }
}

#[test]
#[ignore = "needs helm: make chart-test"]
fn the_alerts_of_the_chart_are_those_of_its_files_with_the_runbooks_address() {
    let value =
        "monitoring.prometheusRule.enabled=true,monitoring.prometheusRule.runbooks=https://wiki/parlance/";
    let documents = render_monitored(value);
    let rules: Vec<_> = documents
        .iter()
        .filter(|d| d["kind"] == "PrometheusRule")
        .collect();
    assert_eq!(rules.len(), 2);
    for rule in rules {
        let name = rule["metadata"]["name"].as_str().unwrap();
        let file = format!(
            "charts/parlance/rules/{}.yaml",
            name.strip_prefix("parlance-").unwrap()
        );
        let text = std::fs::read_to_string(repository(&file)).unwrap();
        let text = text.replace("docs/runbooks/", "https://wiki/parlance/");
        assert_eq!(
            rule["spec"],
            serde_yaml::from_str::<Value>(&text).unwrap(),
            "{name}"
        );
    }
}

#[test]
#[ignore = "needs helm: make chart-test"]
fn dashboards_come_as_files_of_config_maps_that_the_sidecar_finds() {
    let documents = render(&[
        "--set",
        "monitoring.dashboards.enabled=true,monitoring.dashboards.namespace=grafana",
    ])
    .unwrap();
    let maps: Vec<_> = documents.iter().filter(|d| d["kind"] == "ConfigMap").collect();
    assert_eq!(maps.len(), 2);
    for map in maps {
        assert_eq!(map["metadata"]["namespace"], "grafana");
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        for (file, text) in map["data"].as_object().unwrap() {
            let path = format!(
                "charts/parlance/dashboards/{}",
                file.strip_prefix("parlance-").unwrap()
            );
            let committed = std::fs::read_to_string(repository(&path)).unwrap();
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(parse(text.as_str().unwrap()), parse(&committed), "{file}");
        }
    }
}
