//! From listening to gone, in this process: what health says at each step.

use std::{sync::mpsc as threads, time::Duration};

use inference_server::run::{Config, Error, load_model};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt;

use crate::harness::{OpenStream, Serving, channel, config, eventually, file_config, request, sample, words};
use crate::http::{Upload, get, post};

/// What `grpc.health.v1` says of the whole server and of the service.
async fn health(serving: &Serving) -> [i32; 2] {
    let mut client = HealthClient::new(channel(serving.grpc).await);
    let mut statuses = [0; 2];
    for (status, name) in statuses.iter_mut().zip(["", "parlance.v1.Transcription"]) {
        *status = client
            .check(HealthCheckRequest { service: name.into() })
            .await
            .unwrap()
            .into_inner()
            .status;
    }
    statuses
}

const SERVING: [i32; 2] = [ServingStatus::Serving as i32; 2];
const NOT_SERVING: [i32; 2] = [ServingStatus::NotServing as i32; 2];

#[tokio::test(flavor = "multi_thread")]
async fn it_is_live_at_once_and_ready_when_the_model_is_loaded() {
    let config = config();
    let (go, gate) = threads::channel::<()>();
    let model = config.clone();
    let load = move || {
        gate.recv().expect("the test lets it load");
        load_model(&model)
    };
    let serving = Serving::start_with(config, load).await;
    assert_eq!(get(serving.http, "/health/live").await.status, 200);
    let ready = get(serving.http, "/health/ready").await;
    assert_eq!(
        (ready.status, ready.json()["status"].as_str()),
        (503, Some("loading"))
    );
    assert_eq!(health(&serving).await, NOT_SERVING);

    let recording = sample("one-digit-16k.wav").0;
    let refused = serving
        .client()
        .await
        .transcribe(request(recording.clone()))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.get_error_details().retry_info().is_some());
    let refused = post(serving.http, Upload::of(&recording)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(get(serving.http, "/v1/models").await.status, 503);

    go.send(()).unwrap();
    eventually("it is ready", async || {
        get(serving.http, "/health/ready").await.status == 200
    })
    .await;
    eventually("it serves", async || health(&serving).await == SERVING).await;
    assert_eq!(post(serving.http, Upload::of(&recording)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_refuses_what_is_new_and_finishes_what_runs_and_waits() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let stream = OpenStream::open(&mut client, file_config()).await.unwrap();
    let (recording, said) = sample("one-digit-16k.wav");
    let (mut second, audio) = (client.clone(), recording.clone());
    let waiting = tokio::spawn(async move { second.transcribe(request(audio)).await });
    serving.metric_becomes("parlance_requests_queued", 1.0).await;

    // A watcher must not keep the server from leaving.
    let mut watcher = HealthClient::new(channel(serving.grpc).await);
    let mut watch = watcher
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, SERVING[0]);

    serving.shutdown.send(()).await.unwrap();
    eventually("it is not ready", async || {
        get(serving.http, "/health/ready").await.status == 503
    })
    .await;
    assert_eq!(
        get(serving.http, "/health/ready").await.json()["status"],
        "draining"
    );
    assert_eq!(get(serving.http, "/health/live").await.status, 200);
    assert_eq!(watch.message().await.unwrap().unwrap().status, NOT_SERVING[0]);
    assert_eq!(health(&serving).await, NOT_SERVING);
    let refused = client.transcribe(request(recording.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");

    assert_eq!(words(&stream.finish(vec![recording]).await.unwrap()), said);
    assert_eq!(waiting.await.unwrap().unwrap().into_inner().text, said);
    let http = serving.http;
    serving.ended().await.unwrap();
    assert!(
        tokio::net::TcpStream::connect(http).await.is_err(),
        "nobody listens"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_timeout_or_a_second_signal_cuts_off_what_still_runs() {
    for (drain_timeout, signals) in [(Duration::from_millis(1), 1), (Duration::from_secs(3600), 2)] {
        let serving = Serving::start(Config {
            drain_timeout,
            ..config()
        })
        .await;
        let mut client = serving.client().await;
        let mut stream = OpenStream::open(&mut client, file_config()).await.unwrap();
        for _ in 0..signals {
            serving.shutdown.send(()).await.unwrap();
        }
        let cut = stream.next().await.unwrap_err();
        assert_eq!(cut.code(), Code::Unavailable, "{cut:?}");
        serving.ended().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_be_served_ends_the_server_with_a_reason() {
    let french = inference_server::pipeline::Language::Code("tlh".into());
    let mut unknown_language = config();
    unknown_language.settings.options.language = french;
    for (config, reason) in [
        (
            Config {
                digest: Some("sha256:00".into()),
                ..config()
            },
            "sha256:00 was asked for",
        ),
        (
            Config {
                model: "/no/such/model".into(),
                ..config()
            },
            "/no/such/model",
        ),
        (unknown_language, "tlh"),
    ] {
        let model = config.clone();
        let serving = Serving::start_with(config, move || load_model(&model)).await;
        let error = serving
            .ended()
            .await
            .expect_err("it cannot be served")
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_loading_is_an_error() {
    let serving = Serving::start_with(config(), || panic!("the loader broke")).await;
    assert!(matches!(serving.ended().await, Err(Error::LoadPanicked)));
}
