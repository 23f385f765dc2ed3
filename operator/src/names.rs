//! Names, labels, annotations and ports: every word that two parts of the operator, or a person, must agree on.
//!
//! In: an object's kind, name and namespace. Out: the names and labels of its children. It reads nothing and decides nothing.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::api::ObjectMeta;
use sha2::{Digest, Sha256};

/// Field manager of everything that the operator applies, and the name under which it writes Events.
pub const MANAGER: &str = "parlance-operator";
/// Field manager that holds a Deployment's `replicas` while an autoscaler takes them over.
pub const HANDOVER_MANAGER: &str = "parlance-operator-handover";

/// Annotation: hash of the object as it was last applied.
pub const APPLIED: &str = "parlance.dev/applied";
/// Annotation on a TranscriptionService or ModelDeployment: `"true"` leaves it and its children alone.
pub const PAUSED: &str = "parlance.dev/paused";
/// Annotation on a verification Job: hash of what it verifies.
pub const VERIFIES: &str = "parlance.dev/verifies";

/// Annotation on a verification Job: folder that it puts the model into. Without it that is [`MODEL_FOLDER`].
pub const FOLDER: &str = "parlance.dev/folder";
/// Annotation on an evaluation Job: hash of the model and of how it is evaluated.
pub const EVALUATES: &str = "parlance.dev/evaluates";

/// Annotation on pods of a canary: hash of what they do otherwise.
pub const VARIANT: &str = "parlance.dev/variant";

/// Label: kind of the object that a child belongs to.
pub const KIND: &str = "parlance.dev/kind";
/// Label: name of the object that a child belongs to.
pub const NAME: &str = "parlance.dev/name";
/// Label of pods: the claim that holds their model.
pub const CLAIM: &str = "parlance.dev/claim";
/// Label: what part of the object a child is.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Label selector of everything that the operator made.
pub const MANAGED: &str = "app.kubernetes.io/managed-by=parlance-operator";

/// Port of gRPC.
pub const GRPC_PORT: i32 = 50051;
/// Port of HTTP.
pub const HTTP_PORT: i32 = 8080;
/// Port at which a pod that downloads its model says how far it is.
pub const PROGRESS_PORT: u16 = 8081;
/// The flag that makes it do so.
pub const PROGRESS_FLAG: &str = "--progress-addr=";

/// Port at which an activator says how many requests it holds.
pub const ADMIN_PORT: u16 = 8082;

/// Services of gRPC that the server of a Whisper has. Calls of a service have its name for the first element of their path.
pub const GRPC_SERVICES: [&str; 4] = [
    "parlance.v1.Transcription",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Name of the container that serves.
pub const SERVER_CONTAINER: &str = "server";
/// Name of the container that holds requests for pods.
pub const ACTIVATOR_CONTAINER: &str = "activator";
/// Name of the container that puts the model in place and verifies it.
pub const MODEL_CONTAINER: &str = "model";
/// Name of the container that tries the model on samples.
pub const EVALUATION_CONTAINER: &str = "evaluation";

/// Folder of the model on a TranscriptionService's own volume, and of the first one on a ModelDeployment's.
pub const MODEL_FOLDER: &str = "model";

/// A kind of the group `parlance.dev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `TranscriptionService`.
    TranscriptionService,
    /// `ModelDeployment`.
    ModelDeployment,
}

impl Kind {
    /// The kind as the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::TranscriptionService => "TranscriptionService",
            Kind::ModelDeployment => "ModelDeployment",
        }
    }
}

/// What part of an object a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// It serves requests.
    Server,
    /// It serves requests too, otherwise than the others.
    Canary,
    /// It keeps or verifies the model.
    Model,
    /// It holds requests while nothing serves.
    Activator,
}

impl Component {
    /// The part as the label [`COMPONENT`] has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Component::Server => "server",
            Component::Canary => "canary",
            Component::Model => "model",
            Component::Activator => "activator",
        }
    }
}

/// The object that children belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, which is its children's too.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: an object of the same name that is made later is another owner.
    pub uid: String,
}

impl Owner {
    /// The owner that `meta` describes.
    pub fn of(kind: Kind, meta: &ObjectMeta) -> Owner {
        Owner {
            kind,
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
        }
    }

    /// Labels by which the pods of a component are selected. A Deployment's selector cannot change, so neither can these.
    pub fn selector(&self, component: Component) -> BTreeMap<String, String> {
        BTreeMap::from([
            (KIND.into(), self.kind.as_str().into()),
            (NAME.into(), self.name.clone()),
            (COMPONENT.into(), component.as_str().into()),
        ])
    }

    /// The selector of the pods of a component.
    pub fn label_selector(&self, component: Component) -> LabelSelector {
        LabelSelector {
            match_labels: Some(self.selector(component)),
            ..Default::default()
        }
    }

    /// Labels by which the pods are selected that serve, those of a canary among them. No other pod of a TranscriptionService is
    /// left out.
    pub fn selector_with_canary(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector(Component::Server);
        labels.remove(COMPONENT);
        labels
    }

    /// Labels of a child.
    pub fn labels(&self, component: Component) -> BTreeMap<String, String> {
        let mut labels = self.selector(component);
        labels.insert("app.kubernetes.io/name".into(), "parlance".into());
        labels.insert("app.kubernetes.io/instance".into(), self.name.clone());
        labels.insert("app.kubernetes.io/part-of".into(), "parlance".into());
        labels.insert("app.kubernetes.io/managed-by".into(), MANAGER.into());
        labels
    }

