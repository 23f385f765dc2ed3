//! Failures of every stage in; gRPC statuses and HTTP errors out. The only file that maps errors to codes.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
pub use tonic::Code;
use tonic::{Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{admission::Full, audio::AudioError, pipeline::PipelineError, pipeline::Stopped};

/// Why a request got no answer, in words for the person who sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The request cannot be followed; sending it again does not help.
    #[error("{message}")]
    InvalidArgument {
        /// What is wrong with it.
        message: String,
        /// Which part of it is wrong.
        field: Field,
    },
    /// The request names a model that is not served here.
    #[error("the model \"{asked}\" does not exist here; this server serves \"{served}\"")]
    UnknownModel {
        /// The name asked for.
        asked: String,
        /// The name that works.
        served: String,
    },
    /// There is nothing at the path.
    #[error("there is nothing at {0}")]
    UnknownPath(String),
    /// The path does not take the method.
    #[error("{0} does not take this method")]
    WrongMethod(String),
    /// More bytes than the server takes in one message.
    #[error("the request is larger than {limit} bytes, the most that is accepted")]
    TooLarge {
        /// The most that is accepted.
        limit: usize,
    },
    /// Every place in the queue is taken.
    #[error(
        "the server is at its limit with {} running and {} waiting; try again in {} s",
        .0.load.running, .0.load.queued, seconds(&.0.retry_after)
    )]
    Busy(Full),
    /// The client's deadline or the server's timeout passed.
    #[error("{0}")]
    DeadlineExceeded(String),
    /// The request has no API key, or not a right one.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The client went away.
    #[error("the client cancelled the request")]
    Cancelled,
    /// The server loads its model or is about to leave; another replica may help at once.
    #[error("{0}")]
    Unavailable(&'static str),
    /// The model cannot do what the request asks of it. The words are the engine's, and for the client too: they are about its tensors.
    #[error("the model failed: {0}")]
    Model(String),
    /// A fault of the server. The words are for its log; the client learns only that there was one.
    #[error("{0}")]
    Internal(String),
}

/// The part of a request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The audio.
    Audio,
    /// The language.
    Language,
    /// The task.
    Task,
    /// Another one, by the name it has in the API.
    Named(String),
    /// No single one.
    Whole,
}

/// When to try again after UNAVAILABLE.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);

