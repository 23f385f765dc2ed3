//! A model of format onnx on the cluster: the example of it, evaluated by similarity, served, asked by the Open Inference Protocol.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::collections::BTreeMap;
use std::fs;

use crds::model_deployment::{ModelDeploymentStatus, ModelPhase};
use crds::{ModelDeployment, TranscriptionService};
use e2e::api::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use e2e::api::inference::model_infer_request::InferInputTensor;
use e2e::api::inference::{InferTensorContents, ModelInferRequest, ModelMetadataRequest};
use e2e::client::{cluster_is_here, port_forward};
use e2e::manifest::{example, has, repository, service};
use e2e::source::Sources;
use e2e::{TestNamespace, in_namespace};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;
use serde_json::{Value, json};
use tonic::transport::Channel;

fn status(model: &ModelDeployment) -> ModelDeploymentStatus {
    model.status.clone().unwrap_or_default()
}

fn phase(wanted: ModelPhase) -> impl Fn(&ModelDeployment) -> Result<(), String> {
    move |model| {
        let status = status(model);
        let seen = format!("{:?}: {:?}", status.phase, status.message);
        (status.phase == Some(wanted)).then_some(()).ok_or(seen)
    }
}

/// A ConfigMap with the samples of the small model, or with their answers exchanged.
async fn samples(namespace: &TestNamespace, name: &str, right: bool) {
    let folder = repository("inference-server/tests/tensors/samples");
    let files = fs::read_dir(folder).unwrap().map(|file| {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        (name, ByteString(fs::read(file.path()).unwrap()))
    });
    let mut files: BTreeMap<String, ByteString> = files.collect();
    if !right {
        // The answers to one row are no answers to three.
        let one = files["one.outputs.npz"].clone();
        files.insert("three.outputs.npz".into(), one);
    }
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            ..Default::default()
        },
        binary_data: Some(files),
        ..Default::default()
    };
    namespace.apply(&map).await;
}

/// The example, with the address of the server on this machine.
fn scores(sources: &Sources) -> Value {
    let mut model = example("onnx-model.yaml").remove(0);
    model["spec"]["source"]["http"]["files"][0]["url"] = json!(sources.web("/tensors/linear/model.onnx"));
    model
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make e2e"]
async fn an_onnx_model_is_evaluated_by_similarity_and_answers_the_open_inference_protocol() {
    if !cluster_is_here() {
        eprintln!("not run: the pods of this cluster cannot reach servers on this machine");
        return;
    }
    let sources = Sources::start().await;
    in_namespace(|namespace| async move {
        samples(&namespace, "scores-samples", true).await;
        let model: ModelDeployment = serde_json::from_value(scores(&sources)).unwrap();
        namespace.apply(&model).await;
        let deployed = namespace
            .until::<ModelDeployment>("scores", "to be deployed", phase(ModelPhase::Deployed))
            .await;
        let evaluated = status(&deployed).evaluation.unwrap();
        assert_eq!(
            (evaluated.metric.as_str(), evaluated.samples, evaluated.value),
            ("similarity", 2, 1.0)
        );

        let forward = port_forward(&namespace, "scores-model", 50051).await;
        let channel = Channel::from_shared(format!("http://{}", forward.address)).unwrap();
        let mut client = GrpcInferenceServiceClient::new(channel.connect().await.unwrap());
        let asked = ModelMetadataRequest {
            name: "scores".into(),
            version: String::new(),
        };
        let told = client.model_metadata(asked).await.unwrap().into_inner();
        assert_eq!(
            (told.inputs[0].name.as_str(), &told.inputs[0].shape),
            ("x", &vec![-1, 4])
        );
        let request = ModelInferRequest {
            model_name: "scores".into(),
            inputs: vec![InferInputTensor {
                name: "x".into(),
                datatype: "FP32".into(),
                shape: vec![1, 4],
                contents: Some(InferTensorContents {
                    fp32_contents: vec![1.0, 2.0, 3.0, 4.0],
                    ..Default::default()
                }),
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = client.model_infer(request).await.unwrap().into_inner();
        let logits = answer
            .outputs
            .iter()
            .find(|output| output.name == "logits")
            .unwrap();
        assert_eq!(logits.contents.clone().unwrap().fp32_contents, [3.5, 1.0, 3.5]);

        // A service for speech that names it says what is wrong.
        namespace
            .apply(&service(
                "calls",
                json!({ "model": null, "modelRef": { "name": "scores" } }),
            ))
            .await;
        namespace
            .until::<TranscriptionService>("calls", "to refuse the model", |service| {
                let conditions = &service.status.clone().unwrap_or_default().conditions;
                has(conditions, "Ready", "False", Some("WrongModelFormat"))
            })
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make e2e"]
async fn an_onnx_model_whose_outputs_are_not_alike_is_never_served() {
    if !cluster_is_here() {
        eprintln!("not run: the pods of this cluster cannot reach servers on this machine");
        return;
    }
    let sources = Sources::start().await;
    in_namespace(|namespace| async move {
        samples(&namespace, "scores-samples", false).await;
        let model: ModelDeployment = serde_json::from_value(scores(&sources)).unwrap();
        namespace.apply(&model).await;
        let failed = namespace
            .until::<ModelDeployment>("scores", "to fail", phase(ModelPhase::Failed))
            .await;
        let status = status(&failed);
        assert!(
            status.message.as_deref().unwrap().contains("similarity is 0.5"),
            "{:?}",
            status.message
        );
        assert_eq!(status.evaluation.unwrap().failing[0].name, "three");
        assert_eq!(status.ready_replicas, 0);
    })
    .await;
}
