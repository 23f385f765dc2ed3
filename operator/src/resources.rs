//! The children of one object as one set, with one list for each kind.
//!
//! In: nothing. Out: the type that `build` fills, `observe` reads and `apply` writes. Whoever handles all kinds takes it
//! apart without `..`, so that a new kind breaks the build wherever it is forgotten. It holds no behaviour.

use std::marker::PhantomData;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;

use crate::cert_manager::Certificate;
use crate::gateway_api::{GRPCRoute, HTTPRoute};
use crate::prometheus_operator::{PodMonitor, PrometheusRule};
use crate::scalers::{ScaledObject, VerticalPodAutoscaler};

/// As `build` wants them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Prepared {}

/// As the apiserver holds them after they were applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Applied {}

/// As they were found, wanted or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Live {}

/// The children of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources<State> {
    /// Identities of the pods.
    pub service_accounts: Vec<ServiceAccount>,
    /// Volumes of models.
    pub persistent_volume_claims: Vec<PersistentVolumeClaim>,
    /// Addresses of the pods.
    pub services: Vec<Service>,
    /// The pods that serve.
    pub deployments: Vec<Deployment>,
    /// What decides the number of pods.
    pub horizontal_pod_autoscalers: Vec<HorizontalPodAutoscaler>,
    /// What decides it in place of those. None where the cluster lacks the kind.
    pub scaled_objects: Vec<ScaledObject>,
    /// What decides the pods' requests. None where the cluster lacks the kind.
    pub vertical_pod_autoscalers: Vec<VerticalPodAutoscaler>,
    /// How pods claim their devices. None where the cluster lacks the kind.
    pub resource_claim_templates: Vec<ResourceClaimTemplate>,
    /// How many pods a drain may take.
    pub pod_disruption_budgets: Vec<PodDisruptionBudget>,
    /// Which pods a Prometheus scrapes. None where the cluster lacks the kind.
    pub pod_monitors: Vec<PodMonitor>,
    /// Alerts. None where the cluster lacks the kind.
    pub prometheus_rules: Vec<PrometheusRule>,
    /// Who may reach the pods.
    pub network_policies: Vec<NetworkPolicy>,
    /// What the pods show to their clients. None where the cluster lacks the kind.
    pub certificates: Vec<Certificate>,
    /// What leads to the Service from outside.
    pub ingresses: Vec<Ingress>,
    /// What leads to it through a Gateway. None where the cluster lacks the kind.
    pub http_routes: Vec<HTTPRoute>,
    /// What leads calls of gRPC to it through a Gateway. None where the cluster lacks the kind.
    pub grpc_routes: Vec<GRPCRoute>,
    /// Work on the model that ends.
    pub jobs: Vec<Job>,
    /// Whether live serving children that this set does not hold are kept. Jobs are not: each stands in for the one before.
    pub keep_serving: bool,
    /// What is known of them.
    pub state: PhantomData<State>,
}

impl<State> Default for Resources<State> {
    fn default() -> Self {
        Resources {
            service_accounts: Vec::new(),
            persistent_volume_claims: Vec::new(),
            services: Vec::new(),
            deployments: Vec::new(),
            horizontal_pod_autoscalers: Vec::new(),
            scaled_objects: Vec::new(),
            vertical_pod_autoscalers: Vec::new(),
            resource_claim_templates: Vec::new(),
            pod_disruption_budgets: Vec::new(),
            pod_monitors: Vec::new(),
            prometheus_rules: Vec::new(),
            network_policies: Vec::new(),
            certificates: Vec::new(),
            ingresses: Vec::new(),
            http_routes: Vec::new(),
            grpc_routes: Vec::new(),
            jobs: Vec::new(),
            keep_serving: false,
            state: PhantomData,
        }
    }
}
