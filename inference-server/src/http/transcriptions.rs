//! `POST /v1/audio/transcriptions`: an uploaded form in; the transcript as JSON or text out.
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
    call::{self, Call},
    metrics::Api,
    status::{Code, Failure},
    transcriber::Transcriber,
};

/// How long the rest of a refused upload is thrown away, so that the client gets to read why.
const DISCARD_TIME: Duration = Duration::from_secs(5);

pub(super) async fn create(State(transcriber): State<Arc<Transcriber>>, request: Request) -> Response {
    let time = transcriber.settings().timeout;
    let mut call = Call::begin(
        transcriber.metrics().clone(),
        Api::HttpTranscriptions,
        request.headers(),
        time,
    );
    let id = call::header_value(call.request_id());
    let answer = match transcriber.enter() {
        Ok(place) => {
            let deadline = call.deadline();
            let answer = timeout_at(deadline.into(), answer(&transcriber, request, place, &mut call)).await;
            answer.unwrap_or_else(|_| Err(Failure::deadline("the request was served")))
        }
        Err(failure) => {
            discard(request.into_body(), transcriber.settings().max_message_size).await;
            Err(failure)
        }
    };
    let mut response = match answer {
        Ok(response) => {
            call.end(Code::Ok);
            response
        }
        Err(failure) => {
            let response = failure.to_response(call.request_id());
            call.fail(&failure);
            response
        }
    };
    response.headers_mut().insert(call::REQUEST_ID, id);
    response
}

async fn answer(
    transcriber: &Transcriber,
    request: Request,
    place: Place,
    call: &mut Call,
) -> Result<Response, Failure> {
    let limit = transcriber.settings().max_message_size;
    let multipart: Multipart = request.extract().await.map_err(|_| {
        Failure::invalid(
            "file",
            "the request must be a multipart/form-data form with a \"file\" in it",
        )
    })?;
    let Form {
        file,
        model,
        language,
        response_format,
    } = form::read(multipart, limit).await?;
    if let Some(name) = model {
        super::served(transcriber.model()?.as_ref(), &name)?;
    }
    let mut options = transcriber.settings().options.clone();
    if let Some(language) = language {
        let Ok(language) = language.parse();
        options.language = language;
    }
    let transcript = transcriber.transcribe(place, file, options, call).await?;
    Ok(match response_format {
        ResponseFormat::Json => Json(json!({ "text": transcript.text })).into_response(),
        ResponseFormat::Text => (
            [(CONTENT_TYPE, "text/plain; charset=utf-8")],
            transcript.text + "\n",
        )
            .into_response(),
    })
}

/// Reads on and keeps nothing: a client that writes into a closed connection would not see the answer.
async fn discard(body: Body, limit: usize) {
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
