//! The Deployment of the pods that serve.
//!
//! In: the plan. Out: the Deployment. Its template depends on the plan only, so a new operator restarts no pod.
//!
//! Start and readiness are asked by `grpc.health.v1`, or over HTTP where the pods speak TLS, which the kubelet's probes of gRPC
//! do not: the server answers both alike. Liveness is not: a server that drains answers NOT_SERVING there, and
//! the kubelet would kill it in the middle of its last transcriptions. So liveness asks over HTTP whether it still answers.

use std::collections::BTreeMap;

use crds::model::ModelFormat;
use crds::placement::{Gpu, TopologySpread};
use k8s_openapi::DeepMerge;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    Affinity, Container, GRPCAction, HTTPGetAction, PodSpec, PodTemplateSpec, Probe, ResourceClaim,
    ResourceRequirements, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;

use super::lifetime::{drain_argument, grace_seconds, lifecycle, probe, rolling_update};
use super::pod::{container_security, pod_security, port, temporary_mount};
use super::{Replicas, Role, Strategy, WorkloadPlan, gpu, resource_claim_template, scheduling};
use crate::duration::flag;
use crate::names::{GRPC_PORT, HTTP_PORT, SERVER_CONTAINER, VARIANT};

/// The Deployment.
pub fn deployment(plan: &WorkloadPlan) -> Deployment {
    let replicas = match &plan.replicas {
        Replicas::Fixed(count) => Some(*count),
        Replicas::Scaled(_) => None,
    };
    Deployment {
        metadata: plan.owner.child(&plan.deployment(), plan.component()),
        spec: Some(DeploymentSpec {
            replicas,
            selector: plan.owner.label_selector(plan.component()),
            strategy: Some(match plan.rollout.strategy {
                Strategy::Surge => rolling_update(1, 0),
                Strategy::Replace => rolling_update(0, 1),
            }),
            // Longer than the start probe: a large model may take minutes to load.
            progress_deadline_seconds: Some(900),
            revision_history_limit: Some(3),
            template: template(plan),
            ..Default::default()
        }),
        status: None,
    }
}

/// The pods, with what the spec adds to them last.
fn template(plan: &WorkloadPlan) -> PodTemplateSpec {
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels(plan)),
            annotations: pod_annotations(plan),
            ..Default::default()
        }),
        spec: Some(pod(plan)),
    };
    if let Some(more) = &plan.pod_template {
        template.merge_from(more.clone());
    }
    template
}

fn pod_labels(plan: &WorkloadPlan) -> BTreeMap<String, String> {
    let mut labels = plan.owner.labels(plan.component());
    labels.extend(plan.model.label());
    labels
}

/// Where a Prometheus that looks for annotations finds the metrics, and what a canary does otherwise.
fn pod_annotations(plan: &WorkloadPlan) -> Option<BTreeMap<String, String>> {
    let port = HTTP_PORT.to_string();
    let mut pairs = vec![("scrape", "true"), ("port", &port), ("path", "/metrics")];
    pairs.extend(plan.endpoint.tls.as_ref().map(|_| ("scheme", "https")));
    pairs.retain(|_| plan.monitoring.annotations);
    let mut annotations: BTreeMap<String, String> = pairs
        .into_iter()
        .map(|(key, value)| (format!("prometheus.io/{key}"), value.to_string()))
        .collect();
    if let Role::Canary(variant) = &plan.role {
        annotations.insert(VARIANT.into(), variant.clone());
    }
    (!annotations.is_empty()).then_some(annotations)
}

fn pod(plan: &WorkloadPlan) -> PodSpec {
    let gpu = plan.gpu.as_ref();
    let on_gpus = gpu.and_then(gpu::node_affinity).map(|nodes| Affinity {
        node_affinity: Some(nodes),
        ..Default::default()
    });
    let with_volume = scheduling::both(plan.placement.affinity.clone(), plan.model.affinity());
    let own_claim = resource_claim_template::name(plan);
    let claim = gpu.and_then(|gpu| gpu::claim(gpu, own_claim.as_deref()));
    let mut tolerations = plan.placement.tolerations.clone();
    tolerations.extend(plan.gpu.iter().flat_map(gpu::tolerations));
    PodSpec {
        affinity: scheduling::both(with_volume, on_gpus),
        topology_spread_constraints: spread(plan),
        resource_claims: claim.map(|claim| vec![claim]),
        tolerations: (!tolerations.is_empty()).then_some(tolerations),
        node_selector: (!plan.placement.node_selector.is_empty())
            .then(|| plan.placement.node_selector.clone()),
        priority_class_name: plan.placement.priority_class_name.clone(),
        service_account_name: Some(plan.name.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: plan.image.secrets(),
        security_context: Some(pod_security()),
        termination_grace_period_seconds: Some(grace_seconds(plan)),
        init_containers: Some(vec![plan.model.fetch_container(
            &plan.image,
            plan.resources.clone(),
            prepack(plan),
        )]),
        containers: vec![server(plan)],
        volumes: Some([plan.model.volumes(uploads(plan)), plan.endpoint.volumes()].concat()),
        ..Default::default()
    }
}

/// The precision for which the weights are put in order beside a Whisper, so that the next server on this kind of machine reads no graph.
fn prepack(plan: &WorkloadPlan) -> Option<&'static str> {
    let on_processors = plan.model.format == ModelFormat::Whisper && plan.gpu.is_none();
    on_processors.then(|| plan.server.precision.unwrap_or("auto"))
}

