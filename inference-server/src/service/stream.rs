//! The messages of one stream in; news of it out, as there are any. A stream holds its permit for its whole
//! life: its decoder state is in memory, and a second stream beside it would share its processor, not wait for it.
//! One thread reads, decodes, transcribes and sends in turn, so a slow model or a slow client slows the sender down.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures::Stream;
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle, time::timeout_at};
use tonic::{Status, Streaming};

use crate::{
    admission::Place,
    audio::ChannelStream,
    call::Call,
    pipeline::{Cancel, Conversation, Update},
    proto::{
        StreamingConfig, StreamingTranscribeRequest, StreamingTranscribeResponse,
        streaming_transcribe_request::Request as Part,
    },
    service::{request, response},
    session::{Input, Outcome, Peer, Session},
    status::{Code, Failure},
    transcriber::{CancelOnDrop, Transcriber},
};

/// Windows that are done and not yet sent.
const RESULTS_AHEAD: usize = 4;

/// A stream whose configuration was understood and whose work has begun.
pub(super) struct Started {
    windows: mpsc::Receiver<StreamingTranscribeResponse>,
    worker: JoinHandle<Outcome>,
    _cancel: CancelOnDrop,
}

/// Reads the configuration, waits for the permit, and begins.
pub(super) async fn begin(
    transcriber: &Arc<Transcriber>,
    place: Place,
    messages: Streaming<StreamingTranscribeRequest>,
    call: &mut Call,
) -> Result<Started, Failure> {
    let settings = transcriber.settings();
    let (patience, limit) = (settings.timeout, settings.max_message_size);
    let mut inbound = Inbound {
        messages,
        patience,
        deadline: call.deadline(),
        limit,
    };
    let config = first(inbound.next().await?)?;
    let (encoding, live) = (request::encoding(&config)?, request::live(&config)?);
    let options = request::stream_options(config.transcription, &settings.options)?;
    let session = Session {
        stages: call.stages().clone(),
        audio: ChannelStream::new(encoding, options.channels, settings.max_audio_duration)?,
        live,
        options,
    };
    let model = transcriber.model()?;
    // Options that the model cannot follow are refused before the stream waits.
    Conversation::new(&model, &session.options, session.live.clone())?;
    let permit = transcriber.permit(place, Duration::ZERO, call).await?;

    let (results, windows) = mpsc::channel(RESULTS_AHEAD);
    let cancel = Cancel::new().with_deadline(Some(call.deadline()));
    let mut link = Link {
        transcriber: transcriber.clone(),
        inbound,
        results,
    };
    let switch = cancel.clone();
    let worker = tokio::task::spawn_blocking(move || session.work(permit, &model, &mut link, &switch));
    Ok(Started {
        windows,
        worker,
        _cancel: CancelOnDrop(cancel),
    })
}

/// The client, as the worker sees it.
struct Link {
    transcriber: Arc<Transcriber>,
    inbound: Inbound,
    results: mpsc::Sender<StreamingTranscribeResponse>,
}

impl Peer for Link {
    fn next(&mut self) -> Result<Option<Input>, Failure> {
        let Self {
            transcriber,
            inbound,
            results,
        } = self;
        let message = Handle::current().block_on(async {
            tokio::select! {
                message = inbound.next() => message,
                () = results.closed() => Err(Failure::Cancelled),
                failure = transcriber.stopped() => Err(failure),
            }
        })?;
        match message.map(|message| message.request) {
            None => Ok(None),
            Some(Some(Part::Audio(bytes))) => Ok(Some(Input::Audio(bytes))),
            Some(Some(Part::Config(_))) => Err(Failure::invalid(
                "config",
                "only the first message holds config, every later one audio",
            )),
            Some(None) => Err(Failure::invalid(
                "audio",
                "a message of the stream is empty; it must hold audio",
            )),
        }
    }

