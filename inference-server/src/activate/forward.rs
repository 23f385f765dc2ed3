//! A client's request in; the answer of a pod out. It is held until there is a pod, and counted as demand from its arrival to the
//! last byte of its answer. Its body is not read before a pod is there, so what waits lies with its sender and not here.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Response, StatusCode, Version, header::HeaderName},
};
use http_body_util::BodyExt;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional, time::timeout_at};

use super::{
    Activator,
    demand::Running,
    headers,
    line::{Line, Peer},
    pods::Chosen,
    upstream::{Connection, Protocol, Unanswered},
};
use crate::{admission, admission::Load, service, status::Failure};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// When a request that found too many waiting may try again.
const RETRY: Duration = Duration::from_secs(5);

/// A request of the gRPC port.
pub async fn grpc(State(activator): State<Arc<Activator>>, request: Request) -> axum::response::Response {
    let answer = forward(&activator, Protocol::Grpc, request).await;
    answer.unwrap_or_else(|failure| failure.to_status("").into_http())
}

/// A request of the HTTP port.
pub async fn http(State(activator): State<Arc<Activator>>, request: Request) -> axum::response::Response {
    let protocol = match request.version() {
        Version::HTTP_2 => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let answer = forward(&activator, protocol, request).await;
    answer.unwrap_or_else(|failure| failure.to_response(""))
}

/// What ends when the answer does.
struct Held {
    _running: Running,
    _chosen: Chosen,
    _connection: Connection,
}

async fn forward(
    activator: &Activator,
    protocol: Protocol,
    request: Request,
) -> Result<Response<Body>, Failure> {
    let answer = hand_over(activator, protocol, request).await;
    if let Err(failure) = &answer {
        activator.metrics.refused(reason(failure));
        tracing::info!(error = %failure, "a request got no answer from a pod");
    }
    answer
}

async fn hand_over(
    activator: &Activator,
    protocol: Protocol,
    request: Request,
) -> Result<Response<Body>, Failure> {
    let arrived = Instant::now();
    activator.authenticate(request.headers())?;
    if activator.closing.is_cancelled() {
        return Err(DRAINING);
    }
    let waiting = activator.demand.wait(activator.hold_limit);
    let mut waiting = Some(waiting.map_err(|full| busy(full.running, full.waiting))?);
    let deadline = deadline(request.headers(), protocol, arrived);
    let longest = arrived + activator.hold_timeout;
    let until = deadline.map_or(longest, |deadline| deadline.min(longest));

    let upgrade = headers::asks_for_upgrade(request.method(), request.headers());
    let mut request = passed_on(request, protocol, upgrade);
    let peer = request.extensions_mut().remove::<ConnectInfo<Peer>>();
    let line = peer.map_or_else(Line::default, |ConnectInfo(peer)| peer.line);
    let asked = request.extensions_mut().remove::<OnUpgrade>().filter(|_| upgrade);
    let mut running = None;
    loop {
        let pod = timeout_at(until.into(), activator.hold.pod(protocol, &activator.metrics));
        let pod = tokio::select! {
            pod = pod => pod,
            () = line.closed() => return Err(Failure::Cancelled),
        };
        let (mut connection, chosen) = pod.map_err(|_| match deadline {
            Some(deadline) if deadline <= longest => Failure::deadline("the request waited for a pod"),
            _ => NO_POD,
        })?;
        if let Some(waiting) = waiting.take() {
            activator.metrics.waited(arrived.elapsed());
            running = Some(waiting.run());
        }
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            request
                .headers_mut()
                .insert(GRPC_TIMEOUT, headers::grpc_timeout(left));
        }
        match connection.send(request).await {
            Ok(answer) => {
                // It is there since a pod was.
                let running = running.take().ok_or(GONE)?;
                let held = Held {
                    _running: running,
                    _chosen: chosen,
                    _connection: connection,
                };
                return Ok(handed_back(answer, asked, held));
            }
            Err(Unanswered::Unsent(back)) => {
                chosen.refused();
                request = *back;
            }
            Err(Unanswered::Broken(error)) => {
                tracing::warn!(%error, pod = %chosen.address, "a pod broke off");
                return Err(GONE);
            }
        }
    }
}

const DRAINING: Failure = Failure::Unavailable("the server is shutting down");
const NO_POD: Failure = Failure::Unavailable(
    "no pod of this service was ready in time; its status in the cluster says what keeps them",
);
const GONE: Failure =
    Failure::Unavailable("the pod that had the request is gone, and its work is lost; send it again");

fn busy(running: usize, queued: usize) -> Failure {
    Failure::Busy(admission::Full {
        load: Load { running, queued },
        retry_after: RETRY,
    })
}

/// Why no pod answered, in a word for the metrics.
fn reason(failure: &Failure) -> &'static str {
    match failure {
        Failure::DeadlineExceeded(_) => "deadline",
        Failure::Cancelled => "left",
        failure if *failure == NO_POD => "no_pod",
        failure if *failure == GONE => "gone",
        failure => failure.rejection().unwrap_or("other"),
    }
}

/// When a gRPC client gives up; a little before its own clock, so that it is told why.
fn deadline(headers: &HeaderMap, protocol: Protocol, arrived: Instant) -> Option<Instant> {
    let client = headers.get(GRPC_TIMEOUT).filter(|_| protocol == Protocol::Grpc)?;
    let time = service::grpc_timeout(client)?;
    let year = Duration::from_secs(365 * 24 * 3600);
    let time = time.min(year);
    Some(arrived + time - (time / 10).min(Duration::from_millis(10)))
}

/// The request as a pod gets it.
fn passed_on(mut request: Request, protocol: Protocol, upgrade: bool) -> Request {
    *request.uri_mut() = headers::address(request.uri(), protocol);
    headers::passed_on(request.headers_mut(), upgrade);
    *request.version_mut() = match protocol {
        Protocol::Http1 => Version::HTTP_11,
        Protocol::Grpc | Protocol::Http2 => Version::HTTP_2,
    };
    request
}

/// The answer as the client gets it. What is held ends with its body; with the other protocol where the answer changes to one.
fn handed_back(
    mut answer: Response<hyper::body::Incoming>,
    asked: Option<OnUpgrade>,
    held: Held,
) -> Response<Body> {
    let switched = match answer.version() {
        Version::HTTP_2 => answer.status().is_success(),
        _ => answer.status() == StatusCode::SWITCHING_PROTOCOLS,
    };
    headers::passed_on(answer.headers_mut(), switched && asked.is_some());
    match asked.filter(|_| switched) {
        Some(client) => {
            let pod = hyper::upgrade::on(&mut answer);
            tokio::spawn(tunnel(client, pod, held));
            answer.map(|_| Body::empty())
        }
        // The closure goes with the body.
        None => answer.map(|body| {
            Body::new(body.map_err(move |error| {
                let _ = &held;
                error
            }))
        }),
    }
}

/// Carries bytes both ways until both sides have said all.
async fn tunnel(client: OnUpgrade, pod: OnUpgrade, held: Held) {
    let both = async {
        let (client, pod) = tokio::try_join!(client, pod)?;
        let io = |upgraded: Upgraded| TokioIo::new(upgraded);
        Ok::<_, hyper::Error>(copy_bidirectional(&mut io(client), &mut io(pod)).await)
    };
    match both.await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a tunnel broke off"),
        Err(error) => tracing::debug!(%error, "a tunnel did not come about"),
    }
    drop(held);
}
