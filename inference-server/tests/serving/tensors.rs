//! A server with an ONNX model: the Open Inference Protocol over both ports, and its bounds.

use std::{path::PathBuf, time::Duration};

use inference_server::{
    kind::ModelFormat,
    proto::inference::{
        InferTensorContents, ModelInferRequest, ModelMetadataRequest, ModelReadyRequest, ServerLiveRequest,
        ServerMetadataRequest, ServerReadyRequest,
        grpc_inference_service_client::GrpcInferenceServiceClient,
        infer_parameter::ParameterChoice,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    },
    run::{Config, Error, Server},
    tensors::TensorModel,
};
use proptest::{
    prelude::{Strategy, any, prop},
    strategy::ValueTree,
    test_runner::TestRunner,
};
use tokio::sync::mpsc;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    harness::{Serving, channel, config, eventually},
    http::get,
};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tensors")
        .join(name)
}

/// The server of a model in `tests/tensors`.
pub fn tensors(name: &str) -> Config {
    Config {
        model: folder(name),
        format: ModelFormat::Onnx,
        ..config()
    }
}

/// Such a server that is ready.
pub async fn start(config: Config) -> Serving {
    let server = Server::<TensorModel>::bind(config).await.unwrap();
    let (grpc, http) = server.addresses().unwrap();
    let (shutdown, told) = mpsc::channel(2);
    let task = tokio::spawn(server.run(told));
    let serving = Serving {
        grpc,
        http,
        shutdown,
        task,
    };
    eventually("the server is ready", async || {
        get(serving.http, "/health/ready").await.status == 200
    })
    .await;
    serving
}

async fn client(serving: &Serving) -> GrpcInferenceServiceClient<Channel> {
    GrpcInferenceServiceClient::new(channel(serving.grpc).await)
}

