//! The ports in; who answers on them out: this process what every pod would answer alike, a pod the rest.
//!
//! Only the paths of the two APIs wake pods. Health and reflection of gRPC, the page, `/v1/models`, health and metrics are
//! answered here, and so is whatever is nowhere: somebody who tries doors starts nothing.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

use super::{Activator, admin, forward};
use crate::{
    http::{card, named, page, refusing_the_rest},
    metrics::CONTENT_TYPE as OPENMETRICS,
    proto::FILE_DESCRIPTOR_SET,
    service,
};

/// Every service of the gRPC port.
pub(super) fn routes(
    activator: &Arc<Activator>,
    health: &HealthReporter,
) -> Result<Routes, tonic_reflection::server::Error> {
    let path = format!("/{}/{{method}}", service::SERVICE_NAME);
    let held = Routes::default().into_axum_router().merge(
        Router::new()
            .route(&path, post(forward::grpc))
            .with_state(activator.clone()),
    );
    service::with_health_and_reflection(Routes::from(held), FILE_DESCRIPTOR_SET, health)
}

/// Every path of the HTTP port.
pub(super) fn router(activator: Arc<Activator>) -> Router {
    let paths = Router::new()
        .route("/", get(page::index))
        .route("/page/{name}", get(page::part))
        .route("/v1/audio/transcriptions", post(forward::http))
        .route("/v1/audio/translations", post(forward::http))
        .route("/v1/realtime", get(forward::http).connect(forward::http))
        .route("/v1/models", get(models))
        .route("/v1/models/{name}", get(model))
        .route("/health/live", get(admin::live))
        .route("/health/ready", get(admin::ready))
        .route("/metrics", get(scrape));
    refusing_the_rest(paths, |failure| failure.to_response("")).with_state(activator)
}

async fn models(State(activator): State<Arc<Activator>>, headers: HeaderMap) -> Response {
    match activator.authenticate(&headers) {
        Ok(()) => Json(json!({ "object": "list", "data": [card(&activator.model_name)] })).into_response(),
        Err(failure) => failure.to_response(""),
    }
}

async fn model(
    State(activator): State<Arc<Activator>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let found = activator
        .authenticate(&headers)
        .and_then(|()| named(&activator.model_name, &name));
    match found {
        Ok(()) => Json(card(&activator.model_name)).into_response(),
        Err(failure) => failure.to_response(""),
    }
}

pub(super) async fn scrape(State(activator): State<Arc<Activator>>) -> Response {
    match activator.metrics.encode(activator.demand.now()) {
        Ok(text) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
