//! What is watched beside the two kinds themselves, and which controller is told of it.
//!
//! In: the context, and what each controller knows. Out: the watches, to be polled, and for each controller the objects that a change
//! touches. A child belongs to the object that its labels name: pods and retained claims have no owner reference to it. Models and claims
//! touch the objects that refer to them, too.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crds::{ModelDeployment, TranscriptionService};
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::cert_manager::Certificate;
use crate::children::{Touched, owner_of};
use crate::context::Context;
use crate::gateway_api::{GRPCRoute, HTTPRoute};
use crate::kinds::OptionalKind;
use crate::model_deployment::status::waits_for_its_turn;
use crate::names::{Kind, MANAGED};
use crate::prometheus_operator::{PodMonitor, PrometheusRule};
use crate::scalers::{ScaledObject, VerticalPodAutoscaler};
use crate::transcription_service::fetch::source_claim;

/// Time between two looks for a kind that the cluster lacks.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// What the controllers are told.
pub struct Told {
    /// Services that a change touches.
    pub services: UnboundedReceiverStream<ObjectRef<TranscriptionService>>,
    /// Models that a change touches.
    pub models: UnboundedReceiverStream<ObjectRef<ModelDeployment>>,
}

/// A way to tell the two controllers of a scope what a change touches, given the objects that they know.
pub fn objects(services: Store<TranscriptionService>, models: Store<ModelDeployment>) -> (Objects, Told) {
    let ((to_services, of_services), (to_models, of_models)) = (unbounded_channel(), unbounded_channel());
    let told = Told {
        services: of_services.into(),
        models: of_models.into(),
    };
    let objects = Objects {
        services,
        models,
        to_services,
        to_models,
    };
    (objects, told)
}

/// The objects of a scope, and the way to their controllers.
#[derive(Clone)]
pub struct Objects {
    services: Store<TranscriptionService>,
    models: Store<ModelDeployment>,
    to_services: UnboundedSender<ObjectRef<TranscriptionService>>,
    to_models: UnboundedSender<ObjectRef<ModelDeployment>>,
}

impl Objects {
    /// Tells the controller of the object's kind.
    pub fn tell(&self, touched: Touched) {
        let Touched {
            kind,
            namespace,
            name,
        } = touched;
        // Nobody listens any more only when the process ends.
        let _ = match kind {
            Kind::TranscriptionService => self
                .to_services
                .send(ObjectRef::new(&name).within(&namespace))
                .is_ok(),
            Kind::ModelDeployment => self
                .to_models
                .send(ObjectRef::new(&name).within(&namespace))
                .is_ok(),
        };
    }

    /// Tells both controllers of all that they know.
    fn tell_all(&self) {
        let everything = referring(&self.services, Kind::TranscriptionService, |_| true).chain(referring(
            &self.models,
            Kind::ModelDeployment,
            |_| true,
        ));
        everything.for_each(|touched| self.tell(touched));
    }

    /// The objects that have their model on a claim, and the one whose child it is.
    fn of_claim(&self, claim: &PersistentVolumeClaim) -> Vec<Touched> {
        let (name, namespace) = (claim.name_any(), claim.namespace());
        let services = referring(&self.services, Kind::TranscriptionService, |service| {
            let canary = service.spec.canary.as_ref();
            let of_canary = canary.and_then(|canary| canary.model.as_ref());
            let mut own = service.spec.model.iter().chain(of_canary);
            service.namespace() == namespace
                && own.any(|own| source_claim(Some(own), None).as_deref() == Some(&name))
        });
        let models = referring(&self.models, Kind::ModelDeployment, |model| {
            let source = model.spec.model.source.persistent_volume_claim.as_ref();
            model.namespace() == namespace && source.is_some_and(|source| source.claim_name == name)
        });
        services.chain(models).chain(owner_of(claim)).collect()
    }

    /// The services that name a model, and the models that wait until it makes room.
    fn of_model(&self, changed: &ModelDeployment) -> Vec<Touched> {
        let (name, namespace) = (changed.name_any(), changed.namespace());
        let services = referring(&self.services, Kind::TranscriptionService, |service| {
            let canary = service.spec.canary.as_ref();
            let of_canary = canary.and_then(|canary| canary.model_ref.as_ref());
            let mut named = service.spec.model_ref.iter().chain(of_canary);
            service.namespace() == namespace && named.any(|named| named.name == name)
        });
        let models = referring(&self.models, Kind::ModelDeployment, |model| {
            model.namespace() == namespace && model.name_any() != name && waits_for_its_turn(model)
        });
        services.chain(models).collect()
    }
}

