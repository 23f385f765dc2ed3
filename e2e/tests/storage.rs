//! Where models are kept: a retained volume is taken up with its model, pods of a volume for one node stay together, and an image is
//! a volume too.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use crds::model_deployment::ModelPhase;
use crds::{ModelDeployment, TranscriptionService};
use e2e::client::{clear_recordings, cluster_is_here, port_forward, transcribe};
use e2e::manifest::{example, has, merge, model, ready, service};
use e2e::nodes::{FakeNode, TAINT, until_placed};
use e2e::source::{FILES, Sources};
use e2e::{Found, TestNamespace, in_namespace, wait_for};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, LogParams, PostParams};
use serde_json::{Value, json};

fn deployed(model: &ModelDeployment) -> Result<(), String> {
    is(model, ModelPhase::Deployed)
}

fn is(model: &ModelDeployment, wanted: ModelPhase) -> Result<(), String> {
    let status = model.status.clone().unwrap_or_default();
    let seen = format!("{:?}: {:?}", status.phase, status.message);
    (status.phase == Some(wanted)).then_some(()).ok_or(seen)
}

async fn assert_transcribes(namespace: &TestNamespace, service: &str) {
    let forward = port_forward(namespace, service, 50051).await;
    let recording = clear_recordings().remove(0);
    let heard = transcribe(&forward.address, recording.audio()).await.unwrap();
    assert_eq!(heard.text, recording.text);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make e2e"]
async fn a_retained_volume_is_taken_up_by_a_model_of_its_name_without_a_download() {
    if !cluster_is_here() {
        eprintln!("not run: the pods of this cluster cannot reach servers on this machine");
        return;
    }
    let sources = Sources::start().await;
    in_namespace(|namespace| async move {
        let file = |name: &&str| json!({ "path": name, "url": sources.web(&format!("/files/{name}")) });
        let files: Vec<Value> = FILES.iter().map(file).collect();
        let kept = json!({
            "source": { "bundled": null, "http": { "files": files } }, "cache": { "size": "128Mi", "reclaim": "Retain" }
        });
        namespace.apply(&model("digits", kept.clone())).await;
        let available = |model: &ModelDeployment| is(model, ModelPhase::Available);
        let first = namespace.until::<ModelDeployment>("digits", "to be available", available).await;
        let claims = namespace.api::<PersistentVolumeClaim>();
        let claim = claims.get("digits-model").await.unwrap();
        namespace.api::<ModelDeployment>().delete("digits", &DeleteParams::default()).await.unwrap();
        namespace.until_gone::<ModelDeployment>("digits").await;
        namespace.apply(&model("digits", kept)).await;
        let second = namespace.until::<ModelDeployment>("digits", "to be available again", available).await;
        assert_ne!(first.uid(), second.uid());
        assert_eq!(first.status.unwrap().digest, second.status.unwrap().digest);
        assert_eq!(claims.get("digits-model").await.unwrap().uid(), claim.uid());
        assert!(sources.counts().values().all(|count| *count == 1), "{:?}", sources.counts());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make e2e"]
async fn the_weights_are_put_in_order_once_for_all_pods_of_a_volume() {
    in_namespace(|namespace| async move {
        namespace.apply(&service("ordered", json!({}))).await;
        namespace
            .until::<TranscriptionService>("ordered", "to be ready", ready)
            .await;
        let pods = namespace.api::<Pod>();
        let first = e2e::nodes::pods(&namespace, "ordered").await.remove(0);
        let log = |pod: String, container: &str| {
            let (pods, of) = (
                pods.clone(),
                LogParams {
                    container: Some(container.into()),
                    ..LogParams::default()
                },
            );
            async move { pods.logs(&pod, &of).await.unwrap() }
        };
        let said = log(first.name_any(), "model").await;
        assert!(said.contains("the weights are prepacked: "), "{said}");
        let (_, chosen) = said.split_once("auto is ").unwrap_or_else(|| panic!("{said}"));
        let served = format!(r#""precision":"{}""#, chosen.split(' ').next().unwrap());
        let said = log(first.name_any(), "server").await;
        assert!(
            said.contains(r#""prepacked":true"#) && said.contains(&served),
            "{said}"
        );

        pods.delete(&first.name_any(), &DeleteParams::default())
            .await
            .unwrap();
        let is_ready = |pod: &Pod| {
            let conditions = pod
                .status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten());
            conditions
                .into_iter()
                .any(|of| of.type_ == "Ready" && of.status == "True")
        };
        let second = wait_for("another pod to be ready", || async {
            let pods = e2e::nodes::pods(&namespace, "ordered").await;
            let other = pods
                .into_iter()
                .find(|pod| pod.uid() != first.uid() && is_ready(pod));
            other.map_or(Found::NotYet("there is none".into()), Found::Yes)
        })
        .await;
        let said = log(second.name_any(), "model").await;
        assert!(said.contains("the weights are prepacked already"), "{said}");
        assert!(!said.contains("the precisions are measured"), "{said}");
        let said = log(second.name_any(), "server").await;
        assert!(
            said.contains(r#""prepacked":true"#) && said.contains(&served),
            "{said}"
        );
        assert_transcribes(&namespace, "ordered").await;
    })
    .await;
}

/// What a claim asks for.
async fn asked(namespace: &TestNamespace, claim: &str) -> String {
    let claim = namespace.api::<PersistentVolumeClaim>().get(claim).await.unwrap();
    let requests = claim.spec.unwrap().resources.unwrap().requests.unwrap();
    requests["storage"].0.clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make e2e"]
async fn a_claim_grows_where_its_class_lets_it_and_it_is_told_where_not() {
    in_namespace(|namespace| async move {
        let classes: Api<StorageClass> = Api::all(namespace.client.clone());
        let mut grows = classes.list(&ListParams::default()).await.unwrap().items.remove(0);
        let class = |suffix: &str| format!("{}-{suffix}", namespace.name);
        for (suffix, allowed) in [("grows", true), ("stays", false)] {
            grows.metadata = serde_json::from_value(json!({ "name": class(suffix) })).unwrap();
            grows.allow_volume_expansion = Some(allowed);
            classes.create(&PostParams::default(), &grows).await.unwrap();
        }
        let cache =
            |suffix: &str, size: &str| json!({ "cache": { "size": size, "storageClassName": class(suffix) } });
        for suffix in ["grows", "stays"] {
            namespace.apply(&model(suffix, cache(suffix, "128Mi"))).await;
        }
        for suffix in ["grows", "stays"] {
            let available = |model: &ModelDeployment| is(model, ModelPhase::Available);
            namespace.until::<ModelDeployment>(suffix, "to be available", available).await;
            let larger = json!({ "spec": cache(suffix, "256Mi") });
            namespace.merge::<ModelDeployment>(suffix, larger).await;
        }
        wait_for("the claim to ask for more", || async {
            match asked(&namespace, "grows-model").await {
                size if size == "256Mi" => Found::Yes(()),
                other => Found::NotYet(other),
            }
        })
        .await;
        let told = |model: &ModelDeployment| {
            let status = model.status.clone().unwrap_or_default();
            has(&status.conditions, "Degraded", "True", Some("ApplyFailed"))
        };
        let refused = namespace.until::<ModelDeployment>("stays", "to say that it cannot grow", told).await;
        let message = refused.status.unwrap().message.unwrap();
        assert!(message.contains("stays-model") && message.contains("resize"), "{message}");
        assert_eq!(asked(&namespace, "stays-model").await, "128Mi");

        let as_it_is = json!({ "spec": { "cache": { "size": null } } });
        namespace.merge::<ModelDeployment>("stays", as_it_is).await;
        let well = |model: &ModelDeployment| {
            let status = model.status.clone().unwrap_or_default();
            has(&status.conditions, "Degraded", "False", None)
        };
        namespace.until::<ModelDeployment>("stays", "to be well again", well).await;
        assert_eq!(asked(&namespace, "stays-model").await, "128Mi");
        for suffix in ["grows", "stays"] {
            classes.delete(&class(suffix), &DeleteParams::default()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn pods_of_a_volume_for_one_node_stay_together_when_they_are_more_and_when_they_are_replaced() {
    if std::env::var("PARLANCE_KWOK").is_err() {
        eprintln!("not run: nothing plays fake nodes on this cluster");
        return;
    }
    in_namespace(|namespace| async move {
        let name = |node: &str| format!("{}-{node}", namespace.name);
        let nodes = [
            FakeNode::create(&namespace.client, &name("a"), "none", false).await,
            FakeNode::create(&namespace.client, &name("b"), "none", false).await,
            FakeNode::create(&namespace.client, &name("c"), "none", false).await,
        ];
        // A volume that any node can have, and one node at a time: as a disk of a cloud.
        let volumes: Api<PersistentVolume> = Api::all(namespace.client.clone());
        for (mode, claim) in [("ReadWriteOnce", "disk"), ("ReadWriteMany", "share")] {
            let volume = json!({
                "metadata": { "name": name(claim) },
                "spec": {
                    "capacity": { "storage": "1Gi" }, "accessModes": [mode], "storageClassName": "",
                    "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": "/nonexistent" },
                    "claimRef": { "namespace": namespace.name, "name": claim }
                }
            });
            volumes.create(&PostParams::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
            let claim = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": claim },
                "spec": {
                    "accessModes": [mode], "storageClassName": "", "volumeName": name(claim),
                    "resources": { "requests": { "storage": "1Gi" } }
                }
            });
            namespace.apply::<PersistentVolumeClaim>(&serde_json::from_value(claim).unwrap()).await;
        }
        for (claim, together) in [("disk", true), ("share", false)] {
            let spec = json!({
                "model": { "source": { "bundled": null, "persistentVolumeClaim": { "claimName": claim } } },
                "replicas": 2, "image": "server:1",
                "placement": { "tolerations": [{ "key": TAINT, "operator": "Exists" }], "nodeSelector": { "type": "kwok" } }
            });
            namespace.apply(&service(claim, spec)).await;
            let first = until_placed(&namespace, claim, 2, Some("server:1")).await;
            let change = json!({ "spec": { "replicas": 6 } });
            namespace.merge::<TranscriptionService>(claim, change).await;
            let more = until_placed(&namespace, claim, 6, Some("server:1")).await;
            let change = json!({ "spec": { "image": "server:2" } });
            namespace.merge::<TranscriptionService>(claim, change).await;
            let replaced = until_placed(&namespace, claim, 6, Some("server:2")).await;
            if together {
                assert_eq!((first.len(), &more, &replaced), (1, &first, &first));
            } else {
                assert!(more.len() > 1 && replaced.len() > 1, "{more:?} {replaced:?}");
            }
        }
        for node in nodes {
            node.delete().await;
        }
        for claim in ["disk", "share"] {
            volumes.delete(&name(claim), &DeleteParams::default()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_model_in_an_image_is_served_without_a_claim_by_two_objects() {
    let Ok(image) = std::env::var("PARLANCE_MODEL_IMAGE") else {
        eprintln!("not run: PARLANCE_MODEL_IMAGE names no image with a model");
        return;
    };
    in_namespace(|namespace| async move {
        let mut object = example("model-from-image.yaml").remove(0);
        merge(
            &mut object,
            json!({ "spec": { "source": { "image": { "reference": image } }, "serving": { "profile": "nano" } } }),
        );
        let object: ModelDeployment = serde_json::from_value(object).unwrap();
        namespace.apply(&object).await;
        let served = namespace.until::<ModelDeployment>("from-image", "to be deployed", deployed).await;
        let status = served.status.unwrap();
        assert!(status.digest.is_some() && status.location.unwrap().image.is_some());
        assert_transcribes(&namespace, "from-image-model").await;
        let shared = service("calls", json!({ "model": null, "modelRef": { "name": "from-image" } }));
        namespace.apply(&shared).await;
        namespace.until::<TranscriptionService>("calls", "to be ready", ready).await;
        let claims = namespace.api::<PersistentVolumeClaim>().list(&Default::default()).await.unwrap();
        assert_eq!(claims.items.len(), 0);

        let missing = json!({ "model": { "source": { "bundled": null, "image": { "reference": "localhost/none:1", "pullPolicy": "Never" } } } });
        namespace.apply(&service("missing", missing)).await;
        let told = namespace
            .until::<TranscriptionService>("missing", "to say that the image is not there", |service| {
                let status = service.status.clone().unwrap_or_default();
                has(&status.conditions, "Ready", "False", Some("ImagePullFailed"))
            })
            .await;
        let message = told.status.unwrap().message.unwrap();
        assert!(
            message.contains("the model's image localhost/none:1 cannot be mounted"),
            "{message}"
        );
    })
    .await;
}
