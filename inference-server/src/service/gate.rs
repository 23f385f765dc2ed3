//! Calls in, before a byte of their audio is read; the same calls with a place in the queue out, or refused.
//! So that memory is bounded too: no more requests send their audio at a time than there are places.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::Response,
};
use futures::TryStreamExt;
use tokio::time::timeout_at;
use tonic::Status;

use crate::{
    admission::Place,
    call::{self, Call},
    desk::{Desk, Served, Settings},
    metrics::Api,
    status::{Code, Failure, Field},
    tensors,
};

/// What the gate hands to the method behind it, once.
#[derive(Clone)]
struct Arrival(Arc<Mutex<Option<(Call, Place)>>>);

impl Arrival {
    fn take(&self) -> Option<(Call, Place)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What the gate handed over for this request.
pub(crate) fn arrival<T>(request: &mut tonic::Request<T>) -> Result<(Call, Place), Status> {
    let arrival = request
        .extensions_mut()
        .remove::<Arrival>()
        .and_then(|arrival| arrival.take());
    arrival.ok_or_else(|| Failure::Internal("a request came past the gate".to_owned()).to_status(""))
}

/// Gives a call of the methods that run the model its place, its deadline and its id; lets the others through.
pub(crate) async fn gate<M: Served>(
    State(desk): State<Arc<Desk<M>>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let Some(api) = api(path) else {
        if tensors::is_health(path) {
            return next.run(request).await;
        }
        return match desk.authenticate(request.headers()) {
            Ok(()) => next.run(request).await,
            Err(failure) => failure.to_status("").into_http(),
        };
    };
    let time = time_allowed(api, request.headers(), desk.settings());
    let call = desk.begin(api, request.headers(), time);
    let (id, deadline) = (call.request_id().to_owned(), call.deadline());
    let place = match desk.authenticate(request.headers()).and_then(|()| desk.enter()) {
        Ok(place) => place,
        Err(failure) => return refuse(call, &failure, &id),
    };
    let arrival = Arrival(Arc::new(Mutex::new(Some((call, place)))));
    request.extensions_mut().insert(arrival.clone());
    let request = request.map(unbroken);
    let answered = timeout_at(deadline.into(), next.run(request)).await;
    match (answered, arrival.take()) {
        (Ok(response), None) => with_id(response, &id),
        (Ok(response), Some((call, _place))) => unread(response, call, &id, desk.settings()),
        (Err(_), Some((call, _place))) => refuse(call, &Failure::deadline("the request was received"), &id),
        // The method had it and was dropped with its call, which has counted itself.
        (Err(_), None) => say(&Failure::deadline("the request was served"), &id),
    }
}

/// tonic answered by itself: the message never reached its method.
fn unread(response: Response, call: Call, id: &str, settings: &Settings) -> Response {
    let status = Status::from_header_map(response.headers());
    match status.as_ref().map_or(Code::Unknown, Status::code) {
        // tonic says OUT_OF_RANGE for what every other gRPC server calls RESOURCE_EXHAUSTED.
        Code::OutOfRange | Code::ResourceExhausted => {
            let limit = settings.max_message_size;
            refuse(call, &Failure::TooLarge { limit }, id)
        }
        // Bytes that are no message are the client's fault, whoever finds them.
        Code::Internal => {
            let why = status.map_or_else(String::new, |status| status.message().to_owned());
            let message = format!("the request cannot be read: {why}");
            refuse(
                call,
                &Failure::InvalidArgument {
                    message,
                    field: Field::Whole,
                },
                id,
            )
        }
        // The body broke off.
        Code::Unknown => refuse(call, &Failure::Cancelled, id),
        code => {
            call.end(code);
            with_id(response, id)
        }
    }
}

/// The same body, whose end is its end: tonic takes a body that its client cancelled for one that is complete, unless the
/// error is one that it does not know.
fn unbroken(body: Body) -> Body {
    let hidden = |error: axum::Error| std::io::Error::other(error.to_string());
    Body::from_stream(body.into_data_stream().map_err(hidden))
}

fn refuse(call: Call, failure: &Failure, id: &str) -> Response {
    call.fail(failure);
    say(failure, id)
}

fn say(failure: &Failure, id: &str) -> Response {
    with_id(failure.to_status(id).into_http(), id)
}

fn with_id(mut response: Response, id: &str) -> Response {
    response
        .headers_mut()
        .insert(call::REQUEST_ID, call::header_value(id));
    response
}

fn api(path: &str) -> Option<Api> {
    match path.strip_prefix('/')?.split_once('/')? {
        (super::SERVICE_NAME, "Transcribe") => Some(Api::Transcribe),
        (super::SERVICE_NAME, "StreamingTranscribe") => Some(Api::StreamingTranscribe),
        (super::SERVICE_NAME, "DetectLanguage") => Some(Api::DetectLanguage),
        (tensors::SERVICE_NAME, "ModelInfer") => Some(Api::ModelInfer),
        _ => None,
    }
}

/// The client's deadline or the server's, whichever is sooner. A stream may last as long as the longest audio, and the
/// timeout more.
fn time_allowed(api: Api, headers: &HeaderMap, settings: &Settings) -> Duration {
    let server = match api {
        Api::StreamingTranscribe | Api::HttpRealtime => {
            settings.max_audio_duration.saturating_add(settings.timeout)
        }
        Api::Transcribe
        | Api::DetectLanguage
        | Api::HttpTranscriptions
        | Api::HttpTranslations
        | Api::ModelInfer
        | Api::HttpInfer => settings.timeout,
    };
    // A little before the client's own clock, and before tonic's, which would say CANCELLED.
    let answered = |client: Duration| client - (client / 10).min(Duration::from_millis(10));
    let client = headers.get("grpc-timeout").and_then(grpc_timeout).map(answered);
    client.map_or(server, |client| client.min(server))
}

/// At most eight digits and a unit, as the gRPC protocol has it.
pub(crate) fn grpc_timeout(value: &HeaderValue) -> Option<Duration> {
    let (digits, unit) = value
        .to_str()
        .ok()?
        .split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_the_protocol_are_read_and_others_ignored() {
        let read = |text: &str| grpc_timeout(&HeaderValue::from_str(text).unwrap());
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(read("2M"), Some(Duration::from_secs(120)));
        assert_eq!(read("3S"), Some(Duration::from_secs(3)));
        assert_eq!(read("20m"), Some(Duration::from_millis(20)));
        assert_eq!(read("5u"), Some(Duration::from_micros(5)));
        assert_eq!(read("7n"), Some(Duration::from_nanos(7)));
        for bad in ["", "S", "10", "10x", "-1S", "123456789S", "1.5S", "1é"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_the_methods_that_run_the_model_are_gated() {
        assert_eq!(
            api("/parlance.v1.Transcription/Transcribe"),
            Some(Api::Transcribe)
        );
        assert_eq!(
            api("/parlance.v1.Transcription/StreamingTranscribe"),
            Some(Api::StreamingTranscribe)
        );
        assert_eq!(
            api("/inference.GRPCInferenceService/ModelInfer"),
            Some(Api::ModelInfer)
        );
        assert_eq!(api("/inference.GRPCInferenceService/ModelMetadata"), None);
        assert_eq!(api("/parlance.v1.Transcription/GetModel"), None);
        assert_eq!(api("/grpc.health.v1.Health/Check"), None);
    }
}
