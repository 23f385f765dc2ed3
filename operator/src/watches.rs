//! Which children are watched, and which controller is told of them.
//!
//! In: the context. Out: the watches, to be polled, and for each controller the objects whose children have changed. A child
//! belongs to the object that its labels name: pods and retained claims have no owner reference to it.

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
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::cert_manager::Certificate;
use crate::children::Changed;
use crate::context::Context;
use crate::gateway_api::{GRPCRoute, HTTPRoute};
use crate::kinds::OptionalKind;
use crate::names::Kind;
use crate::prometheus_operator::{PodMonitor, PrometheusRule};
use crate::scalers::{ScaledObject, VerticalPodAutoscaler};

/// Time between two looks for a kind that the cluster lacks.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// What the controllers are told.
pub struct Told {
    /// Services whose children have changed.
    pub services: UnboundedReceiverStream<ObjectRef<TranscriptionService>>,
    /// Models whose children have changed.
    pub models: UnboundedReceiverStream<ObjectRef<ModelDeployment>>,
}

/// A way to tell the two controllers of a scope whose children have changed.
pub fn owners() -> (Owners, Told) {
    let ((services, of_services), (models, of_models)) = (unbounded_channel(), unbounded_channel());
    let told = Told {
        services: of_services.into(),
        models: of_models.into(),
    };
    (Owners { services, models }, told)
}

/// Tells each controller whose children have changed.
#[derive(Clone)]
pub struct Owners {
    services: UnboundedSender<ObjectRef<TranscriptionService>>,
    models: UnboundedSender<ObjectRef<ModelDeployment>>,
}

impl Owners {
    /// Tells the controller of the object's kind.
    pub fn tell(&self, changed: Changed) {
        let Changed {
            kind,
            namespace,
            name,
        } = changed;
        // Nobody listens any more only when the process ends.
        let _ = match kind {
            Kind::TranscriptionService => self
                .services
                .send(ObjectRef::new(&name).within(&namespace))
                .is_ok(),
            Kind::ModelDeployment => self.models.send(ObjectRef::new(&name).within(&namespace)).is_ok(),
        };
    }
}

/// Watches everything that both kinds have as children.
pub fn watch_children(
    context: &Arc<Context>,
    scope: Option<&str>,
    owners: &Owners,
) -> Vec<BoxFuture<'static, ()>> {
    vec![
        watch::<ServiceAccount>(context, scope, slim, owners),
        // Whether the operator once applied a field counts where that is left out again.
        watch::<PersistentVolumeClaim>(context, scope, |_| {}, owners),
        watch::<Deployment>(context, scope, slim, owners),
        watch::<Service>(context, scope, slim, owners),
        watch::<HorizontalPodAutoscaler>(context, scope, slim, owners),
        watch::<PodDisruptionBudget>(context, scope, slim, owners),
        watch::<Job>(context, scope, slim, owners),
        watch::<Pod>(context, scope, slim, owners),
        watch_optional::<PodMonitor>(context, scope, OptionalKind::PodMonitor, owners),
        watch_optional::<PrometheusRule>(context, scope, OptionalKind::PrometheusRule, owners),
        watch_optional::<ScaledObject>(context, scope, OptionalKind::ScaledObject, owners),
        watch_optional::<VerticalPodAutoscaler>(context, scope, OptionalKind::VerticalPodAutoscaler, owners),
        watch_optional::<ResourceClaimTemplate>(context, scope, OptionalKind::ResourceClaimTemplate, owners),
        watch::<NetworkPolicy>(context, scope, slim, owners),
        watch::<Ingress>(context, scope, slim, owners),
        watch_optional::<Certificate>(context, scope, OptionalKind::Certificate, owners),
        watch_optional::<HTTPRoute>(context, scope, OptionalKind::HttpRoute, owners),
        watch_optional::<GRPCRoute>(context, scope, OptionalKind::GrpcRoute, owners),
    ]
}

fn watch<C>(
    context: &Arc<Context>,
    scope: Option<&str>,
    slim: fn(&mut C),
    owners: &Owners,
) -> BoxFuture<'static, ()>
where
    C: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    C: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let owners = owners.clone();
    let tell = move |changed| owners.tell(changed);
    context.children.watch::<C>(&context.client, scope, slim, tell)
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
    owners: &Owners,
) -> BoxFuture<'static, ()>
where
    C: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    C: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (context, scope, owners) = (context.clone(), scope.map(String::from), owners.clone());
    async move {
        while !context.kinds.has(&context.client, wanted).await.unwrap_or(false) {
            tokio::time::sleep(ASK_AGAIN).await;
        }
        watch::<C>(&context, scope.as_deref(), slim, &owners).await;
    }
    .boxed()
}
