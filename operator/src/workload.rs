//! The pods that serve a model, and everything beside them: what both kinds have in common.
//!
//! In: a [`WorkloadPlan`], in which nothing is left to decide. Out: the child objects. The builders cannot fail, and know
//! neither the custom resources nor the cluster. `settings` is what turns the serving block of a spec into such a plan.

pub mod activator;
pub mod certificate;
pub mod claim;
pub mod deployment;
pub mod endpoint;
pub mod gpu;
pub mod horizontal_pod_autoscaler;
pub mod ingress;
pub mod lifetime;
pub mod network_policy;
pub mod persistent_volume_claim;
pub mod pod;
pub mod pod_disruption_budget;
pub mod pod_monitor;
pub mod pod_template;
pub mod profile;
pub mod prometheus_rule;
pub mod remote;
pub mod resource_claim_template;
pub mod rollout;
pub mod routes;
pub mod scaled_object;
pub mod scheduling;
pub mod server_flags;
pub mod service;
pub mod service_account;
pub mod settings;
pub mod vertical_pod_autoscaler;
pub mod zero;

use std::collections::BTreeSet;

use crds::autoscaling::{Autoscaling, VerticalPodAutoscaler};
use crds::model::{ImageSource, ModelFormat, ModelSource};
use crds::monitoring::{Monitoring, PodMonitor, PrometheusRule};
use crds::placement::{Gpu, Placement};
use crds::security::NetworkPolicy;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{LocalObjectReference, PodTemplateSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::kinds::OptionalKind;
use crate::names::{Component, GRPC_SERVICES, MODEL_FOLDER, Owner, canary_child};
use crate::observe::Observed;
use crate::resources::{Prepared, Resources};
use endpoint::EndpointPlan;
use remote::Remote;
use rollout::Decision;
use server_flags::ServerFlags;
use settings::SpecError;

/// Pods that serve a model, with every decision taken.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadPlan {
    /// Whose pods they are.
    pub owner: Owner,
    /// Name of the Deployment and of the objects beside it.
    pub name: String,
    /// Whether the pods serve alone.
    pub role: Role,
    /// Name by which clients know the model.
    pub model_name: String,
    /// Where the pods find the model.
    pub model: ModelMount,
    /// The server's image.
    pub image: Image,
    /// How many pods.
    pub replicas: Replicas,
    /// When there are to be no pods, and what holds requests meanwhile; nothing where there are always some.
    pub zero: Option<zero::ZeroPlan>,
    /// Requests and limits of the server, without GPUs.
    pub resources: ResourceRequirements,
    /// GPUs of each pod.
    pub gpu: Option<Gpu>,
    /// Nodes that will do.
    pub placement: Placement,
    /// How pods are replaced.
    pub rollout: Decision,
    /// What decides the pods' requests.
    pub vertical_pod_autoscaler: Option<VerticalPodAutoscaler>,
    /// What the spec adds to the pods' template.
    pub pod_template: Option<PodTemplateSpec>,
    /// Flags of the server.
    pub server: ServerFlags,
    /// How clients reach them.
    pub endpoint: EndpointPlan,
    /// Who may reach them; everybody without a policy.
    pub network_policy: Option<NetworkPolicy>,
    /// How many pods a drain may take; none without a budget.
    pub disruption: Option<Budget>,
    /// What Prometheus is told of the pods.
    pub monitoring: MonitoringPlan,
}

/// Whether pods serve alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// They do.
    #[default]
    Alone,
    /// Those of a canary serve beside them, by the same Service.
    BesideCanary,
    /// They are those of the canary, which does otherwise what this hash tells.
    Canary(String),
}

/// A model on a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelMount {
    /// The claim; none for a model in an image.
    pub claim: Option<String>,
    /// What is on it.
    pub contents: Contents,
    /// Folder that a model goes to which the first container brings.
    pub folder: String,
    /// Folder beside it with a model that is still served. The first container removes all other models.
    pub keep: Option<String>,
    /// Digest that the model must have.
    pub digest: Option<String>,
    /// What the model is.
    pub format: ModelFormat,
    /// Whether the volume can be mounted on one node only, so that all pods must run there.
    pub one_node: bool,
}

/// What a claim holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Nothing until the first container copies this model of the image there.
    Bundled(String),
    /// Nothing until the first container downloads this model there.
    Remote(Remote),
    /// A model in this folder, which the first container verifies.
    Folder(String),
    /// A model in an image, which is itself the volume. The first container verifies it.
    Image(ImageSource),
}

