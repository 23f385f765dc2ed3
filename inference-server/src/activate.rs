//! `parlance-server activate`: stands before the pods of a service that may have none. Requests in; the pods' answers out.
//!
//! It listens on the server's two ports with the server's TLS and keys, holds requests while no pod is ready (`hold`), hands
//! them over with everything streaming both ways (`forward`), and says on a third port how many there are (`demand`, `admin`), by
//! which the operator starts and ends pods. It knows nothing of Kubernetes but DNS names, and nothing of audio.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::http::HeaderMap;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    keys::Keys,
    ports::{Answers, Ports, Windows},
    run::{CLOSING, Error, report, signals, stopped},
    service::SERVICE_NAME,
    status::Failure,
    telemetry::{self, LogFormat},
    tls::{Tls, TlsError, TlsSettings},
};

pub mod admin;
pub mod answers;
pub mod demand;
pub mod forward;
pub mod headers;
pub mod hold;
pub mod line;
pub mod metrics;
pub mod pods;
pub mod trust;
pub mod upstream;

use demand::Counter;
use hold::Hold;
use line::Peer;
use metrics::Metrics;
use pods::Pods;
use upstream::Dialer;

/// What `activate` is to be.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // each field is the flag of its name
pub struct Config {
    pub upstream: Vec<String>,
    pub upstream_grpc_port: u16,
    pub upstream_http_port: u16,
    pub model_name: String,
    pub grpc_addr: SocketAddr,
    pub http_addr: SocketAddr,
    pub admin_addr: SocketAddr,
    pub tls: Option<TlsSettings>,
    pub keys: Option<Arc<Keys>>,
    pub hold_limit: usize,
    pub hold_timeout: Duration,
    pub drain_timeout: Duration,
    pub log_format: LogFormat,
    pub log_level: String,
}

/// What every request needs.
pub struct Activator {
    demand: Counter,
    hold: Hold,
    metrics: Metrics,
    keys: Option<Arc<Keys>>,
    model_name: String,
    hold_limit: usize,
    hold_timeout: Duration,
    /// Cancelled when no new request is taken any more.
    closing: CancellationToken,
}

impl Activator {
    fn authenticate(&self, headers: &HeaderMap) -> Result<(), Failure> {
        self.keys.as_ref().map_or(Ok(()), |keys| keys.check(headers))
    }
}

/// Runs it to its end.
pub fn serve(config: Config) -> Result<(), Error> {
    telemetry::init(config.log_format, &config.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let signals = signals()?;
        Front::bind(config).await?.run(signals).await
    });
    runtime.shutdown_background();
    outcome
}

/// An activator that listens, and does not answer yet.
pub struct Front {
    activator: Arc<Activator>,
    ports: Ports,
    admin: TcpListener,
    drain_timeout: Duration,
}

impl Front {
    /// Takes its ports, and reads what they need for TLS.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let tls = config.tls.map(Tls::open).transpose()?.map(Arc::new);
        let dialer = Dialer::new(tls.as_ref()).map_err(TlsError::Client)?;
        let ports = (config.upstream_grpc_port, config.upstream_http_port);
        let activator = Activator {
            demand: Counter::default(),
            hold: Hold::new(Pods::behind(config.upstream), dialer, ports),
            metrics: Metrics::default(),
            keys: config.keys,
            model_name: config.model_name,
            hold_limit: config.hold_limit,
            hold_timeout: config.hold_timeout,
            closing: CancellationToken::new(),
        };
        let listen = async |address| {
            TcpListener::bind(address)
                .await
                .map_err(|source| Error::Listen { address, source })
        };
        let (grpc, http) = (listen(config.grpc_addr).await?, listen(config.http_addr).await?);
        Ok(Front {
            activator: Arc::new(activator),
            ports: Ports { grpc, http, tls },
            admin: listen(config.admin_addr).await?,
            drain_timeout: config.drain_timeout,
        })
    }

    /// Where gRPC, HTTP and the third port listen.
    pub fn addresses(&self) -> io::Result<[SocketAddr; 3]> {
        let Ports { grpc, http, .. } = &self.ports;
        Ok([grpc.local_addr()?, http.local_addr()?, self.admin.local_addr()?])
    }

    /// Lives until `shutdown` says so: once to finish what waits and runs, twice to leave at once.
    pub async fn run(self, mut shutdown: mpsc::Receiver<()>) -> Result<(), Error> {
        let [grpc, http, admin_addr] = self.addresses()?;
        let Self {
            activator,
            ports,
            admin,
            drain_timeout,
        } = self;
        let (close, mut health) = (CancellationToken::new(), HealthReporter::new());
        report(&health, SERVICE_NAME, ServingStatus::Serving).await;
        let tls = ports.tls.is_some();
        let answers = Answers {
            routes: answers::routes(&activator, &health)?,
            router: answers::router(activator.clone()),
            windows: Windows::Adaptive,
        };
        let mut servers = ports.serve::<Peer>(answers, activator.metrics.tls(), &close)?;
        let router = admin::router(activator.clone());
        let admin = axum::serve(admin, router).with_graceful_shutdown(close.clone().cancelled_owned());
        servers.spawn(async { admin.await.map_err(|error| format!("the third port: {error}")) });
        tracing::info!(%grpc, %http, admin = %admin_addr, tls, "listening");

        tokio::select! {
            _ = shutdown.recv() => {}
            ended = servers.join_next() => return Err(stopped(ended)),
        }
        activator.closing.cancel();
        report(&health, SERVICE_NAME, ServingStatus::NotServing).await;
        let now = activator.demand.now();
        tracing::info!(running = now.running, waiting = now.waiting, "draining");
        tokio::select! {
            () = activator.demand.idle() => {}
            () = sleep(drain_timeout) => {}
            Some(()) = shutdown.recv() => {}
        }
        close.cancel();
        for name in ["", SERVICE_NAME] {
            // Ends the clients' watches, which would keep their connections open.
            health.clear_service_status(name).await;
        }
        let closed = async { while servers.join_next().await.is_some() {} };
        let in_time = timeout(CLOSING, closed).await.is_ok();
        tracing::info!(all_connections_closed = in_time, "stopped");
        Ok(())
    }
}
