//! The two ports in; both servers on them out, with or without TLS, each on a task of its own.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    middleware::{Next, from_fn},
    response::Response,
    serve::ListenerExt,
};
use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::server::{Connected, TcpIncoming},
};

use crate::{
    metrics::Metrics,
    run::Error,
    status::Failure,
    tls::{
        Tls,
        handshakes::{self, Port, Shown},
    },
};

/// How often an idle HTTP/2 connection is asked whether its client is alive, and how long the answer may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// What listens, and does not answer yet.
pub struct Ports {
    /// Of gRPC.
    pub grpc: TcpListener,
    /// Of HTTP.
    pub http: TcpListener,
    /// The certificate of both; `None`: what passes is readable on the way.
    pub tls: Option<Arc<Tls>>,
}

/// The tasks that serve; none of them ends by itself.
pub(crate) type Servers = JoinSet<Result<(), String>>;

impl Ports {
    /// Answers on both ports until `close`.
    pub(crate) fn serve(
        self,
        (routes, router): (Routes, Router),
        metrics: &Arc<Metrics>,
        close: &CancellationToken,
    ) -> Result<Servers, Error> {
        let Self { grpc, http, tls } = self;
        let mut servers = JoinSet::new();
        let closing = || close.clone().cancelled_owned();
        let Some(tls) = tls else {
            serve_grpc(&mut servers, routes, incoming(grpc), close);
            let http = http.tap_io(|stream| {
                // Without it the connection is only slower.
                let _ = stream.set_nodelay(true);
            });
            let http = axum::serve(http, router).with_graceful_shutdown(closing());
            servers.spawn(async { http.await.map_err(|error| format!("HTTP: {error}")) });
            return Ok(servers);
        };

        let mut secured = |port, listener| {
            let (incoming, close) = (incoming(listener), close.clone());
            handshakes::answer(&tls, metrics, port, incoming, close, &mut servers)
        };
        let (grpc, http) = (secured(Port::Grpc, grpc)?, secured(Port::Http, http)?);
        serve_grpc(&mut servers, routes, grpc, close);
        let router = if tls.asks_clients() {
            router.layer(from_fn(shown))
        } else {
            router
        };
        let router = router.into_make_service_with_connect_info::<Shown>();
        let http = axum::serve(http, router).with_graceful_shutdown(closing());
        servers.spawn(async { http.await.map_err(|error| format!("HTTP: {error}")) });
        let watch = tls.watch(metrics.clone());
        let close = close.clone();
        servers.spawn(async move {
            close.run_until_cancelled(watch).await;
            Ok(())
        });
        Ok(servers)
    }
}

fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener)
        .with_nodelay(Some(true))
        .with_keepalive(Some(KEEPALIVE.0))
}

fn serve_grpc<IO>(
    servers: &mut Servers,
    routes: Routes,
    incoming: impl Stream<Item = io::Result<IO>> + Send + 'static,
    close: &CancellationToken,
) where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, close.clone().cancelled_owned());
    servers.spawn(async { server.await.map_err(|error| format!("gRPC: {error}")) });
}

/// Where clients need a certificate, lets who has shown none see health and metrics, and nothing else: the kubelet that asks
/// for them has none.
async fn shown(ConnectInfo(Shown(shown)): ConnectInfo<Shown>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if shown || path.starts_with("/health/") || path.starts_with("/v2/health/") || path == "/metrics" {
        return next.run(request).await;
    }
    Failure::Unauthenticated("a certificate of the client is needed for this").to_response("")
}
