//! The objects as metrics: how many are in each phase, and the phase and conditions of each.
//!
//! In: the stores that the controllers keep. Out: gauges, as the stores are at each scrape. These are the only metrics that name
//! objects: there are as many as objects, and they go with them. The labels `object_namespace` and `object_name` are not
//! called `namespace` and `name`, because a scrape puts the operator's own there.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crds::model_deployment::ModelPhase;
use crds::transcription_service::ServicePhase;
use crds::{ModelDeployment, TranscriptionService};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ObjectMeta;
use kube::runtime::reflector::Store;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::names::Kind;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Count {
    kind: &'static str,
    phase: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Phase {
    kind: &'static str,
    object_namespace: String,
    object_name: String,
    phase: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct State {
    kind: &'static str,
    object_namespace: String,
    object_name: String,
    condition: String,
    status: String,
    reason: String,
}

/// Gauges of objects.
#[derive(Default)]
pub(super) struct Objects {
    counts: Family<Count, Gauge>,
    phases: Family<Phase, Gauge>,
    conditions: Family<State, Gauge>,
    stores: Mutex<Stores>,
}

#[derive(Default)]
struct Stores {
    services: Vec<Store<TranscriptionService>>,
    models: Vec<Store<ModelDeployment>>,
}

impl Objects {
    pub(super) fn register(&self, registry: &mut Registry) {
        let Objects {
            counts,
            phases,
            conditions,
            stores: _,
        } = self;
        registry.register("objects", "Objects by the phase in their status", counts.clone());
        registry.register("object_phase", "The phase of each object; 1", phases.clone());
        registry.register(
            "object_condition",
            "Each condition of each object, with its status and reason; 1",
            conditions.clone(),
        );
    }

    /// Tells of the TranscriptionServices of this store from now on.
    pub(super) fn count_services(&self, store: Store<TranscriptionService>) {
        self.stores().services.push(store);
    }

    /// Tells of the ModelDeployments of this store from now on.
    pub(super) fn count_models(&self, store: Store<ModelDeployment>) {
        self.stores().models.push(store);
    }

    /// Sets every gauge to what the stores now hold. The caller lets one thread in at a time.
    pub(super) fn refresh(&self) {
        use {ModelPhase as M, ServicePhase as S};
        self.counts.clear();
        self.phases.clear();
        self.conditions.clear();
        let kind = Kind::TranscriptionService;
        for phase in [
            S::Pending,
            S::Deploying,
            S::Ready,
            S::Idle,
            S::Degraded,
            S::Failed,
        ] {
            self.count(kind, format!("{phase:?}"), 0);
        }
        let stores = self.stores();
        for object in stores.services.iter().flat_map(Store::state) {
            let status = object.status.clone().unwrap_or_default();
            let phase = format!("{:?}", status.phase.unwrap_or(S::Pending));
            self.tell(kind, &object.metadata, phase, &status.conditions);
        }
        let kind = Kind::ModelDeployment;
        for phase in [
            M::Pending,
            M::Downloading,
            M::Evaluating,
            M::Available,
            M::Deploying,
            M::Deployed,
            M::Idle,
            M::Failed,
        ] {
            self.count(kind, format!("{phase:?}"), 0);
        }
        for object in stores.models.iter().flat_map(Store::state) {
            let status = object.status.clone().unwrap_or_default();
            let phase = format!("{:?}", status.phase.unwrap_or(M::Pending));
            self.tell(kind, &object.metadata, phase, &status.conditions);
        }
    }

    fn tell(&self, kind: Kind, meta: &ObjectMeta, phase: String, conditions: &[Condition]) {
        let object_namespace = meta.namespace.clone().unwrap_or_default();
        let object_name = meta.name.clone().unwrap_or_default();
        self.count(kind, phase.clone(), 1);
        let label = Phase {
            kind: kind.as_str(),
            object_namespace: object_namespace.clone(),
            object_name: object_name.clone(),
            phase,
        };
        self.phases.get_or_create(&label).set(1);
        for condition in conditions {
            let label = State {
                kind: kind.as_str(),
                object_namespace: object_namespace.clone(),
                object_name: object_name.clone(),
                condition: condition.type_.clone(),
                status: condition.status.clone(),
                reason: condition.reason.clone(),
            };
            self.conditions.get_or_create(&label).set(1);
        }
    }

    fn count(&self, kind: Kind, phase: String, more: i64) {
        let kind = kind.as_str();
        self.counts.get_or_create(&Count { kind, phase }).inc_by(more);
    }

    fn stores(&self) -> MutexGuard<'_, Stores> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
