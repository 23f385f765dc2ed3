//! `POST /v1/audio/transcriptions` and `/v1/audio/translations`: an uploaded form in; the transcript in the format that it
//! asks for out.
//! A place in the queue comes first, so that no more uploads are in memory at a time than there are places.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, RequestExt,
    body::Body,
    extract::{Multipart, Request, State},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use serde_json::json;
use tokio::time::{timeout, timeout_at};

use super::form::{self, Form, ResponseFormat};
use crate::{
    admission::Place,
    audio::Channels,
    call::{self, Call},
    metrics::Api,
    pipeline::{Options, Task, Transcript},
    render::{self, Format},
    status::{Code, Failure},
    transcriber::Transcriber,
};

mod streamed;

/// How long the rest of a refused upload is thrown away, so that the client gets to read why.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// The words in the language that is spoken.
pub(super) async fn create(State(transcriber): State<Arc<Transcriber>>, request: Request) -> Response {
    let task = transcriber.settings().options.task;
    respond(transcriber, request, Api::HttpTranscriptions, task).await
}

/// The words in English.
pub(super) async fn translate(State(transcriber): State<Arc<Transcriber>>, request: Request) -> Response {
    respond(transcriber, request, Api::HttpTranslations, Task::Translate).await
}

async fn respond(transcriber: Arc<Transcriber>, request: Request, api: Api, task: Task) -> Response {
    let time = transcriber.settings().timeout;
    let mut call = transcriber.begin(api, request.headers(), time);
    let id = call::header_value(call.request_id());
    let mut response = match arrive(&transcriber, request, &call).await {
        Err(failure) => refuse(call, &failure),
        Ok((place, form)) if form.stream => streamed::respond(transcriber, place, form, task, call).await,
        Ok((place, mut form)) => {
            let options = options(&form, task, &transcriber.settings().options);
            let file = std::mem::take(&mut form.file).into_source();
            match transcriber.transcribe(place, file, options, &mut call).await {
                Ok(transcript) => {
                    call.end(Code::Ok);
                    written(&form, task, &transcript)
                }
                Err(failure) => refuse(call, &failure),
            }
        }
    };
    response.headers_mut().insert(call::REQUEST_ID, id);
    response
}

fn refuse(call: Call, failure: &Failure) -> Response {
    let response = failure.to_response(call.request_id());
    call.fail(failure);
    response
}

/// A place in the queue, and the whole form.
async fn arrive(transcriber: &Transcriber, request: Request, call: &Call) -> Result<(Place, Form), Failure> {
    let limit = transcriber.settings().max_message_size;
    let place = match transcriber
        .authenticate(request.headers())
        .and_then(|()| transcriber.enter())
    {
        Ok(place) => place,
        Err(failure) => {
            discard(request.into_body(), limit).await;
            return Err(failure);
        }
    };
    let form = async {
        let multipart: Multipart = request.extract().await.map_err(|_| {
            Failure::invalid(
                "file",
                "the request must be a multipart/form-data form with a \"file\" in it",
            )
        })?;
        form::read(multipart, limit).await
    };
    let form = timeout_at(call.deadline().into(), form).await;
    let form = form.unwrap_or_else(|_| Err(Failure::deadline("the request was served")))?;
    if let Some(name) = &form.model {
        super::served(transcriber.model()?.as_ref(), name)?;
    }
    // Deltas come as windows are done, which is not the order in which several channels were spoken.
    let channels = form.channels.unwrap_or(transcriber.settings().options.channels);
    if form.stream && channels == Channels::Each {
        return Err(Failure::invalid(
            "stream",
            "stream needs channels mixed: the deltas of separate channels would not add up to the text",
        ));
    }
    Ok((place, form))
}

/// What the form asks for, where it says nothing the server's defaults.
fn options(form: &Form, task: Task, defaults: &Options) -> Options {
    let mut options = defaults.clone();
    options.task = task;
    options.word_timestamps = form.words;
    if let Some(language) = &form.language {
        let Ok(language) = language.parse();
        options.language = language;
    }
    if form.prompt.is_some() {
        options.context.initial_prompt.clone_from(&form.prompt);
    }
    if let Some(channels) = form.channels {
        options.channels = channels;
    }
    // At 0 the API raises the temperature by itself until the text is good enough; above, it is what is asked for.
    if form.temperature > 0.0 {
        options.decoding.temperatures = vec![form.temperature];
    }
    options
}

fn written(form: &Form, task: Task, transcript: &Transcript) -> Response {
    let text = |media: &'static str, text: String| ([(CONTENT_TYPE, media)], text).into_response();
    match form.response_format {
        ResponseFormat::Json => {
            Json(json!({ "text": transcript.text, "usage": render::usage(transcript) })).into_response()
        }
        ResponseFormat::VerboseJson => {
            Json(render::verbose(transcript, task, form.segments || !form.words)).into_response()
        }
        ResponseFormat::Text => text(
            "text/plain; charset=utf-8",
            render::render(transcript, Format::Text),
        ),
        ResponseFormat::Srt => text(
            "application/x-subrip; charset=utf-8",
            render::render(transcript, Format::Srt),
        ),
        ResponseFormat::Vtt => text("text/vtt; charset=utf-8", render::render(transcript, Format::Vtt)),
    }
}

/// Reads on and keeps nothing: a client that writes into a closed connection would not see the answer.
pub(crate) async fn discard(body: Body, limit: usize) {
    let mut chunks = body.into_data_stream();
    let mut left = limit;
    let all = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    // A client that is slower than this has to do without.
    let _ = timeout(DISCARD_TIME, all).await;
}
