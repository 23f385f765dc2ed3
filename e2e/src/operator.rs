//! The running operator: its pods, what its metrics say, and how it is made to look again.

use crds::TranscriptionService;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::namespace::TestNamespace;
use crate::wait::{Found, wait_for};

/// Namespace that `make e2e` installs the operator in.
pub const NAMESPACE: &str = "parlance-system";

/// Label selector of its pods.
pub const SELECTOR: &str = "app.kubernetes.io/component=operator,app.kubernetes.io/part-of=parlance";

/// The operator's pods that are not on their way out.
///
/// # Panics
/// When they cannot be listed.
pub async fn pods(client: &Client) -> Vec<Pod> {
    let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let pods = api
        .list(&ListParams::default().labels(SELECTOR))
        .await
        .expect("failed to list the operator's pods");
    pods.into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .collect()
}

/// The operator's metrics, read through the apiserver's proxy.
///
/// # Panics
/// When there is no operator or it does not answer.
pub async fn metrics(client: &Client) -> String {
    try_metrics(client)
        .await
        .expect("failed to read the operator's metrics")
}

async fn try_metrics(client: &Client) -> Result<String, String> {
    let pod = pods(client).await.into_iter().next();
    let pod = pod.ok_or("no operator runs in parlance-system")?;
    let path = format!(
        "/api/v1/namespaces/{NAMESPACE}/pods/{}:8080/proxy/metrics",
        pod.name_any()
    );
    let request = http::Request::get(path).body(Vec::new()).expect("a request");
    client
        .request_text(request)
        .await
        .map_err(|error| error.to_string())
}

/// Reconciles of TranscriptionServices that the operator has finished since it started.
///
/// # Panics
/// As [`metrics`].
pub async fn reconciles(client: &Client) -> f64 {
    services_reconciled(&metrics(client).await)
}

/// Makes the operator look at a service again, so many times, by annotations that mean nothing to it.
///
/// # Panics
/// As [`metrics`], and when it does not look.
pub async fn look_again(namespace: &TestNamespace, service: &str, times: u32) {
    for touch in 1..=times {
        let before = reconciles(&namespace.client).await;
        let touched = json!({ "metadata": { "annotations": { "e2e/touch": touch.to_string() } } });
        namespace.merge::<TranscriptionService>(service, touched).await;
        wait_for("the operator to have reconciled again", || async {
            match reconciles(&namespace.client).await {
                now if now > before => Found::Yes(()),
                now => Found::NotYet(format!("{now} reconciles")),
            }
        })
        .await;
    }
}

/// As [`reconciles`], for an operator that may not answer yet.
///
/// # Errors
/// That there is none, or what it says.
pub async fn try_reconciles(client: &Client) -> Result<f64, String> {
    Ok(services_reconciled(&try_metrics(client).await?))
}

fn services_reconciled(metrics: &str) -> f64 {
    let lines = metrics.lines().filter(|line| {
        line.starts_with("parlance_operator_reconcile_duration_seconds_count")
            && line.contains("TranscriptionService")
    });
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
