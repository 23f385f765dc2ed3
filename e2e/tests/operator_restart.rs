//! The operator's own pod ends in the middle, and nothing restarts with it.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::collections::BTreeMap;

use crds::TranscriptionService;
use e2e::manifest::{ready, service};
use e2e::{Found, TestNamespace, in_namespace, operator, wait_for};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use serde_json::json;

/// Each pod's identity and how often its containers were restarted.
async fn pods(namespace: &TestNamespace) -> BTreeMap<String, i32> {
    let pods = namespace.api::<Pod>().list(&Default::default()).await.unwrap();
    let restarts = |pod: &Pod| {
        let status = pod.status.clone().unwrap_or_default();
        status
            .container_statuses
            .unwrap_or_default()
            .iter()
            .map(|c| c.restart_count)
            .sum()
    };
    pods.iter()
        .map(|pod| (pod.uid().unwrap_or_default(), restarts(pod)))
        .collect()
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn the_operator_restarts_and_nothing_restarts_with_it() {
    in_namespace(|namespace| async move {
        namespace.apply(&service("calm", json!({ "replicas": 2 }))).await;
        namespace
            .until::<TranscriptionService>("calm", "to be ready", ready)
            .await;
        let before = pods(&namespace).await;
        assert_eq!(before.len(), 2);

        // It is killed while it works on another object.
        namespace.apply(&service("new", json!({}))).await;
        let old = operator::pods(&namespace.client).await;
        let api: Api<Pod> = Api::namespaced(namespace.client.clone(), operator::NAMESPACE);
        for pod in &old {
            api.delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
                .await
                .unwrap();
        }
        wait_for("a new operator pod", || async {
            let now = operator::pods(&namespace.client).await;
            let fresh = now
                .iter()
                .filter(|pod| old.iter().all(|o| o.uid() != pod.uid()))
                .count();
            if fresh > 0 {
                Found::Yes(())
            } else {
                Found::NotYet(format!("{} pods", now.len()))
            }
        })
        .await;
        // The new one works: it finishes what the old one began, and takes up what came since.
        namespace
            .until::<TranscriptionService>("new", "to be ready", ready)
            .await;
        namespace.apply(&service("after", json!({}))).await;
        namespace
            .until::<TranscriptionService>("after", "to be ready", ready)
            .await;

        let after = pods(&namespace).await;
        for (uid, restarts) in &before {
            assert_eq!(
                after.get(uid),
                Some(restarts),
                "a serving pod was replaced or restarted"
            );
        }
    })
    .await;
}
