//! A service that asks for a PodMonitor, in a cluster that gets the Prometheus operator's kinds only later.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use crds::TranscriptionService;
use e2e::in_namespace;
use e2e::kinds::{Definitions, objects, until, until_gone};
use e2e::manifest::{has, merge, ready, service};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_service_goes_without_a_pod_monitor_until_the_cluster_has_the_kind() {
    let Some(definitions) = Definitions::of("PARLANCE_PROMETHEUS_CRDS") else {
        return;
    };
    definitions.take_away().await;
    let kinds = definitions.clone();
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

        kinds.bring().await;
        namespace
            .until::<TranscriptionService>("watched", "to lack nothing", degraded("False", "AsExpected"))
            .await;
        let group = "monitoring.coreos.com";
        let monitors = objects(&namespace, group, "v1", "PodMonitor");
        let monitor = until(&monitors, "watched", "the PodMonitor", |_| true).await;
        assert_eq!(monitor.data["spec"]["podMetricsEndpoints"][0]["port"], "http");
        assert_eq!(monitor.metadata.labels.unwrap()["release"], "prom");
        let rules = objects(&namespace, group, "v1", "PrometheusRule");
        until(&rules, "watched", "the PrometheusRule", |_| true).await;

        let edit = Patch::Merge(json!({ "spec": { "podMetricsEndpoints": [{ "port": "http", "path": "/other" }] } }));
        monitors.patch("watched", &PatchParams::default(), &edit).await.unwrap();
        until(&monitors, "watched", "its path to be put back", |monitor| {
            monitor.data["spec"]["podMetricsEndpoints"][0]["path"] == "/metrics"
        })
        .await;
        let old = monitors.get("watched").await.unwrap().metadata.uid;
        monitors.delete("watched", &DeleteParams::default()).await.unwrap();
        until(&monitors, "watched", "it to come back", |monitor| monitor.metadata.uid != old).await;

        let mut without = wanted;
        merge(&mut without, json!({ "monitoring": null }));
        namespace.apply(&service("watched", without)).await;
        until_gone(&monitors, "watched").await;
    })
    .await;
    definitions.take_away().await;
}
