//! The two ports in; both servers on them out, with or without TLS, each on a task of its own.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request, connect_info},
    middleware::{Next, from_fn},
    response::Response,
    serve::{IncomingStream, Listener},
};
use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::server::{Connected, TcpIncoming},
};

use crate::{
    metrics::TlsMetrics,
    run::Error,
    status::Failure,
    tls::{
        Tls,
        handshakes::{self, Port, Secured, Shown},
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

/// What is answered on the ports.
pub struct Answers {
    /// On that of gRPC.
    pub routes: Routes,
    /// On that of HTTP.
    pub router: Router,
    /// How much of a request may come before it is read.
    pub windows: Windows,
}

/// How much of a gRPC request is taken before somebody reads it.
#[derive(Clone, Copy, Debug)]
pub enum Windows {
    /// As much as the library takes: it is read soon.
    Usual,
    /// 64 KiB, and more once it is read and the way is long: it may wait.
    Adaptive,
}

/// The tasks that serve; none of them ends by itself.
pub(crate) type Servers = JoinSet<Result<(), String>>;

impl Ports {
    /// Answers on both ports until `close`. `C` is what the paths of HTTP learn of a client.
    pub(crate) fn serve<C: Client>(
        self,
        Answers {
            routes,
            router,
            windows,
        }: Answers,
        metrics: &Arc<TlsMetrics>,
        close: &CancellationToken,
    ) -> Result<Servers, Error> {
        let Self { grpc, http, tls } = self;
        let mut servers = JoinSet::new();
        let closing = || close.clone().cancelled_owned();
        let Some(tls) = tls else {
            serve_grpc(&mut servers, routes, windows, incoming(grpc), close);
            let router = router.into_make_service_with_connect_info::<C>();
            let http = axum::serve(Plain(http), router).with_graceful_shutdown(closing());
            servers.spawn(async { http.await.map_err(|error| format!("HTTP: {error}")) });
            return Ok(servers);
        };

        let mut secured = |port, listener| {
            let (incoming, close) = (incoming(listener), close.clone());
            handshakes::answer(&tls, metrics, port, incoming, close, &mut servers)
        };
        let (grpc, http) = (secured(Port::Grpc, grpc)?, secured(Port::Http, http)?);
        serve_grpc(&mut servers, routes, windows, grpc, close);
        let router = if tls.asks_clients() {
            router.layer(from_fn(shown::<C>))
        } else {
            router
        };
        let router = router.into_make_service_with_connect_info::<C>();
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

/// Connections without TLS.
pub(crate) struct Plain(TcpListener);

impl Listener for Plain {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Without it the connection is only slower.
        let _ = stream.set_nodelay(true);
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// What is known of a client, with TLS and without.
pub(crate) trait Client:
    Clone
    + Into<Shown>
    + Send
    + Sync
    + 'static
    + for<'a> connect_info::Connected<IncomingStream<'a, Plain>>
    + for<'a> connect_info::Connected<IncomingStream<'a, Secured>>
{
}

impl Client for Shown {}

impl connect_info::Connected<IncomingStream<'_, Plain>> for Shown {
    fn connect_info(_: IncomingStream<'_, Plain>) -> Self {
        Shown(false)
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
    windows: Windows,
    incoming: impl Stream<Item = io::Result<IO>> + Send + 'static,
    close: &CancellationToken,
) where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .http2_adaptive_window(Some(matches!(windows, Windows::Adaptive)))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, close.clone().cancelled_owned());
    servers.spawn(async { server.await.map_err(|error| format!("gRPC: {error}")) });
}

/// Where clients need a certificate, lets who has shown none see health and metrics, and nothing else: the kubelet that asks
/// for them has none.
async fn shown<C: Client>(ConnectInfo(client): ConnectInfo<C>, request: Request, next: Next) -> Response {
    let Shown(shown) = client.into();
    let path = request.uri().path();
    if shown || path.starts_with("/health/") || path.starts_with("/v2/health/") || path == "/metrics" {
        return next.run(request).await;
    }
    Failure::Unauthenticated("a certificate of the client is needed for this").to_response("")
}