    fn send(&mut self, channel: Option<u16>, updates: Vec<Update>) -> Result<(), Failure> {
        for update in updates {
            let message = response::update(update, channel)?;
            let until = self.inbound.deadline.min(Instant::now() + self.inbound.patience);
            Handle::current().block_on(async {
                tokio::select! {
                    sent = timeout_at(until.into(), self.results.send(message)) => match sent {
                        Ok(sent) => sent.map_err(|_| Failure::Cancelled),
                        Err(_) => Err(Failure::deadline("the client took no results")),
                    },
                    failure = self.transcriber.stopped() => Err(failure),
                }
            })?;
        }
        Ok(())
    }
}

/// The messages of the client.
struct Inbound {
    messages: Streaming<StreamingTranscribeRequest>,
    /// The longest wait for one message.
    patience: Duration,
    /// When the whole stream must be over.
    deadline: Instant,
    /// The largest message, in bytes.
    limit: usize,
}

impl Inbound {
    /// The next message, if it comes in time; `None` when the client has sent all.
    async fn next(&mut self) -> Result<Option<StreamingTranscribeRequest>, Failure> {
        let until = self.deadline.min(Instant::now() + self.patience);
        match timeout_at(until.into(), self.messages.message()).await {
            Ok(message) => message.map_err(|status| self.broken(&status)),
            Err(_) if until == self.deadline => Err(Failure::deadline("the stream was open")),
            Err(_) => {
                let patience = humantime::format_duration(self.patience);
                Err(Failure::DeadlineExceeded(format!(
                    "the stream sent nothing for {patience}"
                )))
            }
        }
    }

    /// Why there is no next message: it is too large, or no message, or the client is gone.
    fn broken(&self, status: &Status) -> Failure {
        match status.code() {
            Code::OutOfRange | Code::ResourceExhausted => Failure::TooLarge { limit: self.limit },
            Code::Internal | Code::InvalidArgument | Code::Unimplemented => Failure::invalid(
                "audio",
                format!("a message of the stream cannot be read: {}", status.message()),
            ),
            _ => Failure::Cancelled,
        }
    }
}

fn first(message: Option<StreamingTranscribeRequest>) -> Result<StreamingConfig, Failure> {
    match message.map(|message| message.request) {
        Some(Some(Part::Config(config))) => Ok(config),
        Some(Some(Part::Audio(_)) | None) => Err(Failure::invalid(
            "config",
            "the first message of a stream must hold config",
        )),
        None => Err(Failure::invalid(
            "config",
            "the stream ended before its first message, which must hold config",
        )),
    }
}

impl Started {
    /// The stream that answers the client; it ends the call when it ends.
    pub(super) fn results(self, call: Call) -> Results {
        Results {
            started: self,
            call: Some(call),
        }
    }
}

/// The words of windows as they finish. Dropping it stops the work.
pub(super) struct Results {
    started: Started,
    call: Option<Call>,
}

impl Stream for Results {
    type Item = Result<StreamingTranscribeResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.call.is_none() {
            return Poll::Ready(None);
        }
        if let Some(window) = ready!(self.started.windows.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(window)));
        }
        let joined = ready!(Pin::new(&mut self.started.worker).poll(cx));
        Poll::Ready(self.call.take().and_then(|call| finish(call, joined)).map(Err))
    }
}

/// Ends the call; `Some` when it failed.
fn finish(mut call: Call, joined: Result<Outcome, tokio::task::JoinError>) -> Option<Status> {
    let end = match joined {
        Ok(Outcome { audio, work, end }) => {
            call.transcribed(audio, work);
            end
        }
        Err(panicked) => Err(Failure::Internal(format!("a worker panicked: {panicked}"))),
    };
    match end {
        Ok(()) => {
            call.end(Code::Ok);
            None
        }
        Err(failure) => {
            let status = failure.to_status(call.request_id());
            call.fail(&failure);
            Some(status)
        }
    }
}
