//! What a server does that is asked too much: refuse with a hint, stop at deadlines, forget clients that are gone.

use std::{sync::Arc, time::Duration};

use inference_server::{
    admission::{Admission, Load},
    proto::{TranscribeResponse, transcription_client::TranscriptionClient},
    run::{Config, load_model},
    service,
    traces::Traces,
    transcriber::Transcriber,
};
use tonic::{Code, Request};
use tonic_health::server::HealthReporter;
use tonic_types::StatusExt;

use crate::harness::{
    OpenStream, Serving, audio, channel, config, ended, eventually, file_config, narrow, request, sample,
    speech,
};
use crate::http::{Upload, post};

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_refuses_with_a_hint_and_serves_again_when_it_is_free() {
    let serving = Serving::start(narrow()).await;
    let mut client = serving.client().await;
    let holder = OpenStream::open(&mut client, file_config()).await.unwrap();
    assert_eq!(serving.metric("parlance_requests_running").await, 1.0);

    // Large enough that the refusal comes while the client still sends.
    let refused = client.transcribe(request(vec![0; 8 << 20])).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    let delay = refused
        .get_error_details()
        .retry_info()
        .expect("RetryInfo")
        .retry_delay
        .unwrap();
    assert!(delay >= Duration::from_secs(1), "{delay:?}");
    assert_eq!(refused.metadata().get("retry-after").unwrap(), "1");
    assert_eq!(refused.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
    let second = OpenStream::open(&mut client, file_config())
        .await
        .err()
        .expect("there is no place");
    assert_eq!(second.code(), Code::ResourceExhausted, "{second:?}");

    let (recording, said) = sample("one-digit-16k.wav");
    let refused = post(serving.http, Upload::of(&recording)).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");

    drop(holder);
    serving.idle().await;
    assert_eq!(
        client
            .transcribe(request(recording))
            .await
            .unwrap()
            .into_inner()
            .text,
        said
    );
    assert_eq!(
        serving.metric(&ended("Transcribe", "RESOURCE_EXHAUSTED")).await,
        1.0
    );
    assert_eq!(
        serving
            .metric(&ended("HttpTranscriptions", "RESOURCE_EXHAUSTED"))
            .await,
        1.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_resource_exhausted_without_a_hint() {
    let mut config = config();
    config.settings.max_message_size = 10_000;
    let serving = Serving::start(config).await;
    let mut client = serving.client().await;
    let refused = client.transcribe(request(vec![0; 10_001])).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("10000 bytes"), "{}", refused.message());
    assert!(
        refused.get_error_details().retry_info().is_none(),
        "sending it again does not help"
    );

    let mut stream = OpenStream::open(&mut client, file_config()).await.unwrap();
    stream.send.send(audio(&[0; 10_001])).await.unwrap();
    let refused = stream.next().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");

    assert_eq!(post(serving.http, Upload::of(&[0; 10_001])).await.status, 413);
    serving.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_are_an_invalid_argument() {
    let serving = Serving::start(narrow()).await;
    let mut client = tonic::client::Grpc::new(channel(serving.grpc).await);
    client.ready().await.unwrap();
    // A number where the request has a message.
    let wrong = Request::new(prost_types::Duration { seconds: 1, nanos: 0 });
    let path = "/parlance.v1.Transcription/Transcribe".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<prost_types::Duration, TranscribeResponse>::default();
    let refused = client.unary(wrong, path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    serving.idle().await;
}

/// In this process without a network: tonic's client would watch the deadline too, and which one is first is luck.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_in_the_queue_leaves_it() {
    let config = config();
    let transcriber = Arc::new(Transcriber::new(
        config.settings.clone(),
        Admission::new(1, 1),
        Traces::default(),
    ));
    transcriber.ready(load_model(&config).unwrap(), Duration::ZERO, None);
    let routes = service::routes(&transcriber, &HealthReporter::new()).unwrap();
    let mut client = TranscriptionClient::new(routes);
    let holder = transcriber.enter().unwrap().permit(Duration::ZERO).await;

    let recording = sample("one-digit-16k.wav").0;
    let mut late = Request::new(request(recording.clone()));
    late.metadata_mut().insert("grpc-timeout", "20m".parse().unwrap());
    let refused = client.transcribe(late).await.unwrap_err();
    assert_eq!(refused.code(), Code::DeadlineExceeded, "{refused:?}");
    assert!(refused.message().contains("queue"), "{}", refused.message());
    assert_eq!(
        transcriber.admission().load(),
        Load {
            running: 1,
            queued: 0
        }
    );
    drop(holder);
    client.transcribe(request(recording)).await.unwrap();
    assert_eq!(
        transcriber.admission().load(),
        Load {
            running: 0,
            queued: 0
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_pauses_for_longer_than_the_timeout_ends() {
    let mut config = config();
    config.settings.timeout = Duration::from_millis(50);
    let serving = Serving::start(config).await;
    let mut client = serving.client().await;
    let late = match OpenStream::open(&mut client, file_config()).await {
        Ok(mut paused) => paused.next().await.unwrap_err(),
        // A slow client has paused before its first message.
        Err(refused) => refused,
    };
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    assert!(
        late.message().contains("sent nothing for 50ms"),
        "{}",
        late.message()
    );
    serving.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_while_the_model_works_stops_the_work() {
    let mut config = narrow();
    config.settings.timeout = Duration::from_secs(1);
    let serving = Serving::start(config).await;
    let mut client = serving.client().await;
    let late = client.transcribe(request(speech(LONG))).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    serving.idle().await;
    assert_eq!(
        serving.metric(&ended("Transcribe", "DEADLINE_EXCEEDED")).await,
        1.0
    );
    let answer = post(serving.http, Upload::of(&speech(LONG))).await;
    assert_eq!(answer.status, 504);
    serving.idle().await;
}

/// So much audio that no machine has transcribed it when the test stops it.
const LONG: Duration = Duration::from_secs(20 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_stops_the_work() {
    let serving = Serving::start(narrow()).await;
    let mut client = serving.client().await;
    let running = tokio::spawn(async move { client.transcribe(request(speech(LONG))).await });
    serving.metric_becomes("parlance_requests_running", 1.0).await;
    running.abort();
    serving.idle().await;
    assert_eq!(serving.metric(&ended("Transcribe", "CANCELLED")).await, 1.0);

    let upload = Upload::of(&speech(LONG)).send(serving.http).await;
    serving.metric_becomes("parlance_requests_running", 1.0).await;
    drop(upload);
    serving.idle().await;
    assert_eq!(
        serving.metric(&ended("HttpTranscriptions", "CANCELLED")).await,
        1.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_go_away_while_they_wait_or_stream_leave_nothing_behind() {
    let serving = Serving::start(Config {
        queue_limit: 2,
        ..config()
    })
    .await;
    let client = serving.client().await;
    // A machine of its own: when it vanishes, so does its connection, in the middle of the stream.
    let machine = tokio::runtime::Runtime::new().unwrap();
    let grpc = serving.grpc;
    let open = async move { OpenStream::open(&mut crate::harness::client(grpc).await, file_config()).await };
    let _holder = machine.spawn(open).await.unwrap().unwrap();
    let recording = sample("one-digit-16k.wav").0;
    let upload = Upload::of(&recording).send(serving.http).await;
    let (mut second, audio) = (client.clone(), recording.clone());
    let waiting = tokio::spawn(async move { second.transcribe(request(audio)).await });
    serving.metric_becomes("parlance_requests_queued", 2.0).await;
    drop(upload);
    waiting.abort();
    serving.metric_becomes("parlance_requests_queued", 0.0).await;
    assert_eq!(serving.metric("parlance_requests_running").await, 1.0);
    machine.shutdown_background();
    serving.idle().await;
    for api in ["Transcribe", "HttpTranscriptions", "StreamingTranscribe"] {
        serving.metric_becomes(&ended(api, "CANCELLED"), 1.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_served_when_the_one_before_has_finished() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let holder = OpenStream::open(&mut client, file_config()).await.unwrap();
    let (recording, said) = sample("one-digit-16k.wav");
    let (mut second, audio) = (client.clone(), recording.clone());
    let waiting = tokio::spawn(async move { second.transcribe(request(audio)).await });
    serving.metric_becomes("parlance_requests_queued", 1.0).await;
    let streamed = holder.finish(vec![recording]).await.unwrap();
    assert_eq!(crate::harness::words(&streamed), said);
    assert_eq!(waiting.await.unwrap().unwrap().into_inner().text, said);
    assert_eq!(serving.metric("parlance_queue_wait_seconds_count").await, 2.0);
    eventually("all has left", async || {
        serving.metric("parlance_requests_running").await == 0.0
    })
    .await;
}

/// An hour of audio at a low estimate is a long job; between two of its windows a clip may go first.
#[tokio::test(flavor = "multi_thread")]
async fn a_clip_does_not_wait_for_the_end_of_a_long_recording() {
    let mut config = config();
    config.settings.timeout = Duration::from_secs(600);
    let serving = Serving::start(config).await;
    let (clip, said) = sample("one-digit-16k.wav");
    let address = serving.http;
    let long =
        tokio::spawn(async move { post(address, Upload::of(&speech(Duration::from_secs(600)))).await });
    eventually("the long one runs", async || {
        serving.metric("parlance_requests_running").await == 1.0
    })
    .await;
    let answer = post(serving.http, Upload::of(&clip)).await;
    assert_eq!(
        (answer.status, answer.json()["text"].as_str()),
        (200, Some(said.as_str()))
    );
    assert!(
        !long.is_finished(),
        "the clip was answered after twenty windows of the long recording"
    );
    assert_eq!(long.await.unwrap().status, 200);
}

/// Workers look at their deadlines at every step; one that never comes back leaves a server that can do nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_workers_never_come_back_says_so() {
    let config = config();
    let transcriber = Arc::new(Transcriber::new(
        config.settings.clone(),
        Admission::new(1, 1),
        Traces::default(),
    ));
    transcriber.ready(load_model(&config).unwrap(), Duration::ZERO, None);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = inference_server::http::router(transcriber.clone());
    tokio::spawn(async { axum::serve(listener, router).await });
    let holder = transcriber.enter().unwrap().permit(Duration::ZERO).await;
    holder.must_end_by(std::time::Instant::now());
    assert_eq!(
        crate::http::get(address, "/health/live").await.status,
        200,
        "late is not stuck"
    );
    holder.must_end_by(std::time::Instant::now() - Duration::from_secs(3600));
    for path in ["/health/live", "/health/ready"] {
        let answer = crate::http::get(address, path).await;
        assert_eq!(
            (answer.status, &answer.json()["status"]),
            (503, &"stuck".into()),
            "{path}"
        );
    }
    drop(holder);
    assert_eq!(crate::http::get(address, "/health/live").await.status, 200);
}
