//! One try at one pod: the form goes out, events come back.
//!
//! In: a recording and a pod. Out: the transcript, or whether another pod may do better. It waits for nobody and tries nothing twice.

use std::path::Path;
use std::time::{Duration, Instant};

use eventsource_stream::Eventsource;
use futures::StreamExt;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyDataStream, BodyExt};
use hyper::body::Incoming;
use kube::Client;

use super::events::{self, Event, Failure};
use super::form::form;
use super::progress::Progress;
use super::transcript::Transcript;
use crate::error::Error;
use crate::forward::{Connection, ForwardError};
use crate::tls::Tls;

/// The server's own words for what passes by itself.
const UNAVAILABLE: &str = "unavailable";
/// When to come back where the server does not say.
const SOON: Duration = Duration::from_secs(1);

/// How a try went.
pub enum Attempt {
    /// All is heard.
    Done(Box<Transcript>),
    /// Another pod, or the same one later, may do it.
    Elsewhere {
        /// Why not here and now.
        message: String,
        /// When this one may.
        retry_after: Duration,
    },
}

/// Where to try.
#[derive(Clone)]
pub struct Place {
    /// Namespace of the pod.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its port for HTTP.
    pub port: u16,
    /// How the connection is secured, where the pod speaks TLS.
    pub tls: Option<Tls>,
}

/// What is asked of the server.
pub struct Ask<'a> {
    /// The recording.
    pub file: &'a Path,
    /// Fields of the form beside the file.
    pub fields: &'a [(&'static str, String)],
    /// The value of `Authorization`, where there is an API key.
    pub authorization: Option<&'a HeaderValue>,
}

/// Tries once.
///
/// # Errors
/// What no other pod would do better: a recording that cannot be read, a permission or a key that is missing.
pub async fn attempt(
    client: &Client,
    place: &Place,
    ask: &Ask<'_>,
    progress: &Progress,
) -> Result<Attempt, Error> {
    let Place {
        namespace,
        pod,
        port,
        tls,
    } = place;
    let failed = |error| given_up(error, ask.file);
    let mut connection = match Connection::open(client, namespace, pod, *port, tls.as_ref()).await {
        Ok(connection) => connection,
        Err(error) => return failed(error),
    };
    let sent = progress.clone();
    let form = form(ask.file, ask.fields, move |bytes| sent.sent(bytes)).await?;
    progress.sends(form.file_size);
    let mut request = Request::post("/v1/audio/transcriptions")
        .header(CONTENT_TYPE, form.content_type)
        .header(CONTENT_LENGTH, form.length);
    if let Some(value) = ask.authorization {
        request = request.header(AUTHORIZATION, value);
    }
    let request = request
        .body(form.body)
        .map_err(|e| Error::Usage(format!("the request cannot be made: {e}")))?;
    let began = Instant::now();
    let response = match connection.send(request).await {
        Ok(response) => response,
        Err(error) => return failed(error),
    };
    let (parts, body) = response.into_parts();
    match parts.status {
        StatusCode::OK => heard(body, place, ask.file, began, progress).await,
        status => {
            let bytes = body.collect().await.map(|all| all.to_bytes()).unwrap_or_default();
            let failure = events::failure(&String::from_utf8_lossy(&bytes)).unwrap_or_default();
            refused(status, &parts.headers, failure, place, ask.file)
        }
    }
}

fn given_up(error: ForwardError, file: &Path) -> Result<Attempt, Error> {
    match error {
        ForwardError::Denied(error) => Err(error),
        ForwardError::Body(message) => Err(Error::Answer {
            file: file.to_owned(),
            message: format!("failed to read it: {message}"),
        }),
        ForwardError::Lost(message) => Ok(Attempt::Elsewhere {
            message,
            retry_after: SOON,
        }),
    }
}

