//! HTTP requests in; answers in the words of the OpenAI API out, a page for people, and health and metrics for the cluster.
//! Handles no audio itself: `transcriber` does.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{
    desk::{Desk, Served},
    metrics,
    model::Model,
    status::Failure,
    transcriber::{Phase, Transcriber},
};

mod form;
pub(crate) mod page;
mod realtime;
pub(crate) mod transcriptions;
mod upload;

/// Every path of the HTTP port.
pub fn router(transcriber: Arc<Transcriber>) -> Router {
    let limit = DefaultBodyLimit::max(transcriber.settings().max_message_size);
    let paths = Router::new()
        .route("/", get(page::index))
        .route("/page/{name}", get(page::part))
        .route(
            "/v1/audio/transcriptions",
            post(transcriptions::create).layer(limit),
        )
        .route(
            "/v1/audio/translations",
            post(transcriptions::translate).layer(limit),
        )
        // Over HTTP/2 a WebSocket is opened with CONNECT.
        .route("/v1/realtime", get(realtime::open).connect(realtime::open))
        .route("/v1/models", get(models))
        .route("/v1/models/{name}", get(model))
        .merge(common());
    refusing_the_rest(paths, |failure| failure.to_response("")).with_state(transcriber)
}

/// The same paths; what is at none of them, or is asked with another method, is refused as `refuse` words it.
pub(crate) fn refusing_the_rest<S>(paths: Router<S>, refuse: fn(&Failure) -> Response) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    paths
        .fallback(async move |uri: Uri| refuse(&Failure::UnknownPath(uri.path().to_owned())))
        .method_not_allowed_fallback(async move |uri: Uri| {
            refuse(&Failure::WrongMethod(uri.path().to_owned()))
        })
}

/// The paths that every model has, whatever it is.
pub(crate) fn common<M: Served>() -> Router<Arc<Desk<M>>> {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(scrape))
}

/// Not live when nothing can be done any more: whoever watches starts the server again.
async fn live<M: Served>(State(desk): State<Arc<Desk<M>>>) -> Response {
    if desk.admission().stuck() {
        let body = json!({ "status": "stuck", "reason": STUCK });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    Json(json!({ "status": "live" })).into_response()
}

const STUCK: &str = "every worker is busy with a request that should have ended long ago";

async fn ready<M: Served>(State(desk): State<Arc<Desk<M>>>) -> Response {
    let not_yet = |status, reason| {
        let body = json!({ "status": status, "reason": reason });
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    };
    match desk.phase() {
        Phase::Ready if desk.admission().stuck() => not_yet("stuck", STUCK),
        Phase::Ready => Json(json!({ "status": "ready" })).into_response(),
        Phase::Loading => not_yet("loading", "the model is being loaded"),
        Phase::Draining => not_yet("draining", "the server is shutting down"),
    }
}

async fn scrape<M: Served>(State(desk): State<Arc<Desk<M>>>) -> Response {
    let admission = desk.admission();
    match desk.metrics().encode(admission.load(), admission.queued_audio()) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => Failure::Internal(error.to_string()).to_response(""),
    }
}

async fn models(State(transcriber): State<Arc<Transcriber>>, headers: HeaderMap) -> Response {
    match transcriber
        .authenticate(&headers)
        .and_then(|()| transcriber.model())
    {
        Ok(model) => Json(json!({ "object": "list", "data": [card(&model.facts().name)] })).into_response(),
        Err(failure) => failure.to_response(""),
    }
}

async fn model(
    State(transcriber): State<Arc<Transcriber>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let found = transcriber
        .authenticate(&headers)
        .and_then(|()| transcriber.model())
        .and_then(|model| served(&model, &name).map(|()| card(&model.facts().name)));
    match found {
        Ok(card) => Json(card).into_response(),
        Err(failure) => failure.to_response(""),
    }
}

/// The name under which clients of the OpenAI API ask for Whisper, whatever Whisper there is.
const ANY_WHISPER: &str = "whisper-1";

/// Whether `name` means the model that is served.
fn served(model: &Model, name: &str) -> Result<(), Failure> {
    named(&model.facts().name, name)
}

/// Whether `name` means the model that is served under another.
pub(crate) fn named(served: &str, name: &str) -> Result<(), Failure> {
    if name == served || name == ANY_WHISPER {
        return Ok(());
    }
    Err(Failure::UnknownModel {
        asked: name.to_owned(),
        served: served.to_owned(),
    })
}

/// What `/v1/models` says of a model.
pub(crate) fn card(name: &str) -> Value {
    json!({ "id": name, "object": "model", "created": 0, "owned_by": "parlance" })
}
