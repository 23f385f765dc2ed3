//! `GET /v1/realtime`: a WebSocket that speaks the transcription session of the OpenAI Realtime API. Audio as base64 in JSON
//! events in; the words of each utterance out. The session is configured until the first audio has come.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{
        Query, State,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code},
    },
    http::{HeaderMap, StatusCode},
    response::Response,
};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, interval, sleep_until},
};

use crate::{
    admission::Place,
    audio::{ChannelStream, Channels},
    call::{self, Call},
    metrics::Api,
    pipeline::{Cancel, Conversation, Update},
    session::{Input, Outcome, Peer, Session},
    status::{Code, Failure},
    transcriber::{CancelOnDrop, Transcriber},
};

mod events;
mod items;

use events::{Asked, Configuration};
use items::Items;

/// Pieces of audio that are read ahead, and news that are not yet sent.
const AHEAD: usize = 16;
/// So often the client is asked whether it is still there.
const PING: Duration = Duration::from_secs(20);
/// Names under which clients ask for this protocol.
const PROTOCOLS: [&str; 1] = ["realtime"];

#[derive(serde::Deserialize)]
pub(super) struct Parameters {
    model: Option<String>,
}

/// Refuses what can be refused before the socket is one; then lives as long as the socket.
pub(super) async fn open(
    State(transcriber): State<Arc<Transcriber>>,
    Query(Parameters { model }): Query<Parameters>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let settings = transcriber.settings();
    let time = settings.max_audio_duration.saturating_add(settings.timeout);
    let call = transcriber.begin(Api::HttpRealtime, &headers, time);
    let id = call::header_value(call.request_id());
    let allowed = transcriber.authenticate(&headers);
    let place = allowed.and_then(|()| transcriber.enter()).and_then(|place| {
        if let Some(name) = &model {
            super::served(transcriber.model()?.as_ref(), name)?;
        }
        Ok(place)
    });
    let mut response = match place {
        Err(failure) => {
            let response = failure.to_response(call.request_id());
            call.fail(&failure);
            response
        }
        Ok(place) => {
            let limit = settings.max_message_size;
            upgrade
                .max_message_size(limit)
                .protocols(PROTOCOLS)
                .on_upgrade(move |socket| serve(transcriber, place, socket, call))
        }
    };
    response.headers_mut().insert(call::REQUEST_ID, id);
    response
}

async fn serve(transcriber: Arc<Transcriber>, place: Place, socket: WebSocket, mut call: Call) {
    call.answered(StatusCode::SWITCHING_PROTOCOLS);
    let id = call.request_id().to_owned();
    let (outbound, inbound) = socket.split();
    let mut client = Client {
        outbound,
        inbound,
        id: id.clone(),
        events: 0,
        until: call.deadline().into(),
        patience: transcriber.settings().timeout,
    };
    match talk(&transcriber, place, &mut client, &mut call).await {
        Ok(()) => call.end(Code::Ok),
        Err(failure) => {
            let _ = client
                .send(json!({ "type": "error", "error": failure.to_error(&id) }))
                .await;
            let code = match failure.code() {
                Code::Unavailable => close_code::AWAY,
                Code::Internal => close_code::ERROR,
                _ => close_code::POLICY,
            };
            let close = CloseFrame {
                code,
                reason: Utf8Bytes::from_static("see the error event before this"),
            };
            let _ = client.outbound.send(Message::Close(Some(close))).await;
            call.fail(&failure);
        }
    }
}

/// Both sides of the socket.
struct Client {
    outbound: SplitSink<WebSocket, Message>,
    inbound: futures::stream::SplitStream<WebSocket>,
    id: String,
    /// Events sent so far.
    events: u64,
    /// When the session must be over.
    until: Instant,
    /// The longest silence of the client.
    patience: Duration,
}

impl Client {
    /// Sends an event, with an id of its own.
    async fn send(&mut self, mut event: Value) -> Result<(), Failure> {
        self.events += 1;
        event["event_id"] = json!(format!("event_{}_{}", self.id, self.events));
        let sent = self.outbound.send(Message::Text(event.to_string().into()));
        match tokio::time::timeout(self.patience, sent).await {
            Ok(sent) => sent.map_err(|_| Failure::Cancelled),
            Err(_) => Err(Failure::deadline("the client took no events")),
        }
    }

    /// The next event of the client, whatever it is; `None` when it is gone.
    async fn next(&mut self) -> Result<Option<Result<Asked, Failure>>, Failure> {
        let until = self.until.min(Instant::now() + self.patience);
        let mut pings = interval(PING);
        pings.tick().await;
        loop {
            let message = tokio::select! {
                message = self.inbound.next() => message,
                _ = pings.tick() => {
                    let _ = self.outbound.send(Message::Ping(Default::default())).await;
                    continue;
                }
                () = sleep_until(until) => return Err(Failure::deadline("the session was open")),
            };
            return Ok(match message {
                Some(Ok(Message::Text(text))) => Some(Asked::read(&text)),
                Some(Ok(Message::Binary(_))) => Some(Err(Failure::invalid(
                    "type",
                    "events are JSON in text messages; audio is base64 in them",
                ))),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_))) | None => None,
                Some(Err(_)) => return Err(Failure::Cancelled),
            });
        }
    }

    /// Says that an event of the client cannot be followed; the session goes on.
    async fn refuse(&mut self, failure: &Failure) -> Result<(), Failure> {
        let error = failure.to_error(&self.id);
        self.send(json!({ "type": "error", "error": error })).await
    }
}

