//! `stream=true`: the words of each window as soon as it is final, as server-sent events of the OpenAI API.
//! What fails before the first event is answered with its status; later it is an event with the error object.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    http::StatusCode,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use super::{Form, ResponseFormat, options};
use crate::{
    admission::Place,
    call::Call,
    pipeline::{Task, Transcript, WindowResult},
    render,
    status::{Code, Failure},
    text,
    transcriber::Transcriber,
};

/// Events that are ready and not yet sent.
const EVENTS_AHEAD: usize = 64;

enum Message {
    Event(Value),
    Failed { failure: Failure, request_id: String },
}

pub(super) async fn respond(
    transcriber: Arc<Transcriber>,
    place: Place,
    form: Form,
    task: Task,
    call: Call,
) -> Response {
    let (sender, mut messages) = mpsc::channel(EVENTS_AHEAD);
    // Dropping the body stops the work.
    let job = AbortOnDropHandle::new(tokio::spawn(work(transcriber, place, form, task, call, sender)));
    let first = match messages.recv().await {
        Some(Message::Event(first)) => first,
        Some(Message::Failed { failure, request_id }) => return failure.to_response(&request_id),
        None => return Failure::Internal("a worker panicked".to_owned()).to_response(""),
    };
    let later = ReceiverStream::new(messages).map(|message| match message {
        Message::Event(event) => event,
        Message::Failed { failure, request_id } => json!({ "error": failure.to_error(&request_id) }),
    });
    let events = stream::iter([first]).chain(later).map(move |event| {
        let _held = &job;
        Ok::<_, Infallible>(Event::default().data(event.to_string()))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

async fn work(
    transcriber: Arc<Transcriber>,
    place: Place,
    mut form: Form,
    task: Task,
    mut call: Call,
    sender: mpsc::Sender<Message>,
) {
    let options = options(&form, task, &transcriber.settings().options);
    let file = std::mem::take(&mut form.file).into_source();
    let verbose = form.response_format == ResponseFormat::VerboseJson;
    let (windows, mut told) = (sender.clone(), Told::default());
    let begun = Arc::new(AtomicBool::new(false));
    let begins = begun.clone();
    let each = move |window: &WindowResult| {
        for event in told.window(window, verbose) {
            // Nobody listens: dropping the body has stopped the work already.
            let _ = windows.blocking_send(Message::Event(event));
            begins.store(true, Ordering::Relaxed);
        }
    };
    let last = match transcriber
        .transcribe_each(place, file, options, &mut call, each)
        .await
    {
        Ok(transcript) => {
            call.end(Code::Ok);
            Message::Event(done(&form, task, &transcript))
        }
        Err(failure) => {
            let request_id = call.request_id().to_owned();
            if begun.load(Ordering::Relaxed) {
                call.answered(StatusCode::OK);
            }
            call.fail(&failure);
            Message::Failed { failure, request_id }
        }
    };
    let _ = sender.send(last).await;
}

/// What has been told of a transcript.
#[derive(Default)]
struct Told {
    text: String,
    segments: usize,
}

impl Told {
    /// The events of the next window. The deltas together are the whole text.
    fn window(&mut self, window: &WindowResult, verbose: bool) -> Vec<Value> {
        let mut events = Vec::new();
        for segment in &window.segments {
            let whole = text::join([self.text.as_str(), &segment.text]);
            let delta = whole.strip_prefix(&self.text).unwrap_or_default();
            events.push(json!({ "type": "transcript.text.delta", "delta": delta }));
            if verbose {
                events.push(json!({
                    "type": "transcript.text.segment",
                    "id": format!("seg_{}", self.segments),
                    "start": segment.start.as_secs_f64(),
                    "end": segment.end.as_secs_f64(),
                    "text": segment.text,
                }));
            }
            self.text = whole;
            self.segments += 1;
        }
        events
    }
}

fn done(form: &Form, task: Task, transcript: &Transcript) -> Value {
    let mut done = json!({
        "type": "transcript.text.done",
        "text": transcript.text,
        "usage": render::usage(transcript),
    });
    if form.response_format == ResponseFormat::VerboseJson {
        done["verbose"] = render::verbose(transcript, task, form.segments || !form.words);
    }
    done
}
