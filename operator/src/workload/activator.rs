//! What holds requests for pods that may not be there: an activator in front of the pods, and two Services behind it.
//!
//! In: the plan. Out: the Deployment, the Services and the NetworkPolicy, when the plan lets the service have no pods. The
//! activator asks the DNS for the addresses of the pods, to choose among them. Where that has remembered for a while that there
//! are none, it goes through the second Service, whose own address is always known.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    Container, HTTPGetAction, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, Service, ServiceSpec,
    Volume,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;

use super::lifetime::{drain_argument, grace_seconds, lifecycle, probe, rolling_update};
use super::pod::{container_security, pod_security, port};
use super::service::ports;
use super::{WorkloadPlan, network_policy};
use crate::names::{
    ACTIVATOR_CONTAINER, ADMIN_PORT, Component, GRPC_PORT, HTTP_PORT, activator, any_pod_service,
    pods_service,
};

/// The Services that lead the activator to the pods. Pods that load their model are among them: it asks each whether it is ready.
pub fn services(plan: &WorkloadPlan) -> Vec<Service> {
    let service = |name: String, cluster_ip: Option<&str>| Service {
        metadata: plan.owner.child(&name, Component::Activator),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: cluster_ip.map(String::from),
            selector: Some(plan.owner.selector(Component::Server)),
            publish_not_ready_addresses: Some(true),
            ports: Some(ports(plan)),
            ..Default::default()
        }),
        status: None,
    };
    let both = || {
        vec![
            service(pods_service(&plan.name), Some("None")),
            service(any_pod_service(&plan.name), None),
        ]
    };
    plan.zero.as_ref().map(|_| both()).unwrap_or_default()
}

/// The Deployment: one small pod, which is replaced by one that answers already.
pub fn deployment(plan: &WorkloadPlan) -> Option<Deployment> {
    plan.zero.as_ref()?;
    Some(Deployment {
        metadata: plan.owner.child(&activator(&plan.name), Component::Activator),
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            selector: plan.owner.label_selector(Component::Activator),
            strategy: Some(rolling_update(1, 0)),
            revision_history_limit: Some(3),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(plan.owner.labels(Component::Activator)),
                    ..Default::default()
                }),
                spec: Some(pod(plan)),
            },
            ..Default::default()
        }),
        status: None,
    })
}

fn pod(plan: &WorkloadPlan) -> PodSpec {
    let volumes: Vec<Volume> = plan.endpoint.volumes().into_iter().map(whole).collect();
    PodSpec {
        service_account_name: Some(plan.name.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: plan.image.secrets(),
        priority_class_name: plan.placement.priority_class_name.clone(),
        security_context: Some(pod_security()),
        termination_grace_period_seconds: Some(grace_seconds(plan)),
        containers: vec![container(plan)],
        volumes: (!volumes.is_empty()).then_some(volumes),
        ..Default::default()
    }
}

/// The certificate with its authority, where its Secret has that: by it the activator knows the pods while theirs is newer.
fn whole(mut volume: Volume) -> Volume {
    if volume.name == "tls"
        && let Some(secret) = &mut volume.secret
    {
        secret.items = None;
    }
    volume
}

fn container(plan: &WorkloadPlan) -> Container {
    let ask = |path: &str, probe: Probe| Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(ADMIN_PORT.into()),
            ..Default::default()
        }),
        ..probe
    };
    let amounts = |cpu: Option<&str>, memory: &str| {
        let cpu = cpu.map(|cpu| ("cpu".to_string(), Quantity(cpu.into())));
        let memory = ("memory".to_string(), Quantity(memory.into()));
        Some(cpu.into_iter().chain([memory]).collect())
    };
    let mounts = plan.endpoint.mounts();
    Container {
        name: ACTIVATOR_CONTAINER.into(),
        image: Some(plan.image.reference.clone()),
        image_pull_policy: plan.image.pull_policy.clone(),
        args: Some(arguments(plan)),
        ports: Some(vec![
            port("grpc", GRPC_PORT),
            port("http", HTTP_PORT),
            port("admin", ADMIN_PORT.into()),
        ]),
        // Requests that wait keep what they send at most by the kilobyte.
        resources: Some(ResourceRequirements {
            requests: amounts(Some("5m"), "16Mi"),
            limits: amounts(None, "128Mi"),
            ..Default::default()
        }),
        readiness_probe: Some(ask("/health/ready", probe(2, 3))),
        liveness_probe: Some(ask("/health/live", probe(10, 6))),
        lifecycle: Some(lifecycle()),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        ..Default::default()
    }
}

