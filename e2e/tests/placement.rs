//! Where pods go and how they are replaced, as the scheduler and the Deployment controller see it: fake nodes with GPUs.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::collections::BTreeSet;

use crds::TranscriptionService;
use e2e::manifest::{example, has, merge, service};
use e2e::nodes::{FakeNode, TAINT, claim, node_of, on_gpu, pods, until_placed};
use e2e::{Found, TestNamespace, in_namespace, wait_for};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceSlice};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

/// Waits for an Event about a rollout that holds these words.
async fn until_told(namespace: &TestNamespace, words: &str) {
    wait_for(&format!("an Event with {words}"), || async {
        let events = namespace
            .api::<Event>()
            .list(&ListParams::default())
            .await
            .unwrap();
        let notes: Vec<String> = events
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some("RollingOut"))
            .filter_map(|event| event.note)
            .collect();
        match notes.iter().any(|note| note.contains(words)) {
            true => Found::Yes(()),
            false => Found::NotYet(format!("{notes:?}")),
        }
    })
    .await;
}

async fn surge(namespace: &TestNamespace, name: &str) -> Value {
    let deployment = namespace.api::<Deployment>().get(name).await.unwrap();
    let strategy = deployment.spec.unwrap().strategy.unwrap().rolling_update.unwrap();
    serde_json::to_value(strategy.max_surge).unwrap()
}