/// Pods of the same template are spread: those of an older one are about to go.
fn spread(plan: &WorkloadPlan) -> Option<Vec<TopologySpreadConstraint>> {
    let constraint = |wanted: &TopologySpread| TopologySpreadConstraint {
        topology_key: wanted.topology_key.clone(),
        max_skew: wanted.max_skew,
        when_unsatisfiable: format!("{:?}", wanted.when_unsatisfiable),
        label_selector: Some(plan.owner.label_selector(plan.component())),
        match_label_keys: Some(vec!["pod-template-hash".into()]),
        ..Default::default()
    };
    let wanted = &plan.placement.topology_spread;
    (!wanted.is_empty()).then(|| wanted.iter().map(constraint).collect())
}

/// Room for the uploads of all who run and wait, in MiB: the server keeps large ones on disk.
fn uploads(plan: &WorkloadPlan) -> u64 {
    const LARGEST: u64 = 64;
    let places = u64::from(plan.server.max_concurrent) + u64::from(plan.server.queue_limit);
    (places + 1) * LARGEST
}

fn server(plan: &WorkloadPlan) -> Container {
    Container {
        name: SERVER_CONTAINER.into(),
        image: Some(plan.image.reference.clone()),
        image_pull_policy: plan.image.pull_policy.clone(),
        args: Some(arguments(plan)),
        ports: Some(vec![port("grpc", GRPC_PORT), port("http", HTTP_PORT)]),
        resources: Some(resources(plan)),
        startup_probe: Some(ready(plan, probe(2, 300))),
        readiness_probe: Some(ready(plan, probe(5, 3))),
        liveness_probe: Some(Probe {
            http_get: Some(ask(plan, "/health/live")),
            ..probe(10, 6)
        }),
        lifecycle: Some(lifecycle()),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(
            [
                vec![plan.model.read_only_mount(), temporary_mount()],
                plan.endpoint.mounts(),
            ]
            .concat(),
        ),
        ..Default::default()
    }
}

/// Asks whether the model is loaded and the server takes requests.
fn ready(plan: &WorkloadPlan, probe: Probe) -> Probe {
    match plan.endpoint.tls {
        Some(_) => Probe {
            http_get: Some(ask(plan, "/health/ready")),
            ..probe
        },
        None => Probe {
            grpc: Some(GRPCAction {
                port: GRPC_PORT,
                service: None,
            }),
            ..probe
        },
    }
}

/// The kubelet takes any certificate, and has none to show: health is asked without.
fn ask(plan: &WorkloadPlan, path: &str) -> HTTPGetAction {
    HTTPGetAction {
        path: Some(path.into()),
        port: IntOrString::Int(HTTP_PORT),
        scheme: plan.endpoint.tls.as_ref().map(|_| "HTTPS".into()),
        ..Default::default()
    }
}

fn arguments(plan: &WorkloadPlan) -> Vec<String> {
    let flags = &plan.server;
    let mut arguments = vec![
        "serve".to_string(),
        format!("--model={}", plan.model.folder()),
        format!("--model-name={}", plan.model_name),
        format!("--grpc-addr=0.0.0.0:{GRPC_PORT}"),
        format!("--http-addr=0.0.0.0:{HTTP_PORT}"),
        format!("--threads={}", flags.threads),
        format!("--language={}", flags.language),
        format!("--task={}", flags.task),
        format!("--chunk-duration={}", flag(flags.chunk_duration)),
        format!("--chunk-overlap={}", flag(flags.chunk_overlap)),
        format!("--timeout={}", flag(flags.timeout)),
        format!("--max-audio-duration={}", flag(flags.max_audio_duration)),
        format!("--max-concurrent={}", flags.max_concurrent),
        format!("--queue-limit={}", flags.queue_limit),
        drain_argument(plan),
        "--log-format=json".to_string(),
    ];
    arguments.extend(plan.model.format_flag());
    arguments.extend(flags.asked_for());
    arguments.extend(plan.endpoint.flags());
    arguments.extend(
        plan.model
            .digest
            .iter()
            .map(|digest| format!("--digest={digest}")),
    );
    arguments
}

fn resources(plan: &WorkloadPlan) -> ResourceRequirements {
    let mut resources = plan.resources.clone();
    if plan.gpu.as_ref().is_some_and(Gpu::is_claimed) {
        let name = gpu::CLAIM.to_string();
        resources.claims = Some(vec![ResourceClaim { name, request: None }]);
    } else if let Some(gpu) = &plan.gpu {
        let count = Quantity(gpu.count.to_string());
        for amounts in [&mut resources.requests, &mut resources.limits] {
            amounts
                .get_or_insert_default()
                .insert(gpu.resource_name.clone(), count.clone());
        }
    }
    resources
}