fn arguments(plan: &WorkloadPlan) -> Vec<String> {
    let mut arguments = vec![
        "activate".to_string(),
        format!("--upstream={}", pods_service(&plan.name)),
        format!("--upstream={}", any_pod_service(&plan.name)),
        format!("--model-name={}", plan.model_name),
        format!("--grpc-addr=0.0.0.0:{GRPC_PORT}"),
        format!("--http-addr=0.0.0.0:{HTTP_PORT}"),
        format!("--admin-addr=0.0.0.0:{ADMIN_PORT}"),
        drain_argument(plan),
        "--log-format=json".to_string(),
    ];
    arguments.extend(plan.endpoint.flags());
    arguments
}

/// Who may reach the activator, when the plan fences pods in.
pub fn network_policy(plan: &WorkloadPlan) -> Option<NetworkPolicy> {
    plan.zero.as_ref()?;
    network_policy::of_activator(plan)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::workload::tests::{json, plan};

    fn zero(mut more: Value) -> WorkloadPlan {
        more["autoscaling"] = json!({"minReplicas": 0, "maxReplicas": 2, "targetCPUUtilization": 70});
        plan(more)
    }

    #[test]
    fn it_is_small_restricted_and_speaks_as_the_pods_do() {
        let tls = json!({"tls": {"secretName": "a"}, "auth": {"apiKeysSecretRef": {"name": "b"}}});
        let deployment = json(deployment(&zero(json!({"endpoint": tls}))).unwrap());
        assert_eq!(deployment["metadata"]["name"], "calls-activator");
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(
            container["resources"]["requests"],
            json!({"cpu": "5m", "memory": "16Mi"})
        );
        let arguments = container["args"].as_array().unwrap();
        for flag in [
            "activate",
            "--upstream=calls-pods",
            "--upstream=calls-any",
            "--tls-cert=/etc/parlance/tls/tls.crt",
            "--api-keys-file=/etc/parlance/api-keys/api-keys",
        ] {
            assert!(
                arguments.contains(&json!(flag)),
                "{flag} is missing in {arguments:?}"
            );
        }
        // Whole, for the authority that it may hold.
        assert_eq!(
            pod["volumes"][0]["secret"],
            json!({"secretName": "a", "defaultMode": 0o440})
        );
    }

    #[test]
    fn its_services_lead_to_pods_that_are_not_ready_too() {
        let all: Vec<Value> = services(&zero(json!({}))).into_iter().map(json).collect();
        let names: Vec<&Value> = all.iter().map(|one| &one["metadata"]["name"]).collect();
        assert_eq!(names, ["calls-pods", "calls-any"]);
        assert_eq!(all[0]["spec"]["clusterIP"], "None");
        for service in &all {
            assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
            assert_eq!(
                service["spec"]["selector"]["app.kubernetes.io/component"],
                "server"
            );
        }
    }

    #[test]
    fn a_fence_lets_clients_and_the_operator_in_and_requests_out_to_the_pods() {
        let policy = json(network_policy(&zero(json!({"security": {"networkPolicy": {}}}))).unwrap());
        let ports = |rules: &Value| -> Vec<Value> {
            let rules = rules.as_array().unwrap().iter();
            rules
                .map(|rule| {
                    rule["ports"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|port| port["port"].clone())
                        .collect()
                })
                .collect()
        };
        assert_eq!(
            ports(&policy["spec"]["ingress"]),
            [json!([50051, 8080]), json!([8082])]
        );
        assert_eq!(
            ports(&policy["spec"]["egress"]),
            [json!([53, 53]), json!([50051, 8080])]
        );
    }

    #[test]
    fn a_service_that_always_has_pods_has_none_of_it() {
        let plan = plan(json!({"security": {"networkPolicy": {}}}));
        assert!(services(&plan).is_empty());
        assert!(deployment(&plan).is_none() && network_policy(&plan).is_none());
    }
}
