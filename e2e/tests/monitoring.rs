//! A service that asks for a PodMonitor, in a cluster that gets the Prometheus operator's kinds only later.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::process::Command;

use crds::TranscriptionService;
use e2e::manifest::{has, merge, ready, service};
use e2e::{Found, TestNamespace, in_namespace, wait_for};
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::json;

/// The kinds of the Prometheus operator, from its own module; none on a cluster that is not ours to change.
fn definitions() -> Option<String> {
    std::env::var("PARLANCE_PROMETHEUS_CRDS")
        .ok()
        .filter(|path| !path.is_empty())
}

fn kubectl(arguments: &[&str]) {
    let status = Command::new("kubectl")
        .args(arguments)
        .status()
        .expect("failed to run kubectl");
    assert!(status.success(), "kubectl {arguments:?}");
}

fn objects(namespace: &TestNamespace, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", kind);
    let resource = ApiResource::from_gvk(&kind);
    Api::namespaced_with(Client::clone(&namespace.client), &namespace.name, &resource)
}

/// Waits until the object is there and `holds` of it.
async fn until(
    api: &Api<DynamicObject>,
    what: &str,
    holds: impl Fn(&DynamicObject) -> bool,
) -> DynamicObject {
    wait_for(what, || async {
        match api.get_opt("watched").await {
            Ok(Some(object)) if holds(&object) => Found::Yes(object),
            other => Found::NotYet(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_service_goes_without_a_pod_monitor_until_the_cluster_has_the_kind() {
    let Some(definitions) = definitions() else {
        eprintln!("skipped: this cluster's kinds are not ours to add and remove");
        return;
    };
    kubectl(&["delete", "--ignore-not-found", "--filename", &definitions]);
    let file = definitions.clone();
    in_namespace(|namespace| async move {
        let wanted = json!({ "monitoring": { "podMonitor": { "labels": { "release": "prom" } }, "prometheusRule": {} } });
        namespace.apply(&service("watched", wanted.clone())).await;
        let degraded = |status: &'static str, reason: &'static str| {
            move |service: &TranscriptionService| {
                ready(service)?;
                let status_of = service.status.clone().unwrap_or_default();
                has(&status_of.conditions, "Degraded", status, Some(reason))
            }
        };
        let lacks = degraded("True", "MonitoringUnavailable");
        namespace.until::<TranscriptionService>("watched", "to serve and say what is missing", lacks).await;

        kubectl(&["apply", "--server-side", "--filename", &file]);
        namespace
            .until::<TranscriptionService>("watched", "to lack nothing", degraded("False", "AsExpected"))
            .await;
        let monitors = objects(&namespace, "PodMonitor");
        let monitor = until(&monitors, "the PodMonitor", |_| true).await;
        assert_eq!(monitor.data["spec"]["podMetricsEndpoints"][0]["port"], "http");
        assert_eq!(monitor.metadata.labels.unwrap()["release"], "prom");
        until(&objects(&namespace, "PrometheusRule"), "the PrometheusRule", |_| true).await;

        let edit = Patch::Merge(json!({ "spec": { "podMetricsEndpoints": [{ "port": "http", "path": "/other" }] } }));
        monitors.patch("watched", &PatchParams::default(), &edit).await.unwrap();
        until(&monitors, "its path to be put back", |monitor| {
            monitor.data["spec"]["podMetricsEndpoints"][0]["path"] == "/metrics"
        })
        .await;
        let old = monitors.get("watched").await.unwrap().metadata.uid;
        monitors.delete("watched", &DeleteParams::default()).await.unwrap();
        until(&monitors, "it to come back", |monitor| monitor.metadata.uid != old).await;

        let mut without = wanted;
        merge(&mut without, json!({ "monitoring": null }));
        namespace.apply(&service("watched", without)).await;
        wait_for("the PodMonitor to go", || async {
            match monitors.get_opt("watched").await {
                Ok(None) => Found::Yes(()),
                other => Found::NotYet(format!("{other:?}")),
            }
        })
        .await;
    })
    .await;
    kubectl(&["delete", "--ignore-not-found", "--filename", &definitions]);
}
