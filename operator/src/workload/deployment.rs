//! The Deployment of the pods that serve.
//!
//! In: the plan. Out: the Deployment. Its template depends on the plan only, so a new operator restarts no pod.
//!
//! Start and readiness are asked by `grpc.health.v1`, or over HTTP where the pods speak TLS, which the kubelet's probes of gRPC
//! do not: the server answers both alike. Liveness is not: a server that drains answers NOT_SERVING there, and
//! the kubelet would kill it in the middle of its last transcriptions. So liveness asks over HTTP whether it still answers.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::placement::{Gpu, TopologySpread};
use k8s_openapi::DeepMerge;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, PodSpec,
    PodTemplateSpec, Probe, ResourceClaim, ResourceRequirements, SleepAction, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;

use super::pod::{container_security, pod_security, temporary_mount, verbatim};
use super::{Replicas, Role, ServerFlags, Strategy, WorkloadPlan, gpu, resource_claim_template, scheduling};
use crate::duration::{flag, seconds};
use crate::names::{GRPC_PORT, HTTP_PORT, SERVER_CONTAINER, VARIANT};

/// Time between the end of a pod being announced and the server being told: endpoints forget the pod meanwhile.
pub(super) const PRE_STOP: Duration = Duration::from_secs(5);
/// Time that the server may use for what is left, after the longest request.
pub(super) const DRAIN_MARGIN: Duration = Duration::from_secs(5);
/// Time between the server's own end and the kubelet's patience.
pub(super) const KILL_MARGIN: Duration = Duration::from_secs(5);

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
            strategy: Some(strategy(plan)),
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

fn strategy(plan: &WorkloadPlan) -> DeploymentStrategy {
    let (surge, unavailable) = match plan.rollout.strategy {
        Strategy::Surge => (1, 0),
        Strategy::Replace => (0, 1),
    };
    DeploymentStrategy {
        type_: Some("RollingUpdate".into()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(surge)),
            max_unavailable: Some(IntOrString::Int(unavailable)),
        }),
    }
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
    let grace = PRE_STOP + plan.server.timeout + DRAIN_MARGIN + KILL_MARGIN;
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
        image_pull_secrets: (!plan.image.pull_secrets.is_empty()).then(|| plan.image.pull_secrets.clone()),
        security_context: Some(pod_security()),
        termination_grace_period_seconds: Some(seconds(grace)),
        init_containers: Some(vec![
            plan.model.fetch_container(&plan.image, plan.resources.clone()),
        ]),
        containers: vec![server(plan)],
        volumes: Some([plan.model.volumes(uploads(plan)), plan.endpoint.volumes()].concat()),
        ..Default::default()
    }
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
    let port = |name: &str, number: i32| ContainerPort {
        name: Some(name.into()),
        container_port: number,
        protocol: Some("TCP".into()),
        ..Default::default()
    };
    let probe = |period: i32, failures: i32| Probe {
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(5),
        ..Default::default()
    };
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
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction {
                    seconds: seconds(PRE_STOP),
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
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
        format!("--drain-timeout={}", flag(flags.timeout + DRAIN_MARGIN)),
        "--log-format=json".to_string(),
    ];
    arguments.extend(plan.model.format_flag());
    arguments.extend(asked_for(flags));
    arguments.extend(plan.endpoint.flags());
    arguments.extend(
        plan.model
            .digest
            .iter()
            .map(|digest| format!("--digest={digest}")),
    );
    arguments
}

/// The flags that only a spec that asks for them has: the others' pods keep their template when the operator learns one.
fn asked_for(flags: &ServerFlags) -> impl Iterator<Item = String> {
    let vad = flags.vad.as_ref();
    let time = |value: Option<Duration>| value.map(flag);
    let temperatures: Vec<String> = flags.temperatures.iter().map(f64::to_string).collect();
    let temperatures = Some(temperatures.join(",")).filter(|list| !list.is_empty());
    let suppressed = flags.suppress_tokens.as_ref().map(|tokens| {
        let numbers: Vec<String> = tokens.iter().map(i32::to_string).collect();
        numbers.join(",")
    });
    [
        ("precision", written(flags.precision)),
        ("long-form", written(flags.long_form)),
        ("chunk-silence", time(flags.chunk_silence)),
        ("channels", written(flags.channels)),
        ("vad", written(vad.map(|vad| vad.enabled))),
        ("vad-threshold", written(vad.and_then(|vad| vad.threshold))),
        ("vad-min-speech", time(vad.and_then(|vad| vad.min_speech))),
        ("vad-min-silence", time(vad.and_then(|vad| vad.min_silence))),
        ("vad-speech-pad", time(vad.and_then(|vad| vad.speech_pad))),
        ("word-timestamps", written(flags.word_timestamps)),
        (
            "prepended-punctuation",
            flags.prepended_punctuation.as_deref().map(verbatim),
        ),
        (
            "appended-punctuation",
            flags.appended_punctuation.as_deref().map(verbatim),
        ),
        (
            "hallucination-silence-threshold",
            time(flags.hallucination_silence_threshold),
        ),
        ("temperatures", temperatures),
        ("beam-size", written(flags.beam_size)),
        ("patience", written(flags.patience)),
        ("best-of", written(flags.best_of)),
        ("length-penalty", written(flags.length_penalty)),
        (
            "compression-ratio-threshold",
            written(flags.compression_ratio_threshold),
        ),
        ("logprob-threshold", written(flags.logprob_threshold)),
        ("no-speech-threshold", written(flags.no_speech_threshold)),
        ("seed", written(flags.seed)),
        ("suppress-tokens", suppressed),
        ("suppress-blank", written(flags.suppress_blank)),
        ("max-initial-timestamp", time(flags.max_initial_timestamp)),
        ("max-new-tokens", written(flags.max_new_tokens)),
        ("initial-prompt", flags.initial_prompt.as_deref().map(verbatim)),
        ("carry-initial-prompt", written(flags.carry_initial_prompt)),
        ("hotwords", flags.hotwords.as_deref().map(verbatim)),
        (
            "condition-on-previous-text",
            written(flags.condition_on_previous_text),
        ),
    ]
    .into_iter()
    .filter_map(|(flag, value)| value.map(|value| format!("--{flag}={value}")))
}

fn written<T: ToString>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
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
