//! Deleting an object leaves nothing behind but a volume that was to be retained.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use crds::{ModelDeployment, TranscriptionService};
use e2e::manifest::{model, ready, service};
use e2e::{Found, TestNamespace, in_namespace, wait_for};
use kube::api::{Api, DeleteParams, DynamicObject};
use kube::discovery::Discovery;
use kube::{ResourceExt, core::discovery::Scope};
use serde_json::json;

/// Everything in the namespace that carries Parlance's label, whatever its kind.
async fn leftovers(namespace: &TestNamespace) -> Vec<String> {
    let discovery = Discovery::new(namespace.client.clone()).run().await.unwrap();
    let mut found = Vec::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if capabilities.scope != Scope::Namespaced || !capabilities.supports_operation("list") {
                continue;
            }
            let api: Api<DynamicObject> =
                Api::namespaced_with(namespace.client.clone(), &namespace.name, &resource);
            let params =
                kube::api::ListParams::default().labels("app.kubernetes.io/managed-by=parlance-operator");
            let objects = api.list(&params).await.map(|list| list.items).unwrap_or_default();
            found.extend(
                objects
                    .iter()
                    .map(|object| format!("{}/{}", resource.kind, object.name_any())),
            );
        }
    }
    found.sort();
    found
}

async fn until_only(namespace: &TestNamespace, expected: &[&str]) {
    wait_for(&format!("only {expected:?} to be left"), || async {
        let left = leftovers(namespace).await;
        if left == expected {
            Found::Yes(())
        } else {
            Found::NotYet(format!("{left:?}"))
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn deleting_a_service_leaves_nothing_but_a_retained_volume() {
    in_namespace(|namespace| async move {
        namespace.apply(&service("gone", json!({}))).await;
        namespace
            .apply(&service(
                "kept",
                json!({ "model": { "cache": { "size": "128Mi", "reclaim": "Retain" } } }),
            ))
            .await;
        namespace
            .until::<TranscriptionService>("gone", "to be ready", ready)
            .await;
        namespace
            .until::<TranscriptionService>("kept", "to be ready", ready)
            .await;
        assert!(
            leftovers(&namespace).await.len() >= 10,
            "the list must see the children: {:?}",
            leftovers(&namespace).await
        );
        for name in ["gone", "kept"] {
            namespace
                .api::<TranscriptionService>()
                .delete(name, &DeleteParams::default())
                .await
                .unwrap();
        }
        until_only(&namespace, &["PersistentVolumeClaim/kept-cache"]).await;

        namespace
            .apply(&service(
                "kept",
                json!({ "model": { "cache": { "size": "128Mi", "reclaim": "Retain" } } }),
            ))
            .await;
        namespace
            .until::<TranscriptionService>("kept", "to take up its volume again", ready)
            .await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn deleting_a_model_leaves_nothing() {
    in_namespace(|namespace| async move {
        namespace
            .apply(&model("gone", json!({ "serving": { "profile": "nano" } })))
            .await;
        namespace
            .until::<ModelDeployment>("gone", "to be deployed", |m| {
                let phase = m.status.as_ref().and_then(|s| s.phase);
                if phase == Some(crds::model_deployment::ModelPhase::Deployed) {
                    Ok(())
                } else {
                    Err(format!("{phase:?}"))
                }
            })
            .await;
        namespace
            .api::<ModelDeployment>()
            .delete("gone", &DeleteParams::default())
            .await
            .unwrap();
        until_only(&namespace, &[]).await;
    })
    .await;
}
