//! CPU and memory of the operator's pod, as its kubelet knows them.
//!
//! In: a client. Out: seconds of CPU so far, and the most memory that was seen. The kubelet looks every ten seconds or so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use e2e::operator;
use kube::{Client, ResourceExt};
use serde_json::Value;
use tokio::task::JoinHandle;

/// A look at the operator's pod, again and again.
pub struct Usage {
    client: Client,
    peak: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Usage {
    /// Begins to look.
    pub fn start(client: &Client) -> Usage {
        let peak = Arc::new(AtomicU64::new(0));
        let (most, with) = (peak.clone(), client.clone());
        let task = tokio::spawn(async move {
            loop {
                if let Some(pod) = stats(&with).await {
                    most.fetch_max(
                        pod["memory"]["workingSetBytes"].as_u64().unwrap_or(0),
                        Ordering::Relaxed,
                    );
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        });
        Usage {
            client: client.clone(),
            peak,
            task,
        }
    }

    /// Seconds of CPU since the pod began.
    pub async fn cpu_seconds(&self) -> f64 {
        let pod = stats(&self.client).await.unwrap_or_default();
        pod["cpu"]["usageCoreNanoSeconds"].as_f64().unwrap_or(0.0) / 1e9
    }

    /// The most memory that was seen.
    pub fn peak(&self) -> String {
        format!(
            "{:.0} MiB",
            self.peak.load(Ordering::Relaxed) as f64 / f64::from(1 << 20)
        )
    }

    /// Ends the looking.
    pub fn stop(self) {
        self.task.abort();
    }
}

/// What the kubelet says of the operator's pod.
async fn stats(client: &Client) -> Option<Value> {
    let pod = operator::pods(client).await.into_iter().next()?;
    let node = pod.spec.as_ref()?.node_name.clone()?;
    let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
    let request = http::Request::get(path).body(Vec::new()).ok()?;
    let summary: Value = client.request(request).await.ok()?;
    let pods = summary["pods"].as_array()?;
    pods.iter()
        .find(|found| found["podRef"]["name"] == pod.name_any())
        .cloned()
}
