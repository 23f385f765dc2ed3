//! The WebSocket of the OpenAI Realtime API.

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::harness::{Serving, config, ended, narrow, sample};

struct Session(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Session {
    async fn open(serving: &Serving) -> Session {
        let address = format!("ws://{}/v1/realtime?intent=transcription", serving.http);
        let mut session = Session(connect_async(address).await.unwrap().0);
        assert_eq!(session.next().await["type"], "session.created");
        session
    }

    async fn send(&mut self, event: Value) {
        self.0.send(Message::text(event.to_string())).await.unwrap();
    }

    async fn append(&mut self, samples: &[u8]) {
        for piece in samples.chunks(3200) {
            let audio = BASE64_STANDARD.encode(piece);
            self.send(json!({ "type": "input_audio_buffer.append", "audio": audio }))
                .await;
        }
    }

    async fn next(&mut self) -> Value {
        loop {
            match self.0.next().await.expect("the session is open").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// All events up to the next one of a type.
    async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut events = vec![self.next().await];
        while events[events.len() - 1]["type"] != kind {
            assert_ne!(events[events.len() - 1]["type"], "error", "{events:?}");
            events.push(self.next().await);
        }
        events
    }
}

const COMPLETED: &str = "conversation.item.input_audio_transcription.completed";
const DELTA: &str = "conversation.item.input_audio_transcription.delta";

/// Raw samples of a recording at 16 kHz.
fn raw(file: &str) -> Vec<u8> {
    let wav = sample(file).0;
    let samples = hound::WavReader::new(&wav[..]).unwrap().into_samples::<i16>();
    samples.flat_map(|sample| sample.unwrap().to_le_bytes()).collect()
}

fn update(input: Value) -> Value {
    json!({ "type": "session.update", "session": { "type": "transcription", "audio": { "input": input } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn utterances_become_items_with_deltas_and_a_transcript() {
    let serving = Serving::start(config()).await;
    let mut session = Session::open(&serving).await;
    let format = json!({ "type": "audio/pcm", "rate": 16_000 });
    session
        .send(update(
            json!({ "format": format, "transcription": { "model": "whisper-1", "language": "en" } }),
        ))
        .await;
    let updated = session.next().await;
    assert_eq!(updated["type"], "session.updated");
    let input = &updated["session"]["audio"]["input"];
    assert_eq!(
        (&input["format"], &input["transcription"]["language"]),
        (&format, &json!("en"))
    );
    assert_eq!(input["turn_detection"]["type"], "server_vad");

    let mut items = Vec::new();
    for file in ["three-digits-16k.wav", "one-digit-16k.wav"] {
        session.append(&[&raw(file)[..], &[0; 48_000]].concat()).await;
        let events = session.until(COMPLETED).await;
        let kinds: Vec<&str> = events
            .iter()
            .map(|event| event["type"].as_str().unwrap())
            .collect();
        assert_eq!(kinds[0], "input_audio_buffer.speech_started");
        assert!(kinds.contains(&"input_audio_buffer.speech_stopped"), "{kinds:?}");
        assert!(kinds.contains(&"input_audio_buffer.committed"), "{kinds:?}");
        let last = events.last().unwrap();
        assert_eq!(last["transcript"], sample(file).1);
        let deltas = events.iter().filter(|event| event["type"] == DELTA);
        let told: String = deltas.map(|event| event["delta"].as_str().unwrap()).collect();
        assert!(!told.is_empty(), "{events:?}");
        assert!(
            events
                .iter()
                .all(|event| event["item_id"] == last["item_id"] || event["item"]["id"] == last["item_id"])
        );
        items.push(last["item_id"].clone());
    }
    assert_ne!(items[0], items[1]);
    session.0.close(None).await.unwrap();
    serving.idle().await;
    serving.metric_becomes(&ended("HttpRealtime", "OK"), 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_turn_detection_the_client_commits_and_clears() {
    let serving = Serving::start(config()).await;
    let mut session = Session::open(&serving).await;
    let format = json!({ "type": "audio/pcm", "rate": 16_000 });
    session
        .send(update(json!({ "format": format, "turn_detection": null })))
        .await;
    assert_eq!(
        session.next().await["session"]["audio"]["input"]["turn_detection"],
        Value::Null
    );
    session.append(&raw("one-digit-16k.wav")).await;
    session.send(json!({ "type": "input_audio_buffer.clear" })).await;
    session.until("input_audio_buffer.cleared").await;
    session.append(&raw("three-digits-16k.wav")).await;
    session.send(json!({ "type": "input_audio_buffer.commit" })).await;
    let events = session.until(COMPLETED).await;
    assert_eq!(
        events.last().unwrap()["transcript"],
        sample("three-digits-16k.wav").1
    );
    assert!(
        events
            .iter()
            .all(|event| event["type"] != "input_audio_buffer.speech_started")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_followed_is_an_error_and_the_session_goes_on() {
    let serving = Serving::start(config()).await;
    let mut session = Session::open(&serving).await;
    for (event, param) in [
        (json!({ "type": "response.create" }), "type"),
        (
            update(json!({ "turn_detection": { "type": "semantic_vad" } })),
            "session.audio.input.turn_detection",
        ),
        (
            update(json!({ "noise_reduction": { "type": "near_field" } })),
            "session.audio.input.noise_reduction",
        ),
        (
            update(json!({ "transcription": { "language": "tlh" } })),
            "language",
        ),
        (update(json!({ "transcription": { "model": "gpt-5" } })), "model"),
        (
            update(json!({ "format": { "type": "audio/mpeg" } })),
            "session.audio.input.format",
        ),
        (
            json!({ "type": "input_audio_buffer.append", "audio": "?" }),
            "audio",
        ),
    ] {
        session.send(event.clone()).await;
        let answer = session.next().await;
        assert_eq!(
            (&answer["type"], &answer["error"]["param"]),
            (&json!("error"), &json!(param)),
            "{event}"
        );
    }
    session
        .send(update(json!({ "format": { "type": "audio/pcmu" } })))
        .await;
    assert_eq!(session.next().await["type"], "session.updated");
    session.append(&[0xff; 8000]).await;
    session.send(update(json!({}))).await;
    assert_eq!(session.next().await["error"]["param"], "session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_at_its_limit_refuses_the_socket() {
    let serving = Serving::start(narrow()).await;
    let _first = Session::open(&serving).await;
    let second = connect_async(format!("ws://{}/v1/realtime", serving.http)).await;
    match second {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 429),
        other => panic!("{other:?}"),
    }
    let unknown = connect_async(format!("ws://{}/v1/realtime?model=gpt-5", serving.http)).await;
    assert!(unknown.is_err());
}
