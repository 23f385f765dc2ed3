//! Wires it all together: the client, the election, one controller for each kind and namespace, and a clean end.
//!
//! In: the configuration. Out: nothing, until it is told to stop. What a reconcile does is not known here.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::header::{HeaderValue, USER_AGENT};
use crds::{ModelDeployment, TranscriptionService};
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::runtime::controller::{self, Action, Config as ControllerConfig};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{Controller, WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::apply::explain;
use crate::cli::Config;
use crate::context::Context;
use crate::http;
use crate::leader::Candidate;
use crate::metrics::Metrics;
use crate::watches::slim;
use crate::{model_deployment, transcription_service, watches};

/// Why the operator ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cluster is configured.
    #[error("failed to find the cluster: {0}")]
    Cluster(#[source] kube::Error),
    /// The address for health and metrics cannot be used.
    #[error("failed to listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What stands in the way.
        #[source]
        source: std::io::Error,
    },
    /// Signals cannot be received.
    #[error("failed to wait for signals: {0}")]
    Signals(#[source] std::io::Error),
    /// Another process leads now.
    #[error("the Lease was lost; the process starts anew as a candidate")]
    LeaseLost,
}

/// Runs until a signal, or until the Lease is lost.
pub async fn run(config: Config) -> Result<(), Error> {
    let client = client().await?;
    let listen = |source| Error::Listen {
        address: config.http_addr,
        source,
    };
    let listener = TcpListener::bind(config.http_addr).await.map_err(listen)?;
    let metrics = Arc::new(Metrics::default());
    let (ready, stop) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    stop_on_signal(stop.clone()).map_err(Error::Signals)?;
    let stop_http = CancellationToken::new();
    let server = tokio::spawn(http::serve(
        listener,
        metrics.clone(),
        ready.clone(),
        stop_http.clone(),
    ));

    let result = work(config, client, metrics, ready.clone(), stop).await;
    ready.store(false, Ordering::Relaxed);
    stop_http.cancel();
    let _ = server.await;
    result
}

/// A client that tells the apiserver who it is.
async fn client() -> Result<Client, Error> {
    let mut config = kube::Config::infer()
        .await
        .map_err(kube::Error::InferConfig)
        .map_err(Error::Cluster)?;
    let agent = HeaderValue::from_static(concat!("parlance-operator/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    Client::try_from(config).map_err(Error::Cluster)
}

async fn work(
    config: Config,
    client: Client,
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
    stop: CancellationToken,
) -> Result<(), Error> {
    tokio::select! {
        () = wait_for_kinds(&client, &config.namespaces) => ready.store(true, Ordering::Relaxed),
        () = stop.cancelled() => return Ok(()),
    }
    let mut lead = None;
    if let Some(lease) = &config.lease {
        let namespace = lease
            .namespace
            .clone()
            .unwrap_or_else(|| client.default_namespace().to_string());
        let candidate = Candidate::new(
            client.clone(),
            &namespace,
            lease.name.clone(),
            config.identity.clone(),
        );
        tokio::select! {
            won = candidate.lead() => lead = Some(won),
            () = stop.cancelled() => return Ok(()),
        }
    }
    metrics.leads(true);
    tracing::info!(namespaces = ?config.namespaces, "reconciles");
    let mut context = Context::new(
        client,
        config.server_images,
        config.identity,
        metrics.clone(),
        config.concurrency.into(),
    );
    context.update_running_servers = config.update_running_servers;
    context.max_deployed = config.max_deployed;
    let controllers = controllers(Arc::new(context), &config.namespaces, config.concurrency, &stop);
    let finished = match &mut lead {
        Some(lead) => tokio::select! {
            _ = controllers => true,
            () = lead.until_lost() => false,
        },
        None => {
            controllers.await;
            true
        }
    };
    metrics.leads(false);
    if !finished {
        return Err(Error::LeaseLost);
    }
    if let Some(lead) = lead {
        lead.release().await;
    }
    tracing::info!("ended cleanly");
    Ok(())
}

fn stop_on_signal(stop: CancellationToken) -> Result<(), std::io::Error> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stops: running reconciles are finished, no new ones begin");
        stop.cancel();
    });
    Ok(())
}