impl Contents {
    /// What a claim of ours is filled with from `source`; nothing when that is a volume itself.
    pub fn cached(source: &ModelSource) -> Option<Contents> {
        let bundled = source.bundled.as_ref();
        let bundled = bundled.map(|bundled| Contents::Bundled(bundled.name.clone()));
        bundled.or_else(|| Remote::of(source).map(Contents::Remote))
    }
}

impl ModelMount {
    /// The model that this image holds.
    pub fn of_image(image: &ImageSource, digest: Option<String>) -> ModelMount {
        ModelMount {
            claim: None,
            contents: Contents::Image(image.clone()),
            folder: MODEL_FOLDER.into(),
            keep: None,
            digest,
            format: ModelFormat::Whisper,
            one_node: false,
        }
    }

    /// The model in a folder of this claim.
    pub fn in_folder(claim: &str, folder: &str, digest: Option<String>, one_node: bool) -> ModelMount {
        ModelMount {
            claim: Some(claim.into()),
            contents: Contents::Folder(folder.into()),
            folder: MODEL_FOLDER.into(),
            keep: None,
            digest,
            format: ModelFormat::Whisper,
            one_node,
        }
    }

    /// The same, of this format.
    pub fn of_format(self, format: ModelFormat) -> ModelMount {
        ModelMount { format, ..self }
    }

    /// The services of gRPC that its server has.
    pub fn grpc_services(&self) -> [&'static str; 4] {
        let mut services = GRPC_SERVICES;
        if self.format == ModelFormat::Onnx {
            services[0] = "inference.GRPCInferenceService";
        }
        services
    }

    /// The flag that tells the server's program the format. A Whisper's needs none: pods of an earlier operator stay as they are.
    pub fn format_flag(&self) -> Option<String> {
        (self.format == ModelFormat::Onnx).then(|| "--format=onnx".to_string())
    }
}

/// An image and how to get it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// Its reference.
    pub reference: String,
    /// When it is pulled.
    pub pull_policy: Option<String>,
    /// Secrets that open its registry.
    pub pull_secrets: Vec<LocalObjectReference>,
}

/// Who decides the number of pods.
#[derive(Clone, Debug, PartialEq)]
pub enum Replicas {
    /// The spec.
    Fixed(i32),
    /// The autoscaler.
    Scaled(Box<Autoscaling>),
}

impl Replicas {
    /// Pods that there are at least when all is well.
    pub fn least(&self) -> i32 {
        match self {
            Replicas::Fixed(count) => *count,
            Replicas::Scaled(autoscaling) => autoscaling.min_replicas,
        }
    }
}

/// How pods are replaced when their template changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// A new pod starts before an old one ends.
    Surge,
    /// An old pod ends before its successor starts.
    Replace,
}

/// What Prometheus is told of the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonitoringPlan {
    /// Whether pods carry the annotations that a Prometheus may look for.
    pub annotations: bool,
    /// A PodMonitor.
    pub pod_monitor: Option<PodMonitor>,
    /// A PrometheusRule.
    pub prometheus_rule: Option<PrometheusRule>,
}

impl From<&Monitoring> for MonitoringPlan {
    fn from(spec: &Monitoring) -> MonitoringPlan {
        MonitoringPlan {
            annotations: spec.annotations.unwrap_or(false),
            pod_monitor: spec.pod_monitor.clone(),
            prometheus_rule: spec.prometheus_rule.clone(),
        }
    }
}

impl WorkloadPlan {
    /// The plan without what a cluster cannot hold that has only the kinds of `offered`. Devices cannot be done without.
    pub fn with_kinds(mut self, offered: &BTreeSet<OptionalKind>) -> Result<WorkloadPlan, SpecError> {
        let MonitoringPlan {
            annotations: _,
            pod_monitor,
            prometheus_rule,
        } = &mut self.monitoring;
        pod_monitor.take_if(|_| !offered.contains(&OptionalKind::PodMonitor));
        prometheus_rule.take_if(|_| !offered.contains(&OptionalKind::PrometheusRule));
        self.endpoint = self.endpoint.with_kinds(offered);
        self.vertical_pod_autoscaler
            .take_if(|_| !offered.contains(&OptionalKind::VerticalPodAutoscaler));
        if let Replicas::Scaled(autoscaling) = &mut self.replicas {
            scale_on_what_there_is(autoscaling, offered);
        }
        let claims = self.gpu.as_ref().is_some_and(Gpu::is_claimed);
        if claims && !offered.contains(&OptionalKind::ResourceClaimTemplate) {
            return Err(SpecError::DeviceClaims);
        }
        Ok(self)
    }