    /// Label selector, as a list call takes it, of everything that belongs to this owner.
    pub fn list_selector(&self) -> String {
        format!("{MANAGED},{KIND}={},{NAME}={}", self.kind.as_str(), self.name)
    }

    /// Label selector of the serving pods, as the scale subresource shows it.
    pub fn scale_selector(&self) -> String {
        let labels = self.selector(Component::Server);
        let pairs: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        pairs.join(",")
    }

    /// Reference that makes a child go when its owner goes.
    pub fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: format!("{}/{}", crds::GROUP, crds::VERSION),
            kind: self.kind.as_str().into(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }

    /// Metadata of a child that goes with its owner.
    pub fn child(&self, name: &str, component: Component) -> ObjectMeta {
        ObjectMeta {
            owner_references: Some(vec![self.reference()]),
            ..self.kept_child(name, component)
        }
    }

    /// Metadata of a child that goes with its owner and has these labels too; those of its own come before them.
    pub fn labelled_child(
        &self,
        name: &str,
        component: Component,
        labels: &BTreeMap<String, String>,
    ) -> ObjectMeta {
        let mut meta = self.child(name, component);
        let own = meta.labels.get_or_insert_default();
        for (key, value) in labels {
            own.entry(key.clone()).or_insert_with(|| value.clone());
        }
        meta
    }

    /// Metadata of a child that outlives its owner.
    pub fn kept_child(&self, name: &str, component: Component) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.into()),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels(component)),
            ..Default::default()
        }
    }
}

/// Name of the claim that caches the model of a TranscriptionService.
pub fn cache_claim(service: &str) -> String {
    format!("{service}-cache")
}

/// Name of the Deployment of a TranscriptionService's canary.
pub fn canary_child(service: &str) -> String {
    format!("{service}-canary")
}

/// Name of a ModelDeployment's claim, and of the Deployment and the other children that serve its model.
pub fn model_child(model: &str) -> String {
    format!("{model}-model")
}

/// Name of the Job that verifies a model: another one for another template.
pub fn fetch_job(model: &str, template_hash: &str) -> String {
    format!(
        "{model}-fetch-{}",
        template_hash.get(..8).unwrap_or(template_hash)
    )
}

/// Name of the Deployment that holds requests for the pods of another.
pub fn activator(deployment: &str) -> String {
    format!("{deployment}-activator")
}

/// Name of the Service whose addresses are those of the pods of a Deployment.
pub fn pods_service(deployment: &str) -> String {
    format!("{deployment}-pods")
}

/// Name of the Service that leads to any of the pods of a Deployment.
pub fn any_pod_service(deployment: &str) -> String {
    format!("{deployment}-any")
}

/// Name of the Secret that cert-manager fills for the pods of a Deployment, and of the Certificate that asks it to.
pub fn tls_secret(deployment: &str) -> String {
    format!("{deployment}-tls")
}

/// Name of the Ingress that leads to the port of gRPC.
pub fn grpc_ingress(deployment: &str) -> String {
    format!("{deployment}-grpc")
}

/// Name of the Job that tries a model on samples: another one for another template.
pub fn evaluation_job(model: &str, template_hash: &str) -> String {
    format!("{model}-eval-{}", template_hash.get(..8).unwrap_or(template_hash))
}

/// Folder on a ModelDeployment's volume for the model of a source: another one for another source, so that the volume holds the
/// model that is served beside the one that is to take its place.
pub fn model_folder(source: &str) -> String {
    format!("{MODEL_FOLDER}-{}", short_hash(source))
}

/// Value of the label [`CLAIM`]: the claim's name, or a hash where the name is too long for a label.
pub fn claim_label(claim: &str) -> String {
    if claim.len() <= 63 {
        claim.into()
    } else {
        hash(claim.as_bytes())[..32].into()
    }
}

/// The first digits of a text's hash: enough to tell apart what one object has had.
pub fn short_hash(text: &str) -> String {
    hash(text.as_bytes())[..16].into()
}

/// sha256 in lower-case hexadecimal digits.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            kind: Kind::ModelDeployment,
            namespace: "speech".into(),
            name: "digits".into(),
            uid: "u-1".into(),
        }
    }

    #[test]
    fn a_selector_tells_the_two_kinds_apart() {
        let model = owner();
        let service = Owner {
            kind: Kind::TranscriptionService,
            ..owner()
        };
        assert_ne!(
            model.selector(Component::Server),
            service.selector(Component::Server)
        );
        assert_eq!(
            model.scale_selector(),
            "app.kubernetes.io/component=server,parlance.dev/kind=ModelDeployment,parlance.dev/name=digits"
        );
    }

    #[test]
    fn every_child_can_be_found_by_its_owners_list_selector() {
        let labels = owner().labels(Component::Model);
        for pair in owner().list_selector().split(',') {
            let (key, value) = pair.split_once('=').unwrap();
            assert_eq!(labels[key], value);
        }
    }

    #[test]
    fn a_long_claim_name_becomes_a_valid_label() {
        assert_eq!(claim_label("models"), "models");
        assert_eq!(claim_label(&"m".repeat(200)).len(), 32);
    }

    #[test]
    fn a_hash_is_that_of_sha256() {
        assert_eq!(
            hash(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