/// The whole session.
async fn talk(
    transcriber: &Arc<Transcriber>,
    place: Place,
    client: &mut Client,
    call: &mut Call,
) -> Result<(), Failure> {
    let model = transcriber.model()?;
    let mut configuration = Configuration::new(transcriber.settings(), &model);
    client
        .send(configuration.event("session.created", &client.id.clone()))
        .await?;
    let first = loop {
        let asked = tokio::select! {
            asked = client.next() => asked?,
            failure = transcriber.stopped() => return Err(failure),
        };
        match asked {
            None => return Ok(()),
            Some(Ok(Asked::Update(session))) => match configuration.update(&session, &model) {
                Ok(()) => {
                    client
                        .send(configuration.event("session.updated", &client.id.clone()))
                        .await?;
                }
                Err(failure) => client.refuse(&failure).await?,
            },
            Some(Ok(Asked::Input(input))) => break input,
            Some(Err(failure)) => client.refuse(&failure).await?,
        }
    };
    let session = Session {
        stages: call.stages().clone(),
        audio: ChannelStream::new(
            configuration.encoding,
            Channels::Mix,
            transcriber.settings().max_audio_duration,
        )?,
        live: configuration.live.clone(),
        options: configuration.options.clone(),
    };
    Conversation::new(&model, &session.options, session.live.clone())?;
    let permit = transcriber.permit(place, Duration::ZERO, call).await?;
    let cancel = Cancel::new().with_deadline(Some(call.deadline()));
    let stop = CancelOnDrop(cancel.clone());
    let (inputs, receiver) = mpsc::channel(AHEAD);
    let (sender, updates) = mpsc::channel(AHEAD);
    let mut link = Link {
        inputs: receiver,
        updates: sender,
    };
    let worker = tokio::task::spawn_blocking(move || session.work(permit, &model, &mut link, &cancel));
    let items = Items::new(&client.id, configuration.live.utterance_silence.is_some());
    let told = tokio::select! {
        told = converse(client, first, inputs, updates, items) => told,
        failure = transcriber.stopped() => Err(failure),
    };
    let client_left = told?;
    if client_left {
        drop(stop);
    }
    let Outcome { audio, work, end } = worker
        .await
        .map_err(|panicked| Failure::Internal(format!("a worker panicked: {panicked}")))?;
    call.transcribed(audio, work);
    // Closing the socket is how a session ends.
    if client_left { Ok(()) } else { end }
}

/// Passes on what the client says, and the news that the worker has, until one of them is at its end. Returns whether that
/// is the client.
async fn converse(
    client: &mut Client,
    first: Input,
    inputs: mpsc::Sender<Input>,
    mut updates: mpsc::Receiver<Update>,
    mut items: Items,
) -> Result<bool, Failure> {
    let mut waiting = Some(first);
    loop {
        // While the worker has no room for what came last, nothing more is read.
        let room = async {
            match &waiting {
                Some(_) => inputs.reserve().await.ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            update = updates.recv() => match update {
                Some(update) => for event in items.tell(update) {
                    client.send(event).await?;
                },
                // The worker is done; it says itself how it went.
                None => return Ok(false),
            },
            permit = room => match (permit, waiting.take()) {
                (Some(permit), Some(input)) => permit.send(input),
                _ => return Ok(false),
            },
            asked = client.next(), if waiting.is_none() => match asked? {
                None => return Ok(true),
                Some(Ok(Asked::Input(input))) => {
                    if let Input::Clear = input {
                        client.send(json!({ "type": "input_audio_buffer.cleared" })).await?;
                    }
                    waiting = Some(input);
                }
                Some(Ok(Asked::Update(_))) => {
                    let late = Failure::invalid(
                        "session",
                        "the session cannot be changed once audio has been sent; open another one",
                    );
                    client.refuse(&late).await?;
                }
                Some(Err(failure)) => client.refuse(&failure).await?,
            },
        }
    }
}

/// The socket, as the worker sees it.
struct Link {
    inputs: mpsc::Receiver<Input>,
    updates: mpsc::Sender<Update>,
}

impl Peer for Link {
    fn next(&mut self) -> Result<Option<Input>, Failure> {
        Ok(self.inputs.blocking_recv())
    }

    fn send(&mut self, _: Option<u16>, updates: Vec<Update>) -> Result<(), Failure> {
        for update in updates {
            self.updates
                .blocking_send(update)
                .map_err(|_| Failure::Cancelled)?;
        }
        Ok(())
    }
}
