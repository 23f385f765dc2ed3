//! Children that people edit or delete are put back, and a service at rest is left at rest.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use crds::{ModelDeployment, TranscriptionService};
use e2e::audit;
use e2e::manifest::{merge, model, ready, service};
use e2e::{Found, TestNamespace, in_namespace, wait_for};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn an_edited_child_is_repaired() {
    in_namespace(|namespace| async move {
        namespace.apply(&service("edited", json!({}))).await;
        namespace.until::<TranscriptionService>("edited", "to be ready", ready).await;
        let good = namespace.api::<Deployment>().get("edited").await.unwrap();
        let container = |d: &Deployment| d.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].clone();

        let name = container(&good).name;
        let broken = json!({ "spec": { "template": { "spec": { "containers": [{ "name": name, "image": "localhost/other:dev" }] } } } });
        let patch = Patch::Strategic(broken);
        namespace.api::<Deployment>().patch("edited", &PatchParams::default(), &patch).await.unwrap();
        let wanted = container(&good).image;
        namespace
            .until::<Deployment>("edited", "to have its image back", |d| {
                let image = container(d).image;
                if image == wanted { Ok(()) } else { Err(format!("image {image:?}")) }
            })
            .await;

        namespace.merge::<Service>("edited", json!({ "spec": { "selector": { "app.kubernetes.io/instance": "nobody" } } })).await;
        namespace
            .until::<Service>("edited", "to select the pods again", |s| {
                let selector = s.spec.clone().unwrap().selector.unwrap_or_default();
                if selector.values().any(|v| v == "nobody") { Err(format!("{selector:?}")) } else { Ok(()) }
            })
            .await;
        namespace.until::<TranscriptionService>("edited", "to be ready again", ready).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_deleted_child_comes_back() {
    in_namespace(|namespace| async move {
        namespace.apply(&service("deleted", json!({}))).await;
        namespace
            .until::<TranscriptionService>("deleted", "to be ready", ready)
            .await;
        let old = namespace.api::<Deployment>().get("deleted").await.unwrap().uid();
        let old_service = namespace.api::<Service>().get("deleted").await.unwrap().uid();
        namespace
            .api::<Deployment>()
            .delete("deleted", &DeleteParams::default())
            .await
            .unwrap();
        namespace
            .api::<Service>()
            .delete("deleted", &DeleteParams::default())
            .await
            .unwrap();
        namespace
            .until::<Deployment>("deleted", "to come back", |d| {
                if d.uid() == old {
                    Err("the old one".into())
                } else {
                    Ok(())
                }
            })
            .await;
        namespace
            .until::<Service>("deleted", "to come back", |s| {
                if s.uid() == old_service {
                    Err("the old one".into())
                } else {
                    Ok(())
                }
            })
            .await;
        namespace
            .until::<TranscriptionService>("deleted", "to be ready again", ready)
            .await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_child_that_is_no_longer_wanted_is_pruned() {
    in_namespace(|namespace| async move {
        let scaled = service(
            "pruned",
            json!({ "autoscaling": { "maxReplicas": 2, "targetCPUUtilization": 500 } }),
        );
        namespace.apply(&scaled).await;
        namespace
            .until::<HorizontalPodAutoscaler>("pruned", "to exist", |_| Ok(()))
            .await;
        namespace
            .until::<TranscriptionService>("pruned", "to be ready", ready)
            .await;
        namespace
            .apply(&service("pruned", json!({ "replicas": 1 })))
            .await;
        namespace.until_gone::<HorizontalPodAutoscaler>("pruned").await;
        namespace
            .until::<TranscriptionService>("pruned", "to be ready", ready)
            .await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn everything_goes_that_a_spec_no_longer_asks_for() {
    in_namespace(|namespace| async move {
        namespace
            .apply(&model("shared", json!({ "serving": { "profile": "nano" } })))
            .await;
        namespace
            .apply(&service(
                "moved",
                json!({ "gpu": { "deviceClassName": "none.example.com" } }),
            ))
            .await;
        namespace
            .until::<Deployment>("shared-model", "to exist", |_| Ok(()))
            .await;
        namespace
            .until::<PersistentVolumeClaim>("moved-cache", "to exist", |_| Ok(()))
            .await;
        let templates = namespace.api::<ResourceClaimTemplate>();
        let count = || async { templates.list(&ListParams::default()).await.unwrap().items.len() };
        wait_for("a template of claims", || async { found(count().await == 1) }).await;

        // Another pin is verified by another Job, and the one before goes.
        let verified = |model: &ModelDeployment| {
            let digest = model.status.as_ref().and_then(|status| status.digest.clone());
            digest.map(drop).ok_or_else(|| "not verified".to_string())
        };
        let verified = namespace
            .until::<ModelDeployment>("shared", "to be verified", verified)
            .await;
        let first = jobs(&namespace).await;
        let digest = verified.status.unwrap().digest;
        namespace
            .merge::<ModelDeployment>("shared", json!({ "spec": { "digest": digest } }))
            .await;
        wait_for("another Job in the place of the first", || async {
            let now = jobs(&namespace).await;
            found(now.len() == 1 && now != first)
        })
        .await;

        namespace
            .merge::<ModelDeployment>("shared", json!({ "spec": { "serving": null } }))
            .await;
        let shared = json!({ "spec": { "model": null, "modelRef": { "name": "shared" }, "gpu": null } });
        namespace.merge::<TranscriptionService>("moved", shared).await;
        namespace.until_gone::<Deployment>("shared-model").await;
        namespace.until_gone::<Service>("shared-model").await;
        namespace.until_gone::<ServiceAccount>("shared-model").await;
        namespace
            .until::<TranscriptionService>("moved", "to be ready with the shared model", ready)
            .await;
        namespace.until_gone::<PersistentVolumeClaim>("moved-cache").await;
        wait_for("no template of claims", || async { found(count().await == 0) }).await;
    })
    .await;
}

async fn jobs(namespace: &TestNamespace) -> Vec<String> {
    let list = namespace.api::<Job>().list(&ListParams::default()).await.unwrap();
    list.iter().map(ResourceExt::name_any).collect()
}

fn found(yes: bool) -> Found<()> {
    if yes {
        Found::Yes(())
    } else {
        Found::NotYet("not so".into())
    }
}

/// Turning the autoscaler on takes `replicas` out of the Deployment; done carelessly, that resets it to one.
#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn handing_replicas_to_the_autoscaler_drops_no_pod() {
    in_namespace(|namespace| async move {
        namespace.apply(&service("handed", json!({ "replicas": 3 }))).await;
        namespace
            .until::<TranscriptionService>("handed", "to have three pods", |s| {
                ready(s)?;
                let n = s.status.as_ref().map(|s| s.ready_replicas);
                if n == Some(3) { Ok(()) } else { Err(format!("{n:?} ready")) }
            })
            .await;
        namespace.until::<PodDisruptionBudget>("handed", "to exist", |_| Ok(())).await;
        let mut autoscaled = serde_json::to_value(service("handed", json!({}))).unwrap();
        merge(&mut autoscaled, json!({ "spec": { "autoscaling": { "minReplicas": 3, "maxReplicas": 4, "targetCPUUtilization": 900 } } }));
        let autoscaled: TranscriptionService = serde_json::from_value(autoscaled).unwrap();
        let generation = namespace.apply(&autoscaled).await.metadata.generation;
        namespace.until::<HorizontalPodAutoscaler>("handed", "to exist", |_| Ok(())).await;
        namespace
            .until::<TranscriptionService>("handed", "to observe the change", |s| {
                let seen = s.status.as_ref().and_then(|s| s.observed_generation);
                if seen == generation { Ok(()) } else { Err(format!("{seen:?}")) }
            })
            .await;
        // The Deployment's own history tells whether it was ever scaled down: its ReplicaSet's events would say so.
        let events = namespace.api::<k8s_openapi::api::core::v1::Event>().list(&Default::default()).await.unwrap();
        let down: Vec<_> = events.iter().filter_map(|e| e.message.clone()).filter(|m| m.contains("Scaled down")).collect();
        assert!(down.is_empty(), "pods were dropped: {down:?}");
        let deployment = namespace.api::<Deployment>().get("handed").await.unwrap();
        assert_eq!(deployment.spec.unwrap().replicas, Some(3));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_service_at_rest_is_not_written_to() {
    in_namespace(|namespace| async move {
        namespace
            .apply(&service(
                "resting",
                json!({ "autoscaling": { "maxReplicas": 2, "targetCPUUtilization": 900 } }),
            ))
            .await;
        namespace
            .until::<TranscriptionService>("resting", "to be ready", ready)
            .await;
        if audit::operators_writes(&namespace.name).is_none() {
            return;
        }
        let operators = || audit::operators_writes(&namespace.name).unwrap_or_default();
        assert!(
            !operators().is_empty(),
            "the audit log does not show the operator's own writes: the test would prove nothing"
        );
        // The HPA's and the kubelet's late status writes make the operator reconcile; wait until its writes have settled
        // for ten looks in a row, then make it reconcile three times more by touching the object's annotations.
        let mut last = (0, 0);
        wait_for("the operator's writes to settle", || {
            let now = operators().len();
            last = if now == last.0 {
                (now, last.1 + 1)
            } else {
                (now, 0)
            };
            let settled = last.1 >= 10;
            async move {
                if settled {
                    Found::Yes(())
                } else {
                    Found::NotYet(format!("{now} writes"))
                }
            }
        })
        .await;
        let before = operators();
        e2e::operator::look_again(&namespace, "resting", 3).await;
        let after = operators();
        assert_eq!(
            before.len(),
            after.len(),
            "the operator wrote at rest: {:?}",
            &after[before.len()..]
        );
    })
    .await;
}