fn row(shape: &[i64], values: &[f32]) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "linear".to_owned(),
        inputs: vec![InferInputTensor {
            name: "x".to_owned(),
            datatype: "FP32".to_owned(),
            shape: shape.to_vec(),
            contents: Some(InferTensorContents {
                fp32_contents: values.to_vec(),
                ..InferTensorContents::default()
            }),
            ..InferInputTensor::default()
        }],
        ..ModelInferRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_of_the_protocol_answers_and_tells_the_digest() {
    let serving = start(tensors("linear")).await;
    let mut client = client(&serving).await;
    assert!(
        client
            .server_live(ServerLiveRequest {})
            .await
            .unwrap()
            .into_inner()
            .live
    );
    assert!(
        client
            .server_ready(ServerReadyRequest {})
            .await
            .unwrap()
            .into_inner()
            .ready
    );
    let named = |name: &str| ModelReadyRequest {
        name: name.to_owned(),
        version: String::new(),
    };
    assert!(
        client
            .model_ready(named("linear"))
            .await
            .unwrap()
            .into_inner()
            .ready
    );
    assert_eq!(
        client.model_ready(named("other")).await.unwrap_err().code(),
        Code::NotFound
    );
    let server = client
        .server_metadata(ServerMetadataRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(server.version, env!("CARGO_PKG_VERSION"));
    let asked = ModelMetadataRequest {
        name: "linear".to_owned(),
        version: "1".to_owned(),
    };
    let model = client.model_metadata(asked).await.unwrap().into_inner();
    assert_eq!(
        (model.inputs[0].name.as_str(), &model.inputs[0].shape),
        ("x", &vec![-1, 4])
    );

    let mut request = row(&[2, 4], &[1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0]);
    request.id = "7".to_owned();
    request.outputs.push(InferRequestedOutputTensor {
        name: "logits".to_owned(),
        ..InferRequestedOutputTensor::default()
    });
    let answer = client.model_infer(request.clone()).await.unwrap().into_inner();
    assert_eq!((answer.id.as_str(), answer.outputs.len()), ("7", 1));
    let logits = [3.5, 1.0, 3.5, 0.5, 0.0, -0.5];
    assert_eq!(answer.outputs[0].contents.as_ref().unwrap().fp32_contents, logits);
    let digest = answer.parameters["digest"].parameter_choice.clone().unwrap();
    let expected = inference_server::digest::directory(&folder("linear"))
        .unwrap()
        .digest;
    assert_eq!(digest, ParameterChoice::StringParam(expected));

    // The same as bytes, which come back as bytes.
    let contents = request.inputs[0].contents.take().unwrap();
    let raw: Vec<u8> = contents
        .fp32_contents
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    request.raw_input_contents.push(raw.into());
    let answer = client.model_infer(request).await.unwrap().into_inner();
    let raw: Vec<u8> = logits
        .iter()
        .flat_map(|value: &f32| value.to_le_bytes())
        .collect();
    assert_eq!(answer.raw_output_contents, [raw]);
    assert_eq!(answer.outputs[0].contents, None);

    let mut health = HealthClient::new(channel(serving.grpc).await);
    let service = "inference.GRPCInferenceService".to_owned();
    let health = health
        .check(HealthCheckRequest { service })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(health.status, 1, "serving");
    assert_eq!(
        serving
            .metric("parlance_requests_total{api=\"ModelInfer\",code=\"OK\"}")
            .await,
        2.0
    );
    assert_eq!(
        serving
            .metric("parlance_stage_duration_seconds_count{stage=\"infer\"}")
            .await,
        2.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_an_invalid_argument_in_words() {
    let serving = start(tensors("linear")).await;
    let mut client = client(&serving).await;
    let mut fails = async |change: &dyn Fn(&mut ModelInferRequest)| {
        let mut request = row(&[1, 4], &[0.0; 4]);
        change(&mut request);
        let status = client.model_infer(request).await.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    let invalid = |said: &str| (Code::InvalidArgument, said.to_owned());
    assert_eq!(
        fails(&|request| request.inputs[0].shape = vec![1, 5]).await,
        invalid("the input \"x\" has the shape [batch, 4], but was sent with [1, 5]")
    );
    assert_eq!(
        fails(&|request| request.inputs[0].shape = vec![-1, 4]).await,
        invalid("the input \"x\" has the shape [batch, 4], but was sent with [-1, 4]")
    );
    assert_eq!(
        fails(&|request| request.inputs[0].shape = vec![2, 4]).await,
        invalid("the input \"x\" of shape [2, 4] and datatype FP32 needs 32 bytes, but 16 were sent")
    );
    assert_eq!(
        fails(&|request| request.inputs.clear()).await,
        invalid("the input \"x\" is missing")
    );
    assert_eq!(
        fails(&|request| request.inputs.push(request.inputs[0].clone())).await,
        invalid("the input \"x\" was sent twice")
    );
    assert_eq!(
        fails(&|request| request.inputs[0].datatype = "FP16".to_owned()).await,
        invalid("the input \"x\": FP16 has no typed contents: send raw_input_contents")
    );
    assert_eq!(
        fails(&|request| request.raw_input_contents = vec![vec![0; 16].into(); 2]).await,
        invalid("it holds 2 tensors for 1 inputs: send one for each, in their order")
    );
    assert_eq!(
        fails(&|request| request.raw_input_contents = vec![vec![0; 16].into()])
            .await
            .1,
        "the input \"x\": it was sent in raw_input_contents and in its own contents: send one of them"
    );
    assert_eq!(
        fails(&|request| request.model_name = "other".to_owned()).await.0,
        Code::NotFound
    );
    serving.idle().await;
}

/// Anything that the messages can hold, near enough to what fits to get far.
fn garbage() -> impl Strategy<Value = ModelInferRequest> {
    let names = prop::sample::select(vec!["ids", "mask", "x", ""]);
    let kinds = prop::sample::select(vec!["INT64", "FP32", "BOOL", "FP16", "BYTES", "INT8", "?"]);
    let sizes = prop::sample::select(vec![0, 1, 2, 3, -1, i64::MAX, 1 << 62]);
    let contents = (
        prop::collection::vec(any::<i64>(), 0..7),
        prop::collection::vec(any::<f32>(), 0..3),
    );
    let input = (
        names,
        kinds,
        prop::collection::vec(sizes, 0..4),
        prop::option::of(contents),
    );
    let raw = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..3);
    let outputs = prop::collection::vec(prop::sample::select(vec!["sum", "other"]), 0..2);
    (prop::collection::vec(input, 0..3), raw, outputs).prop_map(|(inputs, raw, outputs)| ModelInferRequest {
        model_name: "open".to_owned(),
        inputs: inputs
            .into_iter()
            .map(|(name, datatype, shape, contents)| InferInputTensor {
                name: name.to_owned(),
                datatype: datatype.to_owned(),
                shape,
                contents: contents.map(|(int64_contents, fp32_contents)| InferTensorContents {
                    int64_contents,
                    fp32_contents,
                    ..InferTensorContents::default()
                }),
                ..InferInputTensor::default()
            })
            .collect(),
        outputs: outputs
            .into_iter()
            .map(|name| InferRequestedOutputTensor {
                name: name.to_owned(),
                ..InferRequestedOutputTensor::default()
            })
            .collect(),
        raw_input_contents: raw.into_iter().map(Into::into).collect(),
        ..ModelInferRequest::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused_and_never_a_panic() {
    let serving = start(tensors("open")).await;
    let mut client = client(&serving).await;
    let mut runner = TestRunner::deterministic();
    let fits = |ids: i64| ModelInferRequest {
        model_name: "open".to_owned(),
        inputs: ["ids", "mask"]
            .map(|name| InferInputTensor {
                name: name.to_owned(),
                datatype: "INT64".to_owned(),
                shape: vec![1, 1],
                contents: Some(InferTensorContents {
                    int64_contents: vec![ids],
                    ..InferTensorContents::default()
                }),
                ..InferInputTensor::default()
            })
            .to_vec(),
        ..ModelInferRequest::default()
    };
    for round in 0..400 {
        // Every fourth fits but for what is in it, and reaches the engine.
        let request = match round % 4 {
            0 => fits(i64::from(round) * 7919 - 900),
            _ => garbage().new_tree(&mut runner).unwrap().current(),
        };
        let Err(status) = client.model_infer(request.clone()).await else {
            continue;
        };
        let said = status.message();
        let expected = matches!(status.code(), Code::InvalidArgument)
            || (status.code() == Code::Internal && said.starts_with("the model failed: "));
        assert!(expected && !said.contains("panic"), "{status:?} to {request:?}");
    }
    assert_eq!(
        client.model_infer(fits(1)).await.unwrap().into_inner().outputs[0]
            .contents
            .as_ref()
            .unwrap()
            .fp32_contents,
        [3.0, 4.0, 5.0]
    );
    serving.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_http_is_json_or_json_and_bytes() {
    let serving = start(tensors("linear")).await;
    let answer = get(serving.http, "/v2/models/linear").await;
    let told: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    let expected = inference_server::digest::directory(&folder("linear"))
        .unwrap()
        .digest;
    assert_eq!(told["properties"]["digest"], expected);
    assert_eq!(get(serving.http, "/v2/models/other").await.status, 404);
    assert_eq!(
        get(serving.http, "/v2/models/linear/versions/1/ready")
            .await
            .status,
        200
    );
    assert_eq!(
        get(serving.http, "/v2/models/linear/versions/2/ready")
            .await
            .status,
        404
    );
    assert_eq!(get(serving.http, "/v2/health/live").await.status, 200);
    assert_eq!(
        get(serving.http, "/v1/models").await.status,
        404,
        "that is for speech"
    );
    let gone = get(serving.http, "/v2/models/linear/infer").await;
    assert_eq!(gone.status, 405);
    assert!(gone.text().starts_with("{\"error\":\""), "{}", gone.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drains_takes_no_more_and_says_so() {
    let serving = start(tensors("linear")).await;
    let mut client = client(&serving).await;
    client.model_infer(row(&[1, 4], &[0.0; 4])).await.unwrap();
    serving.shutdown.send(()).await.unwrap();
    serving.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_digest_or_another_model_is_not_served() {
    let load = |config: Config| async move {
        let server = Server::<TensorModel>::bind(config).await.unwrap();
        let (_told, shutdown) = mpsc::channel(2);
        server.run(shutdown).await.unwrap_err()
    };
    let pinned = Config {
        digest: Some("sha256:00".to_owned()),
        ..tensors("linear")
    };
    assert!(matches!(load(pinned).await, Error::Digest { .. }));
    let whisper = Config {
        format: ModelFormat::Onnx,
        ..config()
    };
    let error = load(whisper).await.to_string();
    assert!(
        error.contains("a Whisper is served by the format whisper"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_their_turn_and_the_deadline_holds() {
    let serving = start(Config {
        max_concurrent: 1,
        ..tensors("linear")
    })
    .await;
    let mut client = client(&serving).await;
    let mut request = tonic::Request::new(row(&[1, 4], &[0.0; 4]));
    request.set_timeout(Duration::from_nanos(1));
    let late = client.model_infer(request).await.unwrap_err();
    assert!(
        matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{late:?}"
    );
    serving.idle().await;
    client.model_infer(row(&[1, 4], &[0.0; 4])).await.unwrap();
}