async fn heard(
    body: Incoming,
    place: &Place,
    file: &Path,
    began: Instant,
    progress: &Progress,
) -> Result<Attempt, Error> {
    let broken = |message| Error::Pod {
        pod: place.pod.clone(),
        message,
    };
    let mut stream = BodyDataStream::new(body).eventsource();
    while let Some(next) = stream.next().await {
        let event = match next {
            Ok(event) => event,
            Err(error) => {
                return Ok(Attempt::Elsewhere {
                    message: format!("it broke off before the end: {error}"),
                    retry_after: SOON,
                });
            }
        };
        match events::event(&event.data).map_err(broken)? {
            Event::Heard(seconds) => progress.heard(seconds, began),
            Event::Done(whole) => {
                let transcript = Transcript::of(whole).map_err(broken)?;
                return Ok(Attempt::Done(Box::new(transcript)));
            }
            Event::Failed(failure) if failure.code.as_deref() == Some(UNAVAILABLE) => {
                return Ok(Attempt::Elsewhere {
                    message: failure.message,
                    retry_after: SOON,
                });
            }
            Event::Failed(failure) => {
                return Err(Error::Answer {
                    file: file.to_owned(),
                    message: failure.message,
                });
            }
            Event::Other => {}
        }
    }
    Ok(Attempt::Elsewhere {
        message: "it broke off before the end".to_owned(),
        retry_after: SOON,
    })
}

/// What an answer other than 200 means.
fn refused(
    status: StatusCode,
    headers: &HeaderMap,
    failure: Failure,
    place: &Place,
    file: &Path,
) -> Result<Attempt, Error> {
    let message = match failure.message.is_empty() {
        true => format!("it answered {status}"),
        false => failure.message,
    };
    match status {
        // RESOURCE_EXHAUSTED and UNAVAILABLE: the server says when to come back.
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Ok(Attempt::Elsewhere {
            message,
            retry_after: retry_after(headers),
        }),
        StatusCode::UNAUTHORIZED => Err(Error::Pod {
            pod: place.pod.clone(),
            message: format!("{message}; give an API key with --api-key-file or PARLANCE_API_KEY"),
        }),
        status if status.is_client_error() || status == StatusCode::GATEWAY_TIMEOUT => Err(Error::Answer {
            file: file.to_owned(),
            message,
        }),
        _ => Err(Error::Pod {
            pod: place.pod.clone(),
            message,
        }),
    }
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(SOON, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry: Option<&str>, message: &str) -> Result<Attempt, Error> {
        let mut headers = HeaderMap::new();
        if let Some(retry) = retry {
            headers.insert(RETRY_AFTER, retry.parse().unwrap());
        }
        let place = Place {
            namespace: "speech".into(),
            pod: "calls-1".into(),
            port: 8080,
            tls: None,
        };
        let failure = Failure {
            message: message.into(),
            code: None,
        };
        let status = StatusCode::from_u16(status).unwrap();
        refused(status, &headers, failure, &place, Path::new("a.wav"))
    }

    #[test]
    fn a_busy_pod_says_when_to_come_back() {
        for (status, retry, seconds) in [(429, Some("7"), 7), (503, None, 1), (429, Some("soon"), 1)] {
            match answer(status, retry, "busy") {
                Ok(Attempt::Elsewhere { message, retry_after }) => {
                    assert_eq!((message.as_str(), retry_after.as_secs()), ("busy", seconds));
                }
                other => panic!("{status}: {:?}", other.err()),
            }
        }
    }

    #[test]
    fn what_no_other_pod_would_do_better_is_final() {
        let error = |status, message| answer(status, None, message).err().unwrap().to_string();
        assert_eq!(error(400, "this is no audio"), "a.wav: this is no audio");
        assert_eq!(error(413, "too large"), "a.wav: too large");
        assert!(error(401, "no key").contains("PARLANCE_API_KEY"));
        assert_eq!(
            error(500, ""),
            "pod calls-1: it answered 500 Internal Server Error"
        );
    }
}
