//! The protocol over HTTP: paths under `/v2` in; JSON out, with the bytes of tensors behind it where the client asks for that
//! (the extension for binary tensor data). Decides nothing about work: `infer` does.

mod body;

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout_at;
use tokio_util::bytes::{Bytes, BytesMut};

use super::{
    PLATFORM, TensorModel, TensorSpec, VERSION,
    grpc::{EXTENSIONS, SERVER},
    infer::{infer, served},
};
use crate::{
    admission::Place,
    call::{self, Call},
    desk::{Desk, Phase},
    http,
    metrics::Api,
    status::{Code, Failure},
};

type Shared = State<Arc<Desk<TensorModel>>>;

/// Every path of the HTTP port.
pub(super) fn router(desk: Arc<Desk<TensorModel>>) -> Router {
    let paths = Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{name}", get(model))
        .route("/v2/models/{name}/ready", get(model_ready))
        .route("/v2/models/{name}/infer", post(model_infer))
        .route("/v2/models/{name}/versions/{version}", get(version))
        .route("/v2/models/{name}/versions/{version}/ready", get(version_ready))
        .route("/v2/models/{name}/versions/{version}/infer", post(version_infer))
        .merge(http::common());
    http::refusing_the_rest(paths, |failure| failure.to_inference_response("")).with_state(desk)
}

async fn server(State(desk): Shared, headers: HeaderMap) -> Response {
    let told = json!({ "name": SERVER, "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS });
    answer(desk.authenticate(&headers).map(|()| told))
}

async fn live(State(desk): Shared) -> Response {
    flag("live", !desk.admission().stuck())
}

async fn ready(State(desk): Shared) -> Response {
    flag("ready", is_ready(&desk))
}

fn is_ready(desk: &Desk<TensorModel>) -> bool {
    desk.phase() == Phase::Ready && !desk.admission().stuck()
}

fn flag(name: &str, holds: bool) -> Response {
    let status = if holds {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(json!({ name: holds }))).into_response()
}

async fn model(desk: Shared, Path(name): Path<String>, headers: HeaderMap) -> Response {
    version(desk, Path((name, String::new())), headers).await
}

async fn version(
    State(desk): Shared,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let found = named(&desk, &headers, &name, &version);
    answer(found.map(|model| metadata(&model)))
}

/// The model, for somebody who may ask for it and names it.
fn named(
    desk: &Desk<TensorModel>,
    headers: &HeaderMap,
    name: &str,
    version: &str,
) -> Result<Arc<TensorModel>, Failure> {
    desk.authenticate(headers)?;
    let model = desk.model()?;
    served(&model, name, version)?;
    Ok(model)
}

async fn model_ready(desk: Shared, Path(name): Path<String>, headers: HeaderMap) -> Response {
    version_ready(desk, Path((name, String::new())), headers).await
}

async fn version_ready(
    State(desk): Shared,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    match named(&desk, &headers, &name, &version) {
        Ok(_) if is_ready(&desk) => Json(json!({ "name": name, "ready": true })).into_response(),
        Ok(_) | Err(Failure::Unavailable(_)) => {
            let told = json!({ "name": name, "ready": false });
            (StatusCode::SERVICE_UNAVAILABLE, Json(told)).into_response()
        }
        Err(failure) => failure.to_inference_response(""),
    }
}

fn answer(told: Result<Value, Failure>) -> Response {
    match told {
        Ok(told) => Json(told).into_response(),
        Err(failure) => failure.to_inference_response(""),
    }
}

fn metadata(model: &TensorModel) -> Value {
    let specs = |specs: &[TensorSpec]| -> Vec<Value> {
        let spec = |spec: &TensorSpec| json!({ "name": spec.name, "datatype": spec.datatype.name(), "shape": spec.shape_of_protocol() });
        specs.iter().map(spec).collect()
    };
    let signature = model.signature();
    json!({
        "name": model.name(),
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": specs(&signature.inputs),
        "outputs": specs(&signature.outputs),
        "properties": { "digest": model.digest().digest },
    })
}

async fn model_infer(State(desk): Shared, Path(name): Path<String>, request: Request) -> Response {
    respond(&desk, &name, "", request).await
}

async fn version_infer(
    State(desk): Shared,
    Path((name, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    respond(&desk, &name, &version, request).await
}

async fn respond(desk: &Desk<TensorModel>, name: &str, version: &str, request: Request) -> Response {
    let mut call = desk.begin(Api::HttpInfer, request.headers(), desk.settings().timeout);
    let id = call::header_value(call.request_id());
    let mut response = match work(desk, name, version, request, &mut call).await {
        Ok(response) => {
            call.end(Code::Ok);
            response
        }
        Err(failure) => {
            let response = failure.to_inference_response(call.request_id());
            call.fail(&failure);
            response
        }
    };
    response.headers_mut().insert(call::REQUEST_ID, id);
    response
}

async fn work(
    desk: &Desk<TensorModel>,
    name: &str,
    version: &str,
    request: Request,
    call: &mut Call,
) -> Result<Response, Failure> {
    let limit = desk.settings().max_message_size;
    // A place comes first, so that no more requests are in memory at a time than there are places.
    let entered = desk.authenticate(request.headers()).and_then(|()| {
        let model = desk.model()?;
        served(&model, name, version)?;
        body::header_length(request.headers())?;
        Ok((desk.enter()?, model))
    });
    let (place, model): (Place, Arc<TensorModel>) = match entered {
        Ok(entered) => entered,
        Err(failure) => {
            http::transcriptions::discard(request.into_body(), limit).await;
            return Err(failure);
        }
    };
    let header = body::header_length(request.headers())?;
    let read = timeout_at(call.deadline().into(), received(request.into_body(), limit));
    let bytes = read
        .await
        .unwrap_or_else(|_| Err(Failure::deadline("the request was received")))?;
    let (asked, form) = body::read(bytes, header)?;
    let given = infer(desk, place, asked, call).await?;
    body::written(&model, &form, given)
}

/// The whole body, if it is not too large.
async fn received(body: Body, limit: usize) -> Result<Bytes, Failure> {
    let (mut chunks, mut bytes) = (body.into_data_stream(), BytesMut::new());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Failure::Cancelled)?;
        if bytes.len() + chunk.len() > limit {
            // Whoever writes on reads the answer afterwards.
            http::transcriptions::discard(Body::from_stream(chunks), limit).await;
            return Err(Failure::TooLarge { limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
