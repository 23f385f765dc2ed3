//! A server that lets in who has a key.

use std::{io::Write, sync::Arc};

use inference_server::{keys::Keys, proto::GetModelRequest};
use tonic::{Code, Request};

use crate::{
    harness::{Serving, config, ended, request, sample},
    http::{Upload, get, post},
};

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_key_gets_no_words_and_no_place_and_health_needs_none() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "secret").unwrap();
    let mut config = config();
    config.settings.keys = Some(Arc::new(Keys::open(file.path()).unwrap()));
    let serving = Serving::start(config).await;
    let (recording, said) = sample("one-digit-16k.wav");

    let upload = || Upload::of(&recording);
    for refused in [upload(), upload().header("authorization: Bearer wrong")] {
        let answer = post(serving.http, refused).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (401, &"invalid_api_key".into())
        );
    }
    let answer = post(serving.http, upload().header("authorization: Bearer secret")).await;
    assert_eq!(
        (answer.status, answer.json()["text"].as_str()),
        (200, Some(said.as_str()))
    );
    assert_eq!(get(serving.http, "/v1/models").await.status, 401);
    assert_eq!(
        get(serving.http, "/v1/realtime").await.status,
        400,
        "no WebSocket, whoever asks"
    );
    for open in ["/health/live", "/health/ready", "/metrics", "/"] {
        assert_eq!(get(serving.http, open).await.status, 200, "{open}");
    }

    let mut client = serving.client().await;
    let refused = client.transcribe(request(recording.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = client.get_model(GetModelRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut allowed = Request::new(request(recording));
    allowed
        .metadata_mut()
        .insert("authorization", "Bearer secret".parse().unwrap());
    assert_eq!(client.transcribe(allowed).await.unwrap().into_inner().text, said);
    assert_eq!(serving.metric(&ended("Transcribe", "UNAUTHENTICATED")).await, 1.0);
    assert_eq!(
        serving
            .metric("parlance_rejections_total{reason=\"unauthenticated\"}")
            .await,
        3.0
    );
}
