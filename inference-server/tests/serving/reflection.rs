//! What the reflection service of each server tells: what that server serves, and nothing else.

use std::net::SocketAddr;

use futures::StreamExt;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{
    activating::Activating,
    harness::{Serving, channel, config},
    tensors,
};

const TRANSCRIPTION: &str = "parlance.v1.Transcription";
const INFERENCE: &str = "inference.GRPCInferenceService";

async fn answers(grpc: SocketAddr, asked: Vec<MessageRequest>) -> Vec<MessageResponse> {
    let asked = asked.into_iter().map(|asked| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(asked),
    });
    let mut client = ServerReflectionClient::new(channel(grpc).await);
    let answers = client.server_reflection_info(tokio_stream::iter(asked.collect::<Vec<_>>()));
    let answers = answers.await.unwrap().into_inner();
    answers
        .map(|answer| answer.unwrap().message_response.unwrap())
        .collect()
        .await
}

/// The names of the services, each of which is described too.
async fn services(grpc: SocketAddr) -> Vec<String> {
    let listed = answers(grpc, vec![MessageRequest::ListServices(String::new())]).await;
    let [MessageResponse::ListServicesResponse(list)] = listed.as_slice() else {
        panic!("{listed:?}");
    };
    let mut names: Vec<String> = list.service.iter().map(|service| service.name.clone()).collect();
    let asked = names.iter().cloned().map(MessageRequest::FileContainingSymbol);
    for described in answers(grpc, asked.collect()).await {
        assert!(
            matches!(described, MessageResponse::FileDescriptorResponse(_)),
            "{described:?}"
        );
    }
    names.sort();
    names
}

fn and_the_common_ones(service: &str) -> Vec<String> {
    let mut names = [
        service,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]
    .map(str::to_owned);
    names.sort();
    names.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_speech_server_tells_of_speech_only() {
    let serving = Serving::start(config()).await;
    assert_eq!(services(serving.grpc).await, and_the_common_ones(TRANSCRIPTION));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tensor_server_tells_of_tensors_only() {
    let serving = tensors::start(tensors::tensors("linear")).await;
    assert_eq!(services(serving.grpc).await, and_the_common_ones(INFERENCE));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_activator_tells_of_what_its_pods_serve() {
    let activating = Activating::start().await;
    assert_eq!(
        services(activating.grpc).await,
        and_the_common_ones(TRANSCRIPTION)
    );
}
