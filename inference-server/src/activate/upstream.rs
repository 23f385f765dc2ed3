//! The address of a pod in; a connection to it out, once the pod has said on that very connection that it takes requests. Then a
//! request in, and its answer out.
//!
//! Each request has a connection of its own. So no request waits for the flow control of another, one that is dropped closes
//! what it had, and nothing is written to a connection that the pod has long closed.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderValue, Method, Request, Response, StatusCode,
        header::{CONTENT_TYPE, HOST, TE},
    },
};
use http_body_util::{BodyExt, Limited};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::trust;
use crate::tls::Tls;

/// The longest that a pod may take for a connection, the handshake of TLS and the answer that it is ready.
const CONNECTING: Duration = Duration::from_secs(2);
/// How often a pod that is silent is asked whether it is there, and how long it may take to say so.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// The message of `grpc.health.v1.Health/Check` for the whole server: no compression, no bytes.
const CHECK: &[u8] = &[0, 0, 0, 0, 0];
/// The answer SERVING.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

/// Why a pod takes no request.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be reached, or TLS with it fails.
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    /// It takes too long.
    #[error("it does not answer")]
    Silent,
    /// It breaks off.
    #[error("it does not speak HTTP as it should: {0}")]
    Broken(#[from] hyper::Error),
    /// It says that it is not ready.
    #[error("it is not ready")]
    NotReady,
}

/// A request that a pod did not answer.
#[derive(Debug)]
pub enum Unanswered {
    /// Nothing of it was sent: here it is.
    Unsent(Box<Request<Body>>),
    /// It was sent, and the pod is gone.
    Broken(hyper::Error),
}

/// How to speak with pods.
#[derive(Clone)]
pub struct Dialer {
    tls: Option<(TlsConnector, TlsConnector)>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, which is HTTP/2.
    Grpc,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 on the port of HTTP.
    Http2,
}

impl Dialer {
    /// With TLS where this process speaks TLS too.
    pub fn new(tls: Option<&Arc<Tls>>) -> Result<Self, rustls::Error> {
        let connector = |tls, protocol| {
            let config = trust::client(tls, protocol)?;
            Ok::<_, rustls::Error>(TlsConnector::from(Arc::new(config)))
        };
        let both = |tls| Ok::<_, rustls::Error>((connector(tls, "http/1.1")?, connector(tls, "h2")?));
        Ok(Dialer {
            tls: tls.map(both).transpose()?,
        })
    }

    /// A connection to a pod that says that it takes requests.
    pub async fn connect(&self, address: SocketAddr, protocol: Protocol) -> Result<Connection, Refusal> {
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            // Without it the connection is only slower.
            let _ = stream.set_nodelay(true);
            let mut connection = match &self.tls {
                None => Connection::begin(stream, protocol).await?,
                Some((one, two)) => {
                    let connector = if protocol == Protocol::Http1 { one } else { two };
                    let name = ServerName::from(address.ip());
                    Connection::begin(connector.connect(name, stream).await?, protocol).await?
                }
            };
            match connection.says_ready(protocol).await? {
                true => Ok(connection),
                false => Err(Refusal::NotReady),
            }
        };
        timeout(CONNECTING, connect).await.unwrap_or(Err(Refusal::Silent))
    }
}

/// A connection for one request; dropping it closes it.
pub struct Connection {
    sender: Sender,
    _driver: AbortOnDropHandle<()>,
}

enum Sender {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

impl Connection {
    async fn begin(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        protocol: Protocol,
    ) -> Result<Connection, hyper::Error> {
        let stream = TokioIo::new(stream);
        if protocol == Protocol::Http1 {
            let (sender, connection) = http1::handshake(stream).await?;
            let driver = tokio::spawn(async {
                if let Err(error) = connection.with_upgrades().await {
                    tracing::debug!(%error, "a connection to a pod ended");
                }
            });
            return Ok(Connection {
                sender: Sender::One(sender),
                _driver: AbortOnDropHandle::new(driver),
            });
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .adaptive_window(true)
            .handshake(stream)
            .await?;
        let driver = tokio::spawn(async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a pod ended");
            }
        });
        Ok(Connection {
            sender: Sender::Two(sender),
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    async fn says_ready(&mut self, protocol: Protocol) -> Result<bool, hyper::Error> {
        // `http` stands for both schemes: the pod does not look at it.
        let (method, path, body) = match protocol {
            Protocol::Grpc => (Method::POST, "/grpc.health.v1.Health/Check", CHECK),
            Protocol::Http1 | Protocol::Http2 => (Method::GET, "/health/ready", &[][..]),
        };
        let uri = match protocol {
            Protocol::Http1 => path.to_owned(),
            Protocol::Grpc | Protocol::Http2 => format!("http://pod{path}"),
        };
        let body = Body::from(Bytes::from_static(body));
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().unwrap_or_default();
        let headers = match protocol {
            Protocol::Grpc => [(CONTENT_TYPE, "application/grpc"), (TE, "trailers")].to_vec(),
            Protocol::Http1 => [(HOST, "pod")].to_vec(),
            Protocol::Http2 => Vec::new(),
        };
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        let (response, body) = match self.send(request).await {
            Ok(response) => response.into_parts(),
            Err(Unanswered::Broken(error)) => return Err(error),
            Err(Unanswered::Unsent(_)) => return Ok(false),
        };
        // Read to its end, so that HTTP/1.1 takes the next request.
        let Ok(whole) = Limited::new(body, 1 << 16).collect().await else {
            return Ok(false);
        };
        Ok(match protocol {
            Protocol::Grpc => whole.to_bytes() == SERVING,
            Protocol::Http1 | Protocol::Http2 => response.status == StatusCode::OK,
        })
    }

    /// Sends a request, and waits for the beginning of its answer.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, Unanswered> {
        let sent = match &mut self.sender {
            Sender::One(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(request).await,
                Err(_) => return Err(Unanswered::Unsent(Box::new(request))),
            },
            Sender::Two(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(request).await,
                Err(_) => return Err(Unanswered::Unsent(Box::new(request))),
            },
        };
        sent.map_err(|mut error| match error.take_message() {
            Some(request) => Unanswered::Unsent(Box::new(request)),
            None => Unanswered::Broken(error.into_error()),
        })
    }
}