/// The known objects that refer to another one.
fn referring<K>(store: &Store<K>, kind: Kind, refers: impl Fn(&K) -> bool) -> impl Iterator<Item = Touched>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let found = store.state_filter(|object| refers(object)).into_iter();
    found.filter_map(move |object| {
        Some(Touched {
            kind,
            namespace: object.namespace()?,
            name: object.name_any(),
        })
    })
}

/// Watches everything that both kinds have as children or refer to.
pub fn watch_all(
    context: &Arc<Context>,
    scope: Option<&str>,
    objects: &Objects,
) -> Vec<BoxFuture<'static, ()>> {
    let all = watcher::Config::default;
    vec![
        watch_with(context, scope, objects, all(), slim, Objects::of_model),
        watch_with(context, scope, objects, all(), slim_claim, Objects::of_claim),
        watch::<ServiceAccount>(context, scope, objects),
        watch::<Deployment>(context, scope, objects),
        watch::<Service>(context, scope, objects),
        watch::<HorizontalPodAutoscaler>(context, scope, objects),
        watch::<PodDisruptionBudget>(context, scope, objects),
        watch::<Job>(context, scope, objects),
        watch::<Pod>(context, scope, objects),
        watch_optional::<PodMonitor>(context, scope, OptionalKind::PodMonitor, objects),
        watch_optional::<PrometheusRule>(context, scope, OptionalKind::PrometheusRule, objects),
        watch_optional::<ScaledObject>(context, scope, OptionalKind::ScaledObject, objects),
        watch_optional::<VerticalPodAutoscaler>(context, scope, OptionalKind::VerticalPodAutoscaler, objects),
        watch_optional::<ResourceClaimTemplate>(context, scope, OptionalKind::ResourceClaimTemplate, objects),
        watch::<NetworkPolicy>(context, scope, objects),
        watch::<Ingress>(context, scope, objects),
        watch_optional::<Certificate>(context, scope, OptionalKind::Certificate, objects),
        watch_optional::<HTTPRoute>(context, scope, OptionalKind::HttpRoute, objects),
        watch_optional::<GRPCRoute>(context, scope, OptionalKind::GrpcRoute, objects),
    ]
}

/// Watches the children of a kind.
fn watch<C>(context: &Arc<Context>, scope: Option<&str>, objects: &Objects) -> BoxFuture<'static, ()>
where
    C: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    C: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let ours = watcher::Config::default().labels(MANAGED);
    let touches = |_: &Objects, child: &C| owner_of(child).into_iter().collect();
    watch_with(context, scope, objects, ours, slim, touches)
}

/// Watches the objects of a kind that `which` picks, without what `slim` drops, and tells whom a change `touches`.
fn watch_with<K>(
    context: &Arc<Context>,
    scope: Option<&str>,
    objects: &Objects,
    which: watcher::Config,
    slim: fn(&mut K),
    touches: fn(&Objects, &K) -> Vec<Touched>,
) -> BoxFuture<'static, ()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (of, to) = (objects.clone(), objects.clone());
    let touches = move |changed: &K| touches(&of, changed);
    let tell = move |touched| to.tell(touched);
    context
        .children
        .watch(&context.client, scope, which, slim, touches, tell)
}

/// Leaves out what nobody asks of claims that are others': only of our own it counts whether the operator once applied a field that is
/// left out again.
fn slim_claim(claim: &mut PersistentVolumeClaim) {
    if owner_of(claim).is_none() {
        claim.managed_fields_mut().clear();
        claim.annotations_mut().clear();
    }
}

/// Leaves out who applied which field.
pub fn slim<C: Resource>(child: &mut C) {
    child.managed_fields_mut().clear();
}

