//! An operator for some namespaces only. It changes the release, so it runs after all others and alone.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::collections::BTreeSet;

use crds::TranscriptionService;
use e2e::helm::{self, Restored};
use e2e::manifest::{ready, repository, service};
use e2e::{TestNamespace, in_namespace};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::ResourceExt;
use kube::api::Api;
use serde_json::json;

async fn pods(namespace: &TestNamespace) -> BTreeSet<String> {
    let pods = namespace.api::<Pod>().list(&Default::default()).await.unwrap();
    pods.iter().filter_map(ResourceExt::uid).collect()
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn with_namespaces_the_operator_works_there_and_nowhere_else() {
    in_namespace(|ours| async move {
        in_namespace(|other| async move {
            let restored = Restored::at_the_end();
            let only = format!("namespaces={{{}}}", ours.name);
            helm::upgrade(&repository("charts/parlance"), &[&only]);
            let roles: Api<ClusterRole> = Api::all(ours.client.clone());
            assert!(
                roles.get_opt("parlance").await.unwrap().is_none(),
                "nothing is granted cluster-wide"
            );

            other.apply(&service("there", json!({}))).await;
            ours.apply(&service("here", json!({}))).await;
            ours.until::<TranscriptionService>("here", "to be ready", ready)
                .await;
            let there: TranscriptionService = other.api().get("there").await.unwrap();
            assert!(there.status.is_none(), "{:?}", there.status);
            assert!(
                other
                    .api::<Deployment>()
                    .get_opt("there")
                    .await
                    .unwrap()
                    .is_none()
            );

            let before = pods(&ours).await;
            drop(restored);
            other
                .until::<TranscriptionService>("there", "to be ready", ready)
                .await;
            assert_eq!(pods(&ours).await, before, "the way back restarts nothing");
        })
        .await;
    })
    .await;
}