    /// The plan with the way in which its pods are replaced, by what was observed of them and of the nodes.
    pub fn with_rollout(mut self, observed: &Observed) -> WorkloadPlan {
        let live = self.live(observed);
        self.rollout = rollout::decide(&self, live, &observed.pods, &observed.gpu_nodes);
        self.zero = self.zero.take().map(|zero| zero.with(&self, observed));
        self
    }

    /// The Deployment of this plan, as it was found.
    pub fn live<'a>(&self, observed: &'a Observed) -> Option<&'a Deployment> {
        let deployments = &observed.children.deployments;
        deployments
            .iter()
            .find(|one| one.metadata.name.as_ref() == Some(&self.name))
    }

    /// Name of the Deployment, and of what each Deployment has for itself.
    pub fn deployment(&self) -> String {
        match self.role {
            Role::Alone | Role::BesideCanary => self.name.clone(),
            Role::Canary(_) => canary_child(&self.name),
        }
    }

    /// What part of the object the pods are.
    pub fn component(&self) -> Component {
        match self.role {
            Role::Alone | Role::BesideCanary => Component::Server,
            Role::Canary(_) => Component::Canary,
        }
    }

    /// Selects all pods that serve, for clients and for Prometheus.
    pub fn all_that_serve(&self) -> LabelSelector {
        let labels = match self.role {
            Role::Alone => self.owner.selector(Component::Server),
            Role::BesideCanary | Role::Canary(_) => self.owner.selector_with_canary(),
        };
        LabelSelector {
            match_labels: Some(labels),
            ..Default::default()
        }
    }
}

/// Use of the CPU, in percent, that is held where nothing that the spec asks for can be measured.
pub const FALLBACK_CPU: i32 = 80;

/// Leaves out what the cluster has no means to scale on. An autoscaler must have something to go by.
fn scale_on_what_there_is(autoscaling: &mut Autoscaling, offered: &BTreeSet<OptionalKind>) {
    autoscaling
        .keda
        .take_if(|_| !offered.contains(&OptionalKind::ScaledObject));
    if autoscaling.keda.is_none() && !offered.contains(&OptionalKind::PodMetrics) {
        autoscaling.target_queued_audio_seconds = None;
    }
    let nothing = autoscaling.target_queued_audio_seconds.is_none()
        && autoscaling.target_cpu_utilization.is_none()
        && autoscaling.target_memory_utilization.is_none();
    if nothing {
        autoscaling.target_cpu_utilization = Some(FALLBACK_CPU);
    }
}

/// Limit on how many pods may be away.
#[derive(Clone, Debug, PartialEq)]
pub enum Budget {
    /// So many must stay.
    MinAvailable(IntOrString),
    /// So many may be away.
    MaxUnavailable(IntOrString),
}

/// The children that serve a model.
pub fn build(plan: &WorkloadPlan) -> Resources<Prepared> {
    Resources {
        service_accounts: vec![service_account::service_account(plan)],
        services: [vec![service::service(plan)], activator::services(plan)].concat(),
        deployments: [deployment::deployment(plan)]
            .into_iter()
            .chain(activator::deployment(plan))
            .collect(),
        horizontal_pod_autoscalers: horizontal_pod_autoscaler::horizontal_pod_autoscaler(plan)
            .into_iter()
            .collect(),
        pod_disruption_budgets: pod_disruption_budget::pod_disruption_budget(plan)
            .into_iter()
            .collect(),
        scaled_objects: scaled_object::scaled_object(plan).into_iter().collect(),
        vertical_pod_autoscalers: vertical_pod_autoscaler::vertical_pod_autoscaler(plan)
            .into_iter()
            .collect(),
        resource_claim_templates: resource_claim_template::resource_claim_template(plan)
            .into_iter()
            .collect(),
        pod_monitors: pod_monitor::pod_monitor(plan).into_iter().collect(),
        prometheus_rules: prometheus_rule::prometheus_rule(plan).into_iter().collect(),
        network_policies: network_policy::network_policy(plan)
            .into_iter()
            .chain(activator::network_policy(plan))
            .collect(),
        certificates: certificate::certificate(plan).into_iter().collect(),
        ingresses: ingress::ingresses(plan),
        http_routes: routes::http_route(plan).into_iter().collect(),
        grpc_routes: routes::grpc_route(plan).into_iter().collect(),
        ..Resources::default()
    }
}

/// The children of a canary: it shares all others with the pods beside which it serves.
pub fn build_canary(plan: &WorkloadPlan) -> Resources<Prepared> {
    Resources {
        deployments: vec![deployment::deployment(plan)],
        network_policies: network_policy::network_policy(plan).into_iter().collect(),
        ..Resources::default()
    }
}

#[cfg(test)]
pub(crate) mod tests;
