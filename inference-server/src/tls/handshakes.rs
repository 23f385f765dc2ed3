//! TCP connections in; TLS connections out, each after its handshake, for both servers. Handshakes run beside each other and
//! have a timeout: one that is slow or fails costs its own client only.

use std::{
    future::pending,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use futures::{Stream, StreamExt};
use rustls::ServerConfig;
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::{Duration, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use super::Tls;
use crate::metrics::TlsMetrics;

/// Handshakes at a time; more connections wait in the kernel.
const AT_A_TIME: usize = 512;
/// The wait after a connection that could not be accepted, for example for want of files.
const BREATH: Duration = Duration::from_secs(1);

/// Which port a connection came to.
#[derive(Clone, Copy, Debug)]
pub enum Port {
    /// HTTP/2 only; where clients need a certificate, everybody does.
    Grpc,
    /// HTTP/2 and HTTP/1.1.
    Http,
}

/// Connections of one port whose handshake is done.
pub struct Secured {
    connections: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

/// Starts to answer handshakes on `runner` until `close`.
pub fn answer(
    tls: &Arc<Tls>,
    metrics: &Arc<TlsMetrics>,
    port: Port,
    incoming: TcpIncoming,
    close: CancellationToken,
    runner: &mut JoinSet<Result<(), String>>,
) -> io::Result<Secured> {
    let address = incoming.local_addr()?;
    let (sender, connections) = mpsc::channel(1);
    let (tls, metrics) = (tls.clone(), metrics.clone());
    runner.spawn(async move {
        close
            .run_until_cancelled(accept(tls, metrics, port, incoming, sender))
            .await;
        Ok(())
    });
    Ok(Secured { connections, address })
}

/// Accepts for ever; dropping it ends the handshakes that are not done.
async fn accept(
    tls: Arc<Tls>,
    metrics: Arc<TlsMetrics>,
    port: Port,
    mut incoming: TcpIncoming,
    sender: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = handshakes.join_next() => {}
            accepted = incoming.next(), if handshakes.len() < AT_A_TIME => match accepted {
                Some(Ok(stream)) => {
                    let config = match port {
                        Port::Grpc => tls.grpc(),
                        Port::Http => tls.http(),
                    };
                    let limit = tls.settings.handshake_timeout;
                    let (sender, metrics) = (sender.clone(), metrics.clone());
                    handshakes.spawn(async move {
                        match handshake(config, stream, limit).await {
                            // That nobody takes it means that the server closes.
                            Ok(secured) => drop(sender.send(secured).await),
                            Err(error) => {
                                metrics.handshake_failed();
                                tracing::debug!(%error, ?port, "a TLS handshake failed");
                            }
                        }
                    });
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, ?port, "a connection cannot be accepted");
                    sleep(BREATH).await;
                }
                None => return,
            },
        }
    }
}

async fn handshake(
    config: Arc<ServerConfig>,
    stream: TcpStream,
    limit: Duration,
) -> io::Result<(TlsStream<TcpStream>, SocketAddr)> {
    let address = stream.peer_addr()?;
    match timeout(limit, TlsAcceptor::from(config).accept(stream)).await {
        Ok(secured) => Ok((secured?, address)),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client took too long",
        )),
    }
}

/// For tonic.
impl Stream for Secured {
    type Item = io::Result<TlsStream<TcpStream>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.connections.poll_recv(cx);
        next.map(|next| next.map(|(stream, _)| Ok(stream)))
    }
}

/// For axum.
impl Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.connections.recv().await {
            Some(connection) => connection,
            // The server closes, and axum is about to hear of it.
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Whether the client of a connection has shown a certificate, which then is a right one.
#[derive(Clone, Copy, Debug)]
pub struct Shown(pub bool);

impl Connected<IncomingStream<'_, Secured>> for Shown {
    fn connect_info(stream: IncomingStream<'_, Secured>) -> Self {
        let (_, session) = stream.io().get_ref();
        Shown(session.peer_certificates().is_some())
    }
}
