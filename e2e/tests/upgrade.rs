//! From the operator of an earlier commit to this one, and back: `make upgrade-test` builds the earlier one.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::collections::BTreeMap;

use crds::{ModelDeployment, TranscriptionService};
use e2e::helm::{self, helm};
use e2e::manifest::{has, model, ready, repository, service};
use e2e::{Found, TestNamespace, in_namespace, operator, wait_for};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the test with `make upgrade-test`"))
}

/// Pods that serve, by uid, with the image of their server and how often they were restarted.
async fn serving(namespace: &TestNamespace) -> BTreeMap<String, (String, i32)> {
    let pods = namespace.api::<Pod>().list(&Default::default()).await.unwrap();
    let of = |pod: &Pod| {
        let spec = pod.spec.as_ref()?;
        let server = spec
            .containers
            .iter()
            .find(|container| container.name == "server")?;
        let restarts = pod
            .status
            .as_ref()?
            .container_statuses
            .iter()
            .flatten()
            .map(|one| one.restart_count);
        let going = pod.metadata.deletion_timestamp.is_some();
        (!going).then(|| {
            (
                pod.uid().unwrap(),
                (server.image.clone().unwrap(), restarts.sum()),
            )
        })
    };
    pods.iter().filter_map(of).collect()
}

/// Waits until the operator that runs now has looked at every service twice: once for its children, once for its own status.
async fn until_looked_at(namespace: &TestNamespace, services: f64) {
    wait_for("the operator to look at everything", || async {
        match operator::try_reconciles(&namespace.client).await {
            Ok(count) if count >= 2.0 * services => Found::Yes(()),
            other => Found::NotYet(format!("{other:?}")),
        }
    })
    .await;
}

/// Applies a model as somebody does who knows the definitions of the earlier commit: without the field that came since.
async fn apply_model(namespace: &TestNamespace, name: &str, additions: Value) {
    let mut object = serde_json::to_value(model(name, additions)).unwrap();
    object["spec"].as_object_mut().unwrap().remove("format");
    let params = PatchParams::apply(e2e::namespace::MANAGER).force();
    let models = namespace.api::<ModelDeployment>();
    models.patch(name, &params, &Patch::Apply(&object)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs an earlier operator: make upgrade-test"]
async fn an_upgrade_of_the_operator_and_its_rollback_restart_no_pod() {
    in_namespace(|namespace| async move {
        let autoscaled =
            json!({ "autoscaling": { "maxReplicas": 3, "minReplicas": 2, "targetCPUUtilization": 90 } });
        namespace.apply(&service("fixed", json!({ "replicas": 2 }))).await;
        namespace.apply(&service("scaled", autoscaled)).await;
        apply_model(&namespace, "digits", json!({})).await;
        let shared = json!({ "model": null, "modelRef": { "name": "digits" } });
        namespace.apply(&service("shared", shared)).await;
        apply_model(&namespace, "served", json!({ "serving": { "profile": "nano" } })).await;
        for name in ["fixed", "scaled", "shared"] {
            namespace
                .until::<TranscriptionService>(name, "to be ready", ready)
                .await;
        }
        let deployed = |model: &ModelDeployment| {
            has(
                &model.status.clone().unwrap_or_default().conditions,
                "Ready",
                "True",
                None,
            )
        };
        namespace
            .until::<ModelDeployment>("served", "to be ready", deployed)
            .await;
        let before = serving(&namespace).await;
        let earlier = variable("PARLANCE_PREVIOUS_SERVER_IMAGE");
        assert!(before.values().all(|(image, _)| *image == earlier), "{before:?}");

        let (operator_tag, server_tag) = (
            variable("PARLANCE_OPERATOR_IMAGE"),
            variable("PARLANCE_SERVER_IMAGE"),
        );
        let tag = |name: &str, image: &str| format!("{name}.tag={}", image.rsplit(':').next().unwrap());
        let tags = [tag("image", &operator_tag), tag("serverImage", &server_tag)];
        let crds = repository("charts/parlance-crds");
        helm(&["upgrade", "parlance-crds", crds.to_str().unwrap(), "--wait"]);
        helm::upgrade(&repository("charts/parlance"), &[&tags[0], &tags[1]]);
        until_looked_at(&namespace, 3.0).await;
        assert_eq!(serving(&namespace).await, before, "the upgrade restarted pods");

        // A change of the spec brings the new server.
        namespace
            .merge::<TranscriptionService>(
                "fixed",
                json!({ "spec": { "transcription": { "queueLimit": 3 } } }),
            )
            .await;
        namespace
            .until::<TranscriptionService>("fixed", "to be ready", ready)
            .await;
        let deployment: Deployment = namespace.api().get("fixed").await.unwrap();
        let image = deployment.spec.unwrap().template.spec.unwrap().containers[0]
            .image
            .clone();
        assert_eq!(image, Some(server_tag));

        let before = serving(&namespace).await;
        helm(&["rollback", "parlance", "--wait", "--timeout", "3m"]);
        until_looked_at(&namespace, 3.0).await;
        let after = serving(&namespace).await;
        let others = |pods: &BTreeMap<String, (String, i32)>, image: &str| {
            let of = pods.iter().filter(|(_, (one, _))| one == image);
            of.map(|(uid, (_, restarts))| (uid.clone(), *restarts))
                .collect::<BTreeMap<_, _>>()
        };
        let image = variable("PARLANCE_PREVIOUS_SERVER_IMAGE");
        let kept = others(&before, &image);
        assert!(
            kept.iter()
                .all(|(uid, restarts)| after.get(uid).is_some_and(|(_, now)| now == restarts)),
            "the rollback restarted pods: {before:?} became {after:?}"
        );
    })
    .await;
}
