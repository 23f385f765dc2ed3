//! The port for whoever decides on pods in; `/demand`, health and metrics out. It changes nothing, and needs no key: it says how
//! many requests there are, and nothing of them.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::json;

use super::{Activator, answers::scrape, demand::Demand};

/// The longest that a question may wait for its answer.
const LONGEST: Duration = Duration::from_secs(60);

/// Every path of the port.
pub(super) fn router(activator: Arc<Activator>) -> Router {
    Router::new()
        .route("/demand", get(demand))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(scrape))
        .with_state(activator)
}

/// What is known, and for how many seconds its change may be waited for.
#[derive(Debug, Deserialize)]
struct Asked {
    since: Option<u64>,
    #[serde(default)]
    wait: u64,
}

async fn demand(State(activator): State<Arc<Activator>>, Query(asked): Query<Asked>) -> Json<Demand> {
    let patience = Duration::from_secs(asked.wait).min(LONGEST);
    let told = activator.demand.after(asked.since, patience);
    // Who waits for an answer keeps nobody from leaving.
    match activator.closing.clone().run_until_cancelled_owned(told).await {
        Some(demand) => Json(demand),
        None => Json(activator.demand.now()),
    }
}

pub(super) async fn live() -> Response {
    Json(json!({ "status": "live" })).into_response()
}

/// Ready also when there are no pods: a request would be held and then served.
pub(super) async fn ready(State(activator): State<Arc<Activator>>) -> Response {
    if activator.closing.is_cancelled() {
        let body = json!({ "status": "draining", "reason": "the server is shutting down" });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    Json(json!({ "status": "ready" })).into_response()
}