/// Waits until both kinds can be listed: the definitions may be installed after the operator.
async fn wait_for_kinds(client: &Client, namespaces: &[String]) {
    let first = namespaces.first().map(String::as_str);
    loop {
        let one = ListParams::default().limit(1);
        let services = api::<TranscriptionService>(client, first)
            .list(&one)
            .await
            .map(drop);
        let models = api::<ModelDeployment>(client, first).list(&one).await.map(drop);
        match services.and(models) {
            Ok(()) => return,
            Err(kube::Error::Api(status)) if status.code == 404 => {
                tracing::warn!(
                    "the CustomResourceDefinitions of {} are not installed; install the chart parlance-crds",
                    crds::GROUP
                );
            }
            Err(error) => tracing::warn!("failed to list objects of {}: {}", crds::GROUP, explain(&error)),
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Two controllers for each namespace, or two for all.
async fn controllers(
    context: Arc<Context>,
    namespaces: &[String],
    concurrency: u16,
    stop: &CancellationToken,
) {
    let scopes: Vec<Option<&str>> = match namespaces {
        [] => vec![None],
        some => some.iter().map(|name| Some(name.as_str())).collect(),
    };
    let config = ControllerConfig::default()
        .concurrency(concurrency)
        .debounce(Duration::from_millis(20));
    let (mut all, mut watching): (Vec<BoxFuture<'_, ()>>, _) = (Vec::new(), JoinSet::new());
    for scope in scopes {
        let services = controller(api::<TranscriptionService>(&context.client, scope));
        let models = controller(api::<ModelDeployment>(&context.client, scope));
        let (objects, told) = watches::objects(services.store(), models.store());
        let listener = objects.clone();
        context.demands.listen(move |touched| listener.tell(touched));
        for watch in watches::watch_all(&context, scope, &objects) {
            watching.spawn(watch);
        }
        let services = services
            .reconcile_on(told.services)
            .with_config(config.clone())
            .graceful_shutdown_on(stop.clone().cancelled_owned());
        context.metrics.count_services(services.store());
        let (reconcile, policy) = (
            transcription_service::reconcile,
            transcription_service::error_policy,
        );
        all.push(log(services.run(reconcile, policy, context.clone())).boxed());

        let models = models
            .reconcile_on(told.models)
            .with_config(config.clone())
            .graceful_shutdown_on(stop.clone().cancelled_owned());
        context.metrics.count_models(models.store());
        let (reconcile, policy) = (model_deployment::reconcile, model_deployment::error_policy);
        all.push(log(models.run(reconcile, policy, context.clone())).boxed());
    }
    context.children.filled().await;
    join_all(all).await;
}

/// A controller of a kind, whose store leaves out who applied which field: that takes more memory than the objects.
fn controller<K>(api: Api<K>) -> Controller<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(api, watcher::Config::default())
        .modify(slim)
        .reflect(writer)
        .applied_objects();
    Controller::for_stream(events, store)
}

/// Logs what comes of reconciles, until there are no more.
async fn log<K, E>(
    results: impl Stream<Item = Result<(ObjectRef<K>, Action), controller::Error<E, watcher::Error>>>,
) where
    K: Resource,
    K::DynamicType: Debug + Hash + Eq,
    E: std::error::Error + 'static,
{
    results
        .for_each(|result| async move {
            match result {
                Ok((object, _)) => tracing::debug!(%object, "reconciled"),
                // An object that was deleted meanwhile.
                Err(controller::Error::ObjectNotFound(_)) => {}
                Err(error) => tracing::warn!("{error}"),
            }
        })
        .await;
}
