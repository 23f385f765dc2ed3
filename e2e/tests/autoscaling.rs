//! A busy service grows: on real CPU metrics, and on the audio that waits, by a real Prometheus and its metrics adapter.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crds::TranscriptionService;
use e2e::client::{clear_recordings, port_forward, transcribe};
use e2e::manifest::{example, has, merge, ready, repository, service};
use e2e::{TestNamespace, in_namespace};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use tokio::process::{Child, Command as Program};

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_busy_service_gets_more_pods() {
    in_namespace(|namespace| async move {
        let busy = json!({
            "resources": { "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "cpu": "500m", "memory": "512Mi" } },
            "autoscaling": {
                "minReplicas": 1, "maxReplicas": 2, "targetCPUUtilization": 50,
                "behavior": { "scaleUp": { "stabilizationWindowSeconds": 0 } }
            }
        });
        namespace.apply(&service("busy", busy)).await;
        namespace.until::<TranscriptionService>("busy", "to be ready", ready).await;

        let forward = port_forward(&namespace, "busy", 50051).await;
        let stop = Arc::new(AtomicBool::new(false));
        let load = tokio::spawn({
            let (stop, address, audio) = (stop.clone(), forward.address.clone(), clear_recordings()[0].audio());
            async move {
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) {
                    answered += usize::from(transcribe(&address, audio.clone()).await.is_ok());
                }
                answered
            }
        });
        let grown = namespace
            .until::<Deployment>("busy", "to be scaled to two pods", |d| {
                let replicas = d.spec.as_ref().and_then(|s| s.replicas);
                if replicas >= Some(2) { Ok(()) } else { Err(format!("{replicas:?} replicas")) }
            })
            .await;
        stop.store(true, Ordering::Relaxed);
        assert!(load.await.unwrap() > 0, "the service answered nothing under load");
        let owners: Vec<_> = grown.metadata.managed_fields.unwrap_or_default();
        let ours = owners.iter().filter(|f| f.manager.as_deref() == Some("parlance-operator"));
        for fields in ours {
            let fields = serde_json::to_value(&fields.fields_v1).unwrap();
            assert!(fields["f:spec"]["f:replicas"].is_null(), "the operator still owns replicas");
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn an_autoscaler_that_cannot_measure_a_container_is_told_until_it_can() {
    in_namespace(|namespace| async move {
        let scaled = json!({ "autoscaling": { "maxReplicas": 2, "targetCPUUtilization": 900 } });
        namespace.apply(&service("blind", scaled)).await;
        namespace.until::<TranscriptionService>("blind", "to be ready", ready).await;
        let deployment = namespace.api::<Deployment>().get("blind").await.unwrap();
        let image = deployment.spec.unwrap().template.spec.unwrap().containers.remove(0).image;
        let beside = json!({
            "name": "beside", "image": image,
            "args": ["activate", "--upstream=nowhere.invalid", "--model-name=none", "--grpc-addr=127.0.0.1:50061",
                     "--http-addr=127.0.0.1:8090", "--admin-addr=127.0.0.1:8092"],
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } }
        });
        let degraded = |status: &'static str, reason: &'static str| {
            move |service: &TranscriptionService| {
                ready(service)?;
                has(&service.status.clone().unwrap_or_default().conditions, "Degraded", status, Some(reason))
            }
        };
        let with = |containers: Value| json!({ "spec": { "podTemplate": { "spec": { "containers": containers } } } });
        namespace.merge::<TranscriptionService>("blind", with(json!([beside]))).await;
        let told = namespace
            .until::<TranscriptionService>("blind", "to say what cannot be measured", degraded("True", "MetricsUnavailable"))
            .await;
        let message = told.status.unwrap().message.unwrap();
        for part in ["container beside of Pod blind-", "give each container that podTemplate adds a request for it"] {
            assert!(message.contains(part), "{message}");
        }
        let mut measured = beside;
        measured["resources"] = json!({ "requests": { "cpu": "5m", "memory": "16Mi" } });
        namespace.merge::<TranscriptionService>("blind", with(json!([measured]))).await;
        namespace
            .until::<TranscriptionService>("blind", "to lack nothing", degraded("False", "AsExpected"))
            .await;
    })
    .await;
}

/// A Prometheus that scrapes the namespace's pods, and an adapter that serves what it knows as metrics of pods, both on this
/// machine. They end, and the cluster forgets them, with this.
struct Metrics {
    _prometheus: Child,
    _adapter: Child,
    _folder: tempfile::TempDir,
}

const API_SERVICE: &str = "v1beta1.custom.metrics.k8s.io";

impl Drop for Metrics {
    fn drop(&mut self) {
        forget();
    }
}

/// An API that no one answers for would keep namespaces from being deleted.
fn forget() {
    let arguments = ["delete", "apiservice", "--ignore-not-found", API_SERVICE];
    let deleted = Command::new("kubectl").args(arguments).status();
    assert!(
        deleted.is_ok_and(|status| status.success()),
        "failed to delete {API_SERVICE}"
    );
}

fn free_port() -> u16 {
    TcpListener::bind("0.0.0.0:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The rule of prometheus-adapter that docs/scaling.md gives people.
fn documented_rule() -> String {
    let page = fs::read_to_string(repository("docs/scaling.md")).unwrap();
    let block = page.split("```yaml\n").find(|block| block.starts_with("rules:"));
    block
        .expect("docs/scaling.md has no rules")
        .split("```")
        .next()
        .unwrap()
        .into()
}

fn run(program: &str, arguments: &[String], log: &Path) -> Child {
    let log = fs::File::create(log).unwrap();
    Program::new(program)
        .args(arguments)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("failed to run {program}: {error}"))
}

impl Metrics {
    async fn start(namespace: &TestNamespace, prometheus: &str, adapter: &str) -> Metrics {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let kubeconfig = std::env::var("KUBECONFIG").unwrap();
        let keep = |from: &str, to: &str| json!({ "source_labels": [from], "target_label": to });
        let config = json!({
            "global": { "scrape_interval": "1s" },
            "scrape_configs": [{
                "job_name": "pods",
                "kubernetes_sd_configs": [{ "role": "pod", "kubeconfig_file": kubeconfig, "namespaces": { "names": [namespace.name] } }],
                "relabel_configs": [
                    { "source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": "http", "action": "keep" },
                    keep("__meta_kubernetes_namespace", "namespace"),
                    keep("__meta_kubernetes_pod_name", "pod"),
                ],
            }],
        });
        fs::write(at("prometheus.yaml"), config.to_string()).unwrap();
        fs::write(at("rules.yaml"), documented_rule()).unwrap();
        let (web, secure) = (free_port(), free_port());
        let prometheus = run(
            prometheus,
            &[
                format!("--config.file={}", at("prometheus.yaml")),
                format!("--storage.tsdb.path={}", at("data")),
                format!("--web.listen-address=127.0.0.1:{web}"),
            ],
            &folder.path().join("prometheus.log"),
        );
        let with_kubeconfig = ["lister", "authentication", "authorization"];
        let mut arguments = with_kubeconfig
            .map(|part| format!("--{part}-kubeconfig={kubeconfig}"))
            .to_vec();
        arguments.extend([
            format!("--prometheus-url=http://127.0.0.1:{web}"),
            format!("--config={}", at("rules.yaml")),
            format!("--secure-port={secure}"),
            format!("--cert-dir={}", at("certificates")),
            "--metrics-relist-interval=5s".into(),
        ]);
        let adapter = run(adapter, &arguments, &folder.path().join("adapter.log"));

        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "adapter" },
            "spec": { "ports": [{ "name": "https", "port": 443, "targetPort": secure }] } });
        namespace
            .apply::<Service>(&serde_json::from_value(service).unwrap())
            .await;
        let node = std::env::var("PARLANCE_NODE_IP").unwrap_or_else(|_| "172.30.0.1".into());
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": "adapter", "labels": { "kubernetes.io/service-name": "adapter" } },
            "addressType": "IPv4", "endpoints": [{ "addresses": [node], "conditions": { "ready": true } }],
            "ports": [{ "name": "https", "port": secure, "protocol": "TCP" }]
        });
        namespace
            .apply::<EndpointSlice>(&serde_json::from_value(slice).unwrap())
            .await;
        let registered = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": API_SERVICE },
            "spec": {
                "group": "custom.metrics.k8s.io", "version": "v1beta1", "insecureSkipTLSVerify": true,
                "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": { "namespace": namespace.name, "name": "adapter", "port": 443 }
            }
        });
        fs::write(at("apiservice.json"), registered.to_string()).unwrap();
        let applied = Command::new("kubectl")
            .args(["apply", "--filename", &at("apiservice.json")])
            .status();
        assert!(applied.unwrap().success(), "failed to register the adapter");
        Metrics {
            _prometheus: prometheus,
            _adapter: adapter,
            _folder: folder,
        }
    }
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn audio_that_waits_gets_more_pods_once_the_cluster_can_measure_it() {
    let program = |name: &str| std::env::var(name).ok().filter(|path| Path::new(path).exists());
    let (Some(prometheus), Some(adapter)) = (
        program("PARLANCE_PROMETHEUS"),
        program("PARLANCE_PROMETHEUS_ADAPTER"),
    ) else {
        eprintln!("skipped: this cluster's metrics are not ours to serve");
        return;
    };
    forget();
    in_namespace(|namespace| async move {
        let mut wanted = example("queued-audio.yaml")[0].clone();
        let spec = json!({ "spec": {
            "resources": { "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "cpu": "200m", "memory": "512Mi" } },
            "autoscaling": {
                "maxReplicas": 2, "targetQueuedAudioSeconds": 2, "targetCPUUtilization": null,
                "behavior": { "scaleUp": { "stabilizationWindowSeconds": 0 } }
            }
        } });
        merge(&mut wanted, spec);
        namespace.apply::<TranscriptionService>(&serde_json::from_value(wanted).unwrap()).await;
        let degraded = |status: &'static str, reason: &'static str| {
            move |service: &TranscriptionService| {
                ready(service)?;
                has(&service.status.clone().unwrap_or_default().conditions, "Degraded", status, Some(reason))
            }
        };
        let lacking = namespace
            .until::<TranscriptionService>("by-queue", "to say that audio cannot be measured", degraded("True", "AutoscalingUnavailable"))
            .await;
        let message = lacking.status.unwrap().message.unwrap();
        assert!(message.contains("until then 80 percent of the CPU decides"), "{message}");

        let metrics = Metrics::start(&namespace, &prometheus, &adapter).await;
        namespace
            .until::<TranscriptionService>("by-queue", "to lack nothing", degraded("False", "AsExpected"))
            .await;
        let forward = port_forward(&namespace, "by-queue", 50051).await;
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..6)
            .map(|_| {
                let (stop, address) = (stop.clone(), forward.address.clone());
                let audio = clear_recordings()[0].audio();
                tokio::spawn(async move {
                    let mut answered = 0;
                    while !stop.load(Ordering::Relaxed) {
                        answered += usize::from(transcribe(&address, audio.clone()).await.is_ok());
                    }
                    answered
                })
            })
            .collect();
        namespace
            .until::<HorizontalPodAutoscaler>("by-queue", "to read the audio that waits, and to ask for two pods", |hpa| {
                let status = serde_json::to_value(&hpa.status).unwrap();
                let read = &status["currentMetrics"][0]["pods"]["metric"]["name"];
                match (read == "parlance_queued_audio_seconds", status["desiredReplicas"] == 2) {
                    (true, true) => Ok(()),
                    _ => Err(Value::to_string(&status)),
                }
            })
            .await;
        namespace
            .until::<Deployment>("by-queue", "to be scaled to two pods", |d| {
                let replicas = d.spec.as_ref().and_then(|s| s.replicas);
                if replicas == Some(2) { Ok(()) } else { Err(format!("{replicas:?} replicas")) }
            })
            .await;
        stop.store(true, Ordering::Relaxed);
        let mut answered = 0;
        for client in clients {
            answered += client.await.unwrap();
        }
        assert!(answered > 0, "the service answered nothing under load");
        drop(metrics);
    })
    .await;
}
