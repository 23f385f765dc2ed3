//! The kinds of KEDA and of the VerticalPodAutoscaler, as their own definitions have them: our objects are taken, put back and
//! removed. Neither of the two runs here, so that nothing is scaled by them.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use crds::TranscriptionService;
use e2e::kinds::{Definitions, objects, until, until_gone};
use e2e::manifest::{has, ready, service};
use e2e::{TestNamespace, in_namespace};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

/// Waits until the service serves and is told to lack this.
async fn until_lacks(namespace: &TestNamespace, status: &str, reason: &str) {
    namespace
        .until::<TranscriptionService>(
            "scaled",
            &format!("Degraded to be {status}, {reason}"),
            |service| {
                ready(service)?;
                let conditions = &service.status.as_ref().unwrap().conditions;
                has(conditions, "Degraded", status, Some(reason))
            },
        )
        .await;
}

async fn edited_and_deleted_it_is_put_back(
    api: &Api<DynamicObject>,
    edit: Value,
    is_back: impl Fn(&DynamicObject) -> bool,
) {
    api.patch("scaled", &PatchParams::default(), &Patch::Merge(edit))
        .await
        .unwrap();
    until(api, "scaled", "the edit to be taken back", is_back).await;
    let old = api.get("scaled").await.unwrap().uid();
    api.delete("scaled", &DeleteParams::default()).await.unwrap();
    until(api, "scaled", "it to come back", |object| object.uid() != old).await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_scaled_object_is_taken_by_kedas_own_schema_and_hands_back() {
    let Some(definitions) = Definitions::of("PARLANCE_KEDA_CRDS") else {
        return;
    };
    definitions.take_away().await;
    let kinds = definitions.clone();
    in_namespace(|namespace| async move {
        let autoscaling = json!({
            "minReplicas": 2, "maxReplicas": 3, "targetCPUUtilization": 900, "targetQueuedAudioSeconds": 600,
            "keda": { "serverAddress": "http://prometheus.monitoring.svc:9090", "pollingInterval": 15, "authenticationRef": "a" },
            "behavior": { "scaleDown": { "stabilizationWindowSeconds": 60 } },
        });
        namespace.apply(&service("scaled", json!({ "autoscaling": autoscaling }))).await;
        until_lacks(&namespace, "True", "AutoscalingUnavailable").await;

        kinds.bring().await;
        let api = objects(&namespace, "keda.sh", "v1alpha1", "ScaledObject");
        let made = until(&api, "scaled", "the ScaledObject", |_| true).await;
        let spec = &made.data["spec"];
        assert_eq!((&spec["maxReplicaCount"], &spec["pollingInterval"]), (&json!(3), &json!(15)));
        let types: Vec<&Value> = spec["triggers"].as_array().unwrap().iter().map(|one| &one["type"]).collect();
        assert!(types.contains(&&json!("prometheus")) && types.contains(&&json!("cpu")), "{types:?}");
        assert_eq!(
            spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"],
            60
        );
        namespace.until_gone::<HorizontalPodAutoscaler>("scaled").await;
        until_lacks(&namespace, "False", "AsExpected").await;
        edited_and_deleted_it_is_put_back(&api, json!({ "spec": { "maxReplicaCount": 9 } }), |object| {
            object.data["spec"]["maxReplicaCount"] == 3
        })
        .await;

        let without = json!({ "spec": { "autoscaling": { "keda": null, "targetQueuedAudioSeconds": null } } });
        namespace.merge::<TranscriptionService>("scaled", without).await;
        until_gone(&api, "scaled").await;
        namespace.until::<HorizontalPodAutoscaler>("scaled", "to take over", |_| Ok(())).await;
        let deployment = namespace.api::<Deployment>().get("scaled").await.unwrap();
        assert_eq!(deployment.spec.unwrap().replicas, Some(2), "the pods stay");
    })
    .await;
    definitions.take_away().await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_vertical_autoscaler_is_taken_by_its_own_schema() {
    let Some(definitions) = Definitions::of("PARLANCE_VERTICAL_POD_AUTOSCALER_CRDS") else {
        return;
    };
    definitions.take_away().await;
    let kinds = definitions.clone();
    in_namespace(|namespace| async move {
        let vertical = json!({
            "updateMode": "InPlaceOrRecreate", "controlledResources": ["memory"],
            "minAllowed": { "memory": "64Mi" }, "maxAllowed": { "memory": "1Gi" },
        });
        namespace
            .apply(&service("scaled", json!({ "verticalPodAutoscaler": vertical })))
            .await;
        until_lacks(&namespace, "True", "AutoscalingUnavailable").await;

        kinds.bring().await;
        let api = objects(&namespace, "autoscaling.k8s.io", "v1", "VerticalPodAutoscaler");
        let made = until(&api, "scaled", "the VerticalPodAutoscaler", |_| true).await;
        assert_eq!(
            made.data["spec"]["updatePolicy"]["updateMode"],
            "InPlaceOrRecreate"
        );
        assert_eq!(
            made.data["spec"]["resourcePolicy"]["containerPolicies"][0]["controlledResources"],
            json!(["memory"])
        );
        until_lacks(&namespace, "False", "AsExpected").await;
        edited_and_deleted_it_is_put_back(
            &api,
            json!({ "spec": { "updatePolicy": { "updateMode": "Off" } } }),
            |object| object.data["spec"]["updatePolicy"]["updateMode"] == "InPlaceOrRecreate",
        )
        .await;

        let without = json!({ "spec": { "verticalPodAutoscaler": null } });
        namespace.merge::<TranscriptionService>("scaled", without).await;
        until_gone(&api, "scaled").await;
    })
    .await;
    definitions.take_away().await;
}
