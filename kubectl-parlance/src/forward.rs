//! HTTP or HTTPS to a pod, through the apiserver's port-forward: no port of this machine is opened, and no network policy stands in the way.
//!
//! In: a pod and a request. Out: its response. It knows nothing of what is asked.

use http::header::HOST;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Portforwarder;
use kube::{Api, Client};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{self, Rule};
use crate::tls::Tls;

/// What lets a person forward ports. Which verb counts depends on the apiserver's version.
pub const RULE: Rule = Rule {
    group: "",
    resource: "pods/portforward",
    verbs: "get, create",
};

/// The body of a request.
pub type Body = BoxBody<Bytes, std::io::Error>;

/// A body of no bytes.
pub fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// This user may not, or the pod is not to be trusted; another pod would not help.
    #[error(transparent)]
    Denied(error::Error),
    /// The request's own body could not be read.
    #[error("{0}")]
    Body(String),
    /// The pod is gone, or the connection to it broke.
    #[error("{0}")]
    Lost(String),
}

/// What bytes go over.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection to a pod.
pub struct Connection {
    sender: SendRequest<Body>,
    forwarder: Portforwarder,
    port: u16,
    _io: AbortOnDropHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Otherwise the stream stays open until the pod has said all it had to say.
        self.forwarder.abort();
    }
}

impl Connection {
    /// Opens one, by TLS where there is some.
    ///
    /// # Errors
    /// [`ForwardError::Denied`] when the apiserver does not allow it or the pod shows another certificate, [`ForwardError::Lost`] otherwise.
    pub async fn open(
        client: &Client,
        namespace: &str,
        pod: &str,
        port: u16,
        tls: Option<&Tls>,
    ) -> Result<Self, ForwardError> {
        let api = Api::<Pod>::namespaced(client.clone(), namespace);
        let mut forwarder = api.portforward(pod, &[port]).await.map_err(|e| {
            let doing = format!("forward a port of pod {pod}");
            match error::Error::of_kube(doing, RULE, &e) {
                error::Error::Api { message, .. } => ForwardError::Lost(message),
                denied => ForwardError::Denied(denied),
            }
        })?;
        let stream = forwarder
            .take_stream(port)
            .ok_or_else(|| ForwardError::Lost("the apiserver forwards no port".to_owned()))?;
        let stream: Box<dyn Stream> = match tls {
            Some(tls) => Box::new(tls.connect(pod, stream).await.map_err(ForwardError::Denied)?),
            None => Box::new(stream),
        };
        let (sender, io) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| ForwardError::Lost(e.to_string()))?;
        let io = tokio::spawn(async move {
            // What goes wrong here is told to whoever waits for the response.
            let _ = io.await;
        });
        Ok(Connection {
            sender,
            forwarder,
            port,
            _io: AbortOnDropHandle::new(io),
        })
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// # Errors
    /// [`ForwardError::Lost`], with the kubelet's words where it has some, and [`ForwardError::Body`].
    pub async fn send(&mut self, mut request: Request<Body>) -> Result<Response<Incoming>, ForwardError> {
        let host = http::HeaderValue::from_static("localhost");
        request.headers_mut().entry(HOST).or_insert(host);
        let error = match self.sender.send_request(request).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        if error.is_user()
            && let Some(cause) = std::error::Error::source(&error)
        {
            return Err(ForwardError::Body(cause.to_string()));
        }
        let words = match self.forwarder.take_error(self.port) {
            Some(words) => tokio::time::timeout(WORDS_TIME, words).await.ok().flatten(),
            None => None,
        };
        Err(ForwardError::Lost(words.unwrap_or_else(|| {
            format!("the connection to it broke off: {error}")
        })))
    }

    /// The text at a path.
    ///
    /// # Errors
    /// [`ForwardError::Lost`], also when the answer is not 200.
    pub async fn get(&mut self, path: &str) -> Result<String, ForwardError> {
        let request = Request::get(path)
            .body(nothing())
            .map_err(|e| ForwardError::Lost(e.to_string()))?;
        let response = self.send(request).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await;
        let bytes = bytes.map_err(|e| ForwardError::Lost(e.to_string()))?.to_bytes();
        if !status.is_success() {
            return Err(ForwardError::Lost(format!("it answered {path} with {status}")));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The kubelet's words about a broken connection come at once, or not at all.
const WORDS_TIME: std::time::Duration = std::time::Duration::from_secs(1);