/// Watches a kind that the cluster may lack, from when it is there.
fn watch_optional<C>(
    context: &Arc<Context>,
    scope: Option<&str>,
    wanted: OptionalKind,
    objects: &Objects,
) -> BoxFuture<'static, ()>
where
    C: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    C: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (context, scope, objects) = (context.clone(), scope.map(String::from), objects.clone());
    async move {
        let mut came = false;
        while !context.kinds.has(&context.client, wanted).await.unwrap_or(false) {
            came = true;
            tokio::time::sleep(ASK_AGAIN).await;
        }
        let watching = watch::<C>(&context, scope.as_deref(), &objects);
        if !came {
            return watching.await;
        }
        // Objects may have been given such children before the watch began, and lost them again.
        let told = async {
            context.children.complete::<C>(scope.as_deref()).await;
            objects.tell_all();
        };
        tokio::join!(watching, told);
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;

    fn known<K>(objects: &[Value]) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + 'static,
    {
        let (store, mut writer) = reflector::store();
        for object in objects {
            writer.apply_watcher_event(&Event::Apply(serde_json::from_value(object.clone()).unwrap()));
        }
        store
    }

    fn service(namespace: &str, name: &str, spec: Value) -> Value {
        json!({ "metadata": { "namespace": namespace, "name": name }, "spec": spec })
    }

    /// Services and models that name a claim or a model, in two namespaces.
    fn scene() -> Objects {
        let on_claim = json!({ "source": { "persistentVolumeClaim": { "claimName": "weights" } } });
        let by_claim = json!({ "model": on_claim.clone() });
        let services = [
            service("speech", "by-claim", by_claim.clone()),
            service("speech", "by-model", json!({ "modelRef": { "name": "base" } })),
            service(
                "speech",
                "canary",
                json!({ "canary": { "weight": 10, "modelRef": { "name": "base" } } }),
            ),
            service("other", "by-claim", by_claim),
            service("other", "by-model", json!({ "modelRef": { "name": "base" } })),
        ];
        let models = [
            service("speech", "on-claim", on_claim),
            service(
                "speech",
                "base",
                json!({ "source": { "bundled": { "name": "nano" } } }),
            ),
        ];
        objects(known(&services), known(&models)).0
    }

    fn names(touched: Vec<Touched>) -> Vec<String> {
        let mut names: Vec<String> = touched
            .iter()
            .map(|one| format!("{} {}/{}", one.kind.as_str(), one.namespace, one.name))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_claim_touches_those_who_have_their_model_on_it_and_its_owner() {
        let claim = |namespace: &str, name: &str, labels: Value| {
            let claim =
                json!({ "metadata": { "namespace": namespace, "name": name, "labels": labels }, "spec": {} });
            serde_json::from_value::<PersistentVolumeClaim>(claim).unwrap()
        };
        let scene = scene();
        let theirs = scene.of_claim(&claim("speech", "weights", json!({})));
        assert_eq!(
            names(theirs),
            [
                "ModelDeployment speech/on-claim",
                "TranscriptionService speech/by-claim"
            ]
        );
        assert_eq!(
            names(scene.of_claim(&claim("speech", "another", json!({})))),
            [""; 0]
        );
        let owned = json!({ crate::names::KIND: "ModelDeployment", crate::names::NAME: "base" });
        let ours = scene.of_claim(&claim("speech", "base-model", owned));
        assert_eq!(names(ours), ["ModelDeployment speech/base"]);
    }

    #[test]
    fn a_model_touches_the_services_of_its_namespace_that_name_it() {
        let model = service(
            "speech",
            "base",
            json!({ "source": { "bundled": { "name": "nano" } } }),
        );
        let touched = scene().of_model(&serde_json::from_value(model).unwrap());
        assert_eq!(
            names(touched),
            [
                "TranscriptionService speech/by-model",
                "TranscriptionService speech/canary"
            ]
        );
    }

    #[tokio::test]
    async fn everybody_is_told_when_a_kind_has_come() {
        let bundled = json!({ "source": { "bundled": { "name": "nano" } } });
        let services = known(&[service("speech", "calls", json!({ "model": bundled.clone() }))]);
        let models = known(&[service("speech", "base", bundled)]);
        let (all, mut told) = objects(services, models);
        all.tell_all();
        assert_eq!(told.services.next().await.unwrap().name, "calls");
        assert_eq!(told.models.next().await.unwrap().name, "base");
    }

    #[test]
    fn of_claims_that_are_others_only_what_counts_is_kept() {
        let claim = |labels: Value| {
            let fields = json!([{ "manager": "parlance", "operation": "Apply" }]);
            let metadata = json!({ "name": "weights", "labels": labels, "managedFields": fields });
            let mut claim: PersistentVolumeClaim =
                serde_json::from_value(json!({ "metadata": metadata, "spec": { "volumeName": "v" } }))
                    .unwrap();
            claim.metadata.namespace = Some("speech".into());
            slim_claim(&mut claim);
            claim
        };
        let theirs = claim(json!({}));
        assert!(theirs.managed_fields().is_empty());
        assert!(theirs.spec.is_some());
        let owned = json!({ crate::names::KIND: "ModelDeployment", crate::names::NAME: "base" });
        assert_eq!(claim(owned).managed_fields().len(), 1);
    }
}
