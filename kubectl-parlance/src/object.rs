//! An object of either kind, with what both have under one name.
//!
//! In: a TranscriptionService or a ModelDeployment as the apiserver has it. Out: its parts. Pure.

use crds::condition::{DEGRADED, READY};
use crds::placement::Gpu;
use crds::serving::Serving;
use crds::transcription_service::EndpointStatus;
use crds::{ModelDeployment, TranscriptionService};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};
use operator::names::{Kind, Owner, PAUSED};
use serde_json::{Value, json};

/// An object of either kind.
#[derive(Clone, Debug)]
pub enum Object {
    /// A service that a team asked for.
    Service(Box<TranscriptionService>),
    /// A model, perhaps with pods that serve it.
    Model(Box<ModelDeployment>),
}

/// The kind as kubectl abbreviates it.
pub fn short(kind: Kind) -> &'static str {
    match kind {
        Kind::TranscriptionService => "tsvc",
        Kind::ModelDeployment => "mdl",
    }
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Object::Service(_) => Kind::TranscriptionService,
            Object::Model(_) => Kind::ModelDeployment,
        }
    }

    /// Its metadata.
    pub fn meta(&self) -> &ObjectMeta {
        match self {
            Object::Service(one) => one.meta(),
            Object::Model(one) => one.meta(),
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.meta().name.clone().unwrap_or_default()
    }

    /// Its namespace.
    pub fn namespace(&self) -> String {
        self.meta().namespace.clone().unwrap_or_default()
    }

    /// Kind and name, such as `tsvc/calls`.
    pub fn title(&self) -> String {
        format!("{}/{}", short(self.kind()), self.name())
    }

    /// Kind and name in words, such as `TranscriptionService calls`.
    pub fn words(&self) -> String {
        format!("{} {}", self.kind().as_str(), self.name())
    }

    /// It as the owner of its children.
    pub fn owner(&self) -> Owner {
        Owner::of(self.kind(), self.meta())
    }

    /// How its pods serve; nothing for a model that rests.
    pub fn serving(&self) -> Option<&Serving> {
        match self {
            Object::Service(one) => Some(&one.spec.serving),
            Object::Model(one) => one.spec.serving.as_ref(),
        }
    }

    /// The GPUs that its pods want.
    pub fn gpu(&self) -> Option<&Gpu> {
        self.serving()?.gpu.as_ref()
    }

    /// The ModelDeployment that it names in `modelRef`.
    pub fn model_ref(&self) -> Option<&str> {
        match self {
            Object::Service(one) => one.spec.model_ref.as_ref().map(|model| model.name.as_str()),
            Object::Model(_) => None,
        }
    }

    /// Its conditions.
    pub fn conditions(&self) -> &[Condition] {
        match self {
            Object::Service(one) => one.status.as_ref().map_or(&[], |status| &status.conditions),
            Object::Model(one) => one.status.as_ref().map_or(&[], |status| &status.conditions),
        }
    }

    /// The condition of a type.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions().iter().find(|one| one.type_ == type_)
    }

    /// Whether its Ready condition is True.
    pub fn is_ready(&self) -> bool {
        self.condition(READY).is_some_and(|ready| ready.status == "True")
    }

    /// Whether its Degraded condition is True.
    pub fn is_degraded(&self) -> bool {
        self.condition(DEGRADED).is_some_and(|one| one.status == "True")
    }

    /// The generation that the status speaks of.
    pub fn observed_generation(&self) -> Option<i64> {
        match self {
            Object::Service(one) => one.status.as_ref()?.observed_generation,
            Object::Model(one) => one.status.as_ref()?.observed_generation,
        }
    }

    /// Whether the status speaks of the spec as it is.
    pub fn is_observed(&self) -> bool {
        self.observed_generation().is_some() && self.observed_generation() == self.meta().generation
    }

    /// Its phase, in one word.
    pub fn phase(&self) -> Option<String> {
        match self {
            Object::Service(one) => one.status.as_ref()?.phase.map(|phase| format!("{phase:?}")),
            Object::Model(one) => one.status.as_ref()?.phase.map(|phase| format!("{phase:?}")),
        }
    }

    /// Its state in a sentence.
    pub fn message(&self) -> Option<&str> {
        match self {
            Object::Service(one) => one.status.as_ref()?.message.as_deref(),
            Object::Model(one) => one.status.as_ref()?.message.as_deref(),
        }
    }

    /// Pods that serve, and pods that exist.
    pub fn replicas(&self) -> (i32, i32) {
        let of_service = |one: &TranscriptionService| {
            let status = one.status.as_ref()?;
            Some((status.ready_replicas, status.replicas))
        };
        let of_model = |one: &ModelDeployment| {
            let status = one.status.as_ref()?;
            Some((status.ready_replicas, status.replicas))
        };
        let found = match self {
            Object::Service(one) => of_service(one),
            Object::Model(one) => of_model(one),
        };
        found.unwrap_or_default()
    }

    /// Name of its model, and digest once it is known.
    pub fn model(&self) -> (String, Option<String>) {
        match self {
            Object::Service(one) => {
                let model = one.status.as_ref().and_then(|status| status.model.clone());
                let model = model.unwrap_or_default();
                (model.name, model.digest)
            }
            Object::Model(one) => {
                let digest = one.status.as_ref().and_then(|status| status.digest.clone());
                (one.name_any(), digest)
            }
        }
    }

    /// Where clients reach it.
    pub fn endpoint(&self) -> Option<&EndpointStatus> {
        match self {
            Object::Service(one) => one.status.as_ref()?.endpoint.as_ref(),
            Object::Model(one) => one.status.as_ref()?.endpoint.as_ref(),
        }
    }

    /// Whether its annotation tells the operator to leave it alone.
    pub fn is_paused(&self) -> bool {
        let annotations = self.meta().annotations.as_ref();
        annotations.is_some_and(|all| all.get(PAUSED).is_some_and(|value| value == "true"))
    }

    /// It as the API writes it, without the fields that only servers read.
    pub fn json(&self) -> Value {
        let value = match self {
            Object::Service(one) => serde_json::to_value(one),
            Object::Model(one) => serde_json::to_value(one),
        };
        let mut value = value.unwrap_or_else(|error| json!({ "error": error.to_string() }));
        // A list leaves the kind of its items out.
        value["apiVersion"] = json!(format!("{}/{}", crds::GROUP, crds::VERSION));
        value["kind"] = json!(self.kind().as_str());
        if let Some(meta) = value["metadata"].as_object_mut() {
            meta.remove("managedFields");
        }
        value
    }
}