async fn with_image(namespace: &TestNamespace, name: &str, image: &str) {
    namespace
        .merge::<TranscriptionService>(name, json!({ "spec": { "image": image } }))
        .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_rollout_takes_a_free_gpu_and_otherwise_its_own() {
    in_namespace(|namespace| async move {
        let volumes = claim(&namespace).await;
        let product = format!("GPU-{}", namespace.name);
        let name = format!("{}-two", namespace.name);
        let node = FakeNode::with(&namespace.client, &name, &product, 2, json!({})).await;
        let mut wanted = on_gpu("rolls", json!({ "products": [product] }));
        wanted.spec.serving.replicas = Some(2);
        wanted.spec.serving.image = Some("localhost/server:1".into());
        namespace.apply(&wanted).await;
        until_placed(&namespace, "rolls", 2, Some("localhost/server:1")).await;

        // Both GPUs are held: no pod may wait for a third.
        with_image(&namespace, "rolls", "localhost/server:2").await;
        until_placed(&namespace, "rolls", 2, Some("localhost/server:2")).await;
        until_told(&namespace, "no node that will do has 1 nvidia.com/gpu free").await;
        assert_eq!(surge(&namespace, "rolls").await, json!(0));

        namespace
            .merge::<TranscriptionService>("rolls", json!({ "spec": { "replicas": 1 } }))
            .await;
        until_placed(&namespace, "rolls", 1, Some("localhost/server:2")).await;
        with_image(&namespace, "rolls", "localhost/server:3").await;
        until_told(&namespace, &format!("node {name} has 1 nvidia.com/gpu free")).await;
        until_placed(&namespace, "rolls", 1, Some("localhost/server:3")).await;
        assert_eq!(surge(&namespace, "rolls").await, json!(1));

        // Another team takes the free GPU: the next rollout is decided anew.
        let mut other = on_gpu("other", json!({ "products": [product] }));
        other.spec.serving.image = Some("localhost/server:1".into());
        namespace.apply(&other).await;
        until_placed(&namespace, "other", 1, Some("localhost/server:1")).await;
        with_image(&namespace, "rolls", "localhost/server:4").await;
        until_placed(&namespace, "rolls", 1, Some("localhost/server:4")).await;
        assert_eq!(surge(&namespace, "rolls").await, json!(0));

        node.delete().await;
        volumes
            .delete(&namespace.name, &DeleteParams::default())
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn memory_and_sharing_choose_the_node_and_a_requirement_that_none_meets_is_named() {
    in_namespace(|namespace| async move {
        let volumes = claim(&namespace).await;
        let product = format!("GPU-{}", namespace.name);
        let label = |name: &str| format!("nvidia.com/gpu.{name}");
        let node = |name: &str, product: String, memory: &str, strategy: &str| {
            let labels = json!({ label("memory"): memory, label("sharing-strategy"): strategy });
            let (client, name) = (namespace.client.clone(), format!("{}-{name}", namespace.name));
            async move { FakeNode::with(&client, &name, &product, 8, labels).await }
        };
        let small = node("small", product.clone(), "15360", "none").await;
        let shared = node("shared", format!("{product}-SHARED"), "15360", "time-slicing").await;
        let large = node("large", product.clone(), "81559", "none").await;
        for (name, more, node) in [
            ("much", json!({ "memoryAtLeast": "40Gi" }), &large.name),
            ("slices", json!({ "sharing": "TimeSliced" }), &shared.name),
            (
                "alone",
                json!({ "sharing": "Exclusive", "count": 8, "memoryAtLeast": "15Gi" }),
                &small.name,
            ),
        ] {
            let mut gpu = json!({ "products": [product] });
            merge(&mut gpu, more);
            let mut wanted = on_gpu(name, gpu);
            wanted.spec.serving.image = Some("localhost/server:1".into());
            namespace.apply(&wanted).await;
            let nodes = until_placed(&namespace, name, 1, Some("localhost/server:1")).await;
            assert_eq!(nodes, BTreeSet::from([node.clone()]), "{name}");
        }

        let mut shared_example = example("gpu-shared.yaml")[0].clone();
        merge(
            &mut shared_example,
            json!({ "spec": {
                "model": null, "gpu": { "products": [product] },
                "placement": { "tolerations": [{ "key": TAINT, "operator": "Exists" }] },
                "image": "localhost/server:1"
            } }),
        );
        shared_example["spec"]["model"] =
            json!({ "source": { "persistentVolumeClaim": { "claimName": "weights" } } });
        namespace
            .apply::<TranscriptionService>(&serde_json::from_value(shared_example).unwrap())
            .await;
        let nodes = until_placed(&namespace, "on-shared-gpu", 2, Some("localhost/server:1")).await;
        assert_eq!(nodes, BTreeSet::from([shared.name.clone()]));

        namespace
            .apply(&on_gpu(
                "greedy",
                json!({ "products": [product], "memoryAtLeast": "200Gi" }),
            ))
            .await;
        let told = namespace
            .until::<TranscriptionService>("greedy", "to say that no node has so much memory", |s| {
                has(
                    &s.status.clone().unwrap_or_default().conditions,
                    "Ready",
                    "False",
                    Some("NoMatchingGpuNode"),
                )
            })
            .await;
        let message = told.status.unwrap().message.unwrap();
        assert!(message.contains("or change gpu.memoryAtLeast"), "{message}");
        assert!(message.contains("(81559Mi)"), "{message}");

        for node in [small, shared, large] {
            node.delete().await;
        }
        volumes
            .delete(&namespace.name, &DeleteParams::default())
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn pods_are_spread_over_zones_within_their_affinity() {
    in_namespace(|namespace| async move {
        let volumes = claim(&namespace).await;
        let mark = format!("{}-fleet", namespace.name);
        let mut nodes = Vec::new();
        for zone in ["a", "a2", "b"] {
            let labels = json!({ "fleet": mark, "topology.kubernetes.io/zone": &zone[..1] });
            let name = format!("{}-{zone}", namespace.name);
            nodes.push(FakeNode::with(&namespace.client, &name, "none", 1, labels).await);
        }
        let wanted = service(
            "spread",
            json!({
                "model": { "source": { "bundled": null, "persistentVolumeClaim": { "claimName": "weights" } } },
                "replicas": 4, "image": "localhost/server:1",
                "placement": {
                    "tolerations": [{ "key": TAINT, "operator": "Exists" }],
                    "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                        { "matchExpressions": [{ "key": "fleet", "operator": "In", "values": [mark] }] } ] } } },
                    "topologySpread": [{ "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule" }]
                },
                "podTemplate": { "metadata": { "labels": { "team": "speech" } }, "spec": { "hostname": "spread" } }
            }),
        );
        namespace.apply(&wanted).await;
        until_placed(&namespace, "spread", 4, Some("localhost/server:1")).await;
        let placed = pods(&namespace, "spread").await;
        let in_b = placed.iter().filter(|pod| node_of(pod) == Some(&nodes[2].name)).count();
        assert_eq!(in_b, 2, "{placed:?}");
        let of_team = ListParams::default().labels("team=speech,parlance.dev/name=spread");
        assert_eq!(namespace.api::<Pod>().list(&of_team).await.unwrap().items.len(), 4);
        for node in nodes {
            node.delete().await;
        }
        volumes.delete(&namespace.name, &DeleteParams::default()).await.unwrap();
    })
    .await;
}

/// The scheduler's own dynamic resource allocation: a class and the devices of a node, as a driver would publish them.
#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn pods_claim_devices_and_wait_when_none_is_left() {
    in_namespace(|namespace| async move {
        let volumes = claim(&namespace).await;
        let driver = format!("{}.parlance.dev", namespace.name);
        let name = format!("{}-claimed", namespace.name);
        let node = FakeNode::with(&namespace.client, &name, "none", 0, json!({})).await;
        let classes: Api<DeviceClass> = Api::all(namespace.client.clone());
        let class = json!({ "metadata": { "name": driver },
            "spec": { "selectors": [{ "cel": { "expression": format!("device.driver == '{driver}'") } }] } });
        classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
        let slices: Api<ResourceSlice> = Api::all(namespace.client.clone());
        let slice = json!({ "metadata": { "name": name }, "spec": {
            "driver": driver, "nodeName": name, "pool": { "name": name, "generation": 1, "resourceSliceCount": 1 },
            "devices": [{ "name": "gpu-0" }, { "name": "gpu-1" }] } });
        slices.create(&PostParams::default(), &serde_json::from_value(slice).unwrap()).await.unwrap();

        let mut wanted = example("gpu-claimed.yaml")[0].clone();
        merge(
            &mut wanted,
            json!({ "spec": {
                "gpu": { "deviceClassName": driver }, "image": "localhost/server:1", "replicas": 2,
                "placement": { "tolerations": [{ "key": TAINT, "operator": "Exists" }] }
            } }),
        );
        wanted["spec"]["model"] = json!({ "source": { "persistentVolumeClaim": { "claimName": "weights" } } });
        namespace.apply::<TranscriptionService>(&serde_json::from_value(wanted).unwrap()).await;
        let nodes = until_placed(&namespace, "on-claimed-gpu", 2, Some("localhost/server:1")).await;
        assert_eq!(nodes, BTreeSet::from([name.clone()]));

        let mut more = on_gpu("more", json!({ "deviceClassName": driver }));
        more.spec.serving.image = Some("localhost/server:1".into());
        namespace.apply(&more).await;
        namespace
            .until::<TranscriptionService>("more", "to say that no device is free", |s| {
                has(&s.status.clone().unwrap_or_default().conditions, "Ready", "False", Some("NoMatchingGpuNode"))
            })
            .await;

        slices.delete(&name, &DeleteParams::default()).await.unwrap();
        classes.delete(&driver, &DeleteParams::default()).await.unwrap();
        node.delete().await;
        volumes.delete(&namespace.name, &DeleteParams::default()).await.unwrap();
    })
    .await;
}