impl Failure {
    /// A request that cannot be followed because of the named field.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Failure::InvalidArgument {
            message: message.into(),
            field: Field::Named(field.to_owned()),
        }
    }

    /// A deadline that passed while `doing` something.
    pub fn deadline(doing: &str) -> Self {
        Failure::DeadlineExceeded(format!("the deadline passed while {doing}"))
    }

    /// The gRPC code, which is also the code in metrics and logs of both APIs.
    pub fn code(&self) -> Code {
        match self {
            Failure::InvalidArgument { .. } => Code::InvalidArgument,
            Failure::UnknownModel { .. } | Failure::UnknownPath(_) => Code::NotFound,
            Failure::WrongMethod(_) => Code::Unimplemented,
            Failure::TooLarge { .. } | Failure::Busy(_) => Code::ResourceExhausted,
            Failure::DeadlineExceeded(_) => Code::DeadlineExceeded,
            Failure::Unauthenticated(_) => Code::Unauthenticated,
            Failure::Cancelled => Code::Cancelled,
            Failure::Unavailable(_) => Code::Unavailable,
            Failure::Model(_) | Failure::Internal(_) => Code::Internal,
        }
    }

    /// HTTP status, and `type` and `code` of the error object.
    fn http(&self) -> (StatusCode, &'static str, Option<&'static str>) {
        const INVALID: &str = "invalid_request_error";
        const SERVER: &str = "server_error";
        match self {
            Failure::InvalidArgument { .. } => (StatusCode::BAD_REQUEST, INVALID, None),
            Failure::UnknownModel { .. } => (StatusCode::NOT_FOUND, INVALID, Some("model_not_found")),
            Failure::UnknownPath(_) => (StatusCode::NOT_FOUND, INVALID, Some("unknown_url")),
            Failure::WrongMethod(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                INVALID,
                Some("method_not_supported"),
            ),
            Failure::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, INVALID, Some("request_too_large")),
            Failure::Busy(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "requests",
                Some("rate_limit_exceeded"),
            ),
            Failure::DeadlineExceeded(_) => (StatusCode::GATEWAY_TIMEOUT, SERVER, Some("deadline_exceeded")),
            Failure::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, INVALID, Some("invalid_api_key")),
            Failure::Cancelled => (client_closed_request(), INVALID, Some("cancelled")),
            Failure::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, SERVER, Some("unavailable")),
            Failure::Model(_) | Failure::Internal(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, SERVER, Some("internal"))
            }
        }
    }

    /// The status of HTTP.
    pub fn http_status(&self) -> StatusCode {
        self.http().0
    }

    /// When sending the same request again may work.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Failure::Busy(full) => Some(full.retry_after),
            Failure::Unavailable(_) => Some(UNAVAILABLE_RETRY),
            _ => None,
        }
    }

    /// Why the server does not even try, in a word for the metrics.
    pub fn rejection(&self) -> Option<&'static str> {
        match self {
            Failure::Busy(_) => Some("busy"),
            Failure::TooLarge { .. } => Some("too_large"),
            Failure::Unavailable(_) => Some("unavailable"),
            Failure::Unauthenticated(_) => Some("unauthenticated"),
            _ => None,
        }
    }

    /// The sentence for the client: a fault's own words stay in the log.
    fn sentence(&self, request_id: &str) -> String {
        match self {
            Failure::Internal(_) => {
                format!("the server failed; its log tells why under request {request_id}")
            }
            other => other.to_string(),
        }
    }

    /// As gRPC says it, with `google.rpc` details and retry hints.
    pub fn to_status(&self, request_id: &str) -> Status {
        let mut details = ErrorDetails::new();
        details.set_request_info(request_id, "");
        if let Failure::InvalidArgument { message, field } = self
            && let Some(name) = field.in_grpc()
        {
            details.add_bad_request_violation(name, message);
        }
        let retry_after = self.retry_after();
        if retry_after.is_some() {
            details.set_retry_info(retry_after);
        }
        let mut status = Status::with_error_details(self.code(), self.sentence(request_id), details);
        if let Some(delay) = retry_after {
            let pushback = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            status
                .metadata_mut()
                .insert("retry-after", MetadataValue::from(seconds(&delay)));
            status
                .metadata_mut()
                .insert("grpc-retry-pushback-ms", MetadataValue::from(pushback));
        }
        status
    }

    /// As the OpenAI API says it.
    pub fn to_response(&self, request_id: &str) -> Response {
        let status = self.http_status();
        let body = json!({ "error": self.to_error(request_id) });
        self.with_delay((status, Json(body)).into_response())
    }

    fn with_delay(&self, mut response: Response) -> Response {
        if let Some(delay) = self.retry_after() {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds(&delay)));
        }
        response
    }

    /// As the Open Inference Protocol says it.
    pub fn to_inference_response(&self, request_id: &str) -> Response {
        let body = json!({ "error": self.sentence(request_id) });
        self.with_delay((self.http_status(), Json(body)).into_response())
    }

    /// The error object of the OpenAI API, for where no status can be sent any more.
    pub fn to_error(&self, request_id: &str) -> Value {
        let (_, kind, code) = self.http();
        json!({ "message": self.sentence(request_id), "type": kind, "param": self.param(), "code": code })
    }

    fn param(&self) -> Option<&str> {
        match self {
            Failure::InvalidArgument { field, .. } => field.in_http(),
            Failure::UnknownModel { .. } => Some("model"),
            _ => None,
        }
    }
}

impl Field {
    fn in_grpc(&self) -> Option<&str> {
        match self {
            Field::Audio => Some("audio"),
            Field::Language => Some("language"),
            Field::Task => Some("task"),
            Field::Named(name) => Some(name),
            Field::Whole => None,
        }
    }

    fn in_http(&self) -> Option<&str> {
        match self {
            Field::Audio => Some("file"),
            other => other.in_grpc(),
        }
    }
}

impl From<AudioError> for Failure {
    fn from(error: AudioError) -> Self {
        Failure::InvalidArgument {
            message: error.to_string(),
            field: Field::Audio,
        }
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Cancelled => Failure::Cancelled,
            Stopped::DeadlineExceeded => Failure::deadline("the audio was transcribed"),
        }
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        let message = error.to_string();
        match error {
            PipelineError::Stopped(stopped) => stopped.into(),
            PipelineError::UnsupportedLanguage { .. } => Failure::InvalidArgument {
                message,
                field: Field::Language,
            },
            PipelineError::UnsupportedTask { .. } => Failure::InvalidArgument {
                message,
                field: Field::Task,
            },
            PipelineError::InvalidOptions(_) => Failure::InvalidArgument {
                message,
                field: Field::Whole,
            },
            PipelineError::Engine(_) => Failure::Internal(message),
        }
    }
}

impl From<Full> for Failure {
    fn from(full: Full) -> Self {
        Failure::Busy(full)
    }
}

/// The name of a code, as the gRPC documentation writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Whole seconds, rounded up: what `retry-after` can say.
fn seconds(delay: &Duration) -> u64 {
    delay.as_secs() + u64::from(delay.subsec_nanos() > 0)
}

/// 499, which nginx made known: nobody is there to read it.
fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

#[cfg(test)]
mod tests;
