//! What a service answered in; whether to ask again, and when, out. Pure.

use std::{error::Error as _, io, time::Duration};

use tonic::Status;
use tonic_types::StatusExt;

use crate::{
    cause::root,
    proto::transcription_server::SERVICE_NAME,
    status::{Code, code_name},
};

/// The longest that a service's wish to be left alone is followed.
const LONGEST_HINT: Duration = Duration::from_secs(300);

/// What follows from an attempt that brought no transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was done: the service is busy, or there is none yet.
    Later {
        /// What it said.
        said: String,
        /// How long it wants to be left alone.
        after: Option<Duration>,
    },
    /// Something was begun and went wrong, perhaps because of the recording.
    Broken(String),
    /// This recording gets no transcript.
    Refused(String),
    /// No recording does.
    Stop(String),
}

/// What an answer without a transcript means.
pub fn of_status(status: &Status) -> Verdict {
    if let Some(cause) = status.source() {
        return Verdict::Broken(format!("the connection broke off: {}", root(cause)));
    }
    match plain_status(status.message()) {
        None => {}
        Some(code @ (429 | 502 | 503 | 504)) => {
            let said = format!("something before the service answers HTTP {code}");
            return Verdict::Later { said, after: None };
        }
        Some(code @ 500..) => return Verdict::Broken(format!("the service answers HTTP {code}")),
        Some(code) => return no_such_service(&format!("HTTP {code}")),
    }
    let said = match status.message() {
        "" => format!("the service answers {}", code_name(status.code())),
        said => said.to_owned(),
    };
    let hint = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let after = hint.map(|hint| hint.min(LONGEST_HINT));
    match status.code() {
        Code::Unavailable => Verdict::Later { said, after },
        Code::ResourceExhausted if after.is_some() => Verdict::Later { said, after },
        Code::InvalidArgument if asks_too_much(status) => {
            Verdict::Stop(format!("the service cannot do what is asked of it: {said}"))
        }
        Code::Unauthenticated | Code::PermissionDenied => Verdict::Stop(format!(
            "the service lets nobody in without a right key: {said}; give it by --api-key-file or PARLANCE_API_KEY"
        )),
        Code::Unimplemented => no_such_service(&said),
        Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Internal
        | Code::Unknown
        | Code::Aborted
        | Code::DataLoss => Verdict::Broken(said),
        _ => Verdict::Refused(said),
    }
}

fn no_such_service(said: &str) -> Verdict {
    Verdict::Stop(format!(
        "there is no {SERVICE_NAME} at this address ({said}): --service takes that of a gRPC port"
    ))
}

/// The status of an answer that is plain HTTP, such as a proxy's. tonic keeps it in its words alone.
fn plain_status(message: &str) -> Option<u16> {
    let status = message.split("while receiving response with status: ").nth(1)?;
    status.split(' ').next()?.parse().ok()
}

/// Whether the fault is with the language, the task and so on, which are the same for all, and not with the audio.
fn asks_too_much(status: &Status) -> bool {
    let details = status.get_details_bad_request();
    let fields = details.iter().flat_map(|request| &request.field_violations);
    fields.into_iter().any(|violation| violation.field != "audio")
}

/// What it means that there is no connection. A certificate that is not trusted now will not be in a minute.
pub fn of_connection(error: &tonic::transport::Error) -> Verdict {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = within.and_then(|within| within.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls.or_else(|| error.downcast_ref()) {
            return Verdict::Stop(format!(
                "no safe connection to the service: {tls}; --ca-file names the authority of its certificate"
            ));
        }
        cause = error.source();
    }
    Verdict::Later {
        said: format!("the service cannot be reached: {}", root(error)),
        after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admission::{Full, Load},
        status::{Failure, Field},
    };

    /// What a client makes of the server's own answer.
    fn answered(failure: &Failure) -> Verdict {
        of_status(&failure.to_status("id"))
    }

    #[test]
    fn a_busy_or_absent_service_is_asked_later_and_when_it_says() {
        let full = |seconds| {
            Failure::Busy(Full {
                load: Load {
                    running: 1,
                    queued: 2,
                },
                retry_after: Duration::from_secs(seconds),
            })
        };
        for (seconds, after) in [(7, 7), (4000, 300)] {
            let Verdict::Later { said, after: hint } = answered(&full(seconds)) else {
                panic!("{seconds}");
            };
            assert_eq!(hint, Some(Duration::from_secs(after)));
            assert!(said.contains("at its limit"), "{said}");
        }
        let loading = answered(&Failure::Unavailable("the model is being loaded"));
        assert!(
            matches!(&loading, Verdict::Later { said, after: Some(_) } if said == "the model is being loaded"),
            "{loading:?}"
        );
        let gateway = of_status(&Status::unavailable(""));
        let said = "the service answers UNAVAILABLE".to_owned();
        assert_eq!(gateway, Verdict::Later { said, after: None });
    }

    #[test]
    fn a_recording_that_cannot_be_transcribed_is_refused_and_others_are_not() {
        let invalid = |field| {
            let message = "so it is".to_owned();
            answered(&Failure::InvalidArgument { message, field })
        };
        let refused = Verdict::Refused("so it is".to_owned());
        assert_eq!(
            (invalid(Field::Audio), invalid(Field::Whole)),
            (refused.clone(), refused)
        );
        assert!(matches!(
            answered(&Failure::TooLarge { limit: 5 }),
            Verdict::Refused(said) if said.contains("larger than 5 bytes")
        ));
    }

    #[test]
    fn what_every_recording_would_meet_ends_the_run() {
        let language = Failure::InvalidArgument {
            message: "no such language".to_owned(),
            field: Field::Language,
        };
        let nobody = Failure::Unauthenticated("there is no key");
        let nowhere = Failure::WrongMethod("/x".to_owned());
        for (failure, part) in [
            (language, "no such language"),
            (nobody, "--api-key-file"),
            (nowhere, "--service"),
        ] {
            let verdict = answered(&failure);
            assert!(
                matches!(&verdict, Verdict::Stop(said) if said.contains(part)),
                "{verdict:?}"
            );
        }
    }

    #[test]
    fn a_proxy_that_answers_for_the_service_is_understood() {
        let answers = |status: &str| {
            let words = "protocol error: received message with invalid compression flag: 60 (valid flags are 0 and 1)";
            of_status(&Status::internal(format!(
                "{words} while receiving response with status: {status}"
            )))
        };
        assert!(matches!(
            answers("503 Service Unavailable"),
            Verdict::Later { .. }
        ));
        assert!(matches!(answers("500 Internal Server Error"), Verdict::Broken(_)));
        assert!(matches!(answers("404 Not Found"), Verdict::Stop(said) if said.contains("HTTP 404")));
    }

    #[test]
    fn what_went_wrong_at_work_is_told_apart() {
        for failure in [
            Failure::deadline("the audio was transcribed"),
            Failure::Internal("x".to_owned()),
            Failure::Cancelled,
        ] {
            let verdict = answered(&failure);
            assert!(matches!(verdict, Verdict::Broken(_)), "{failure:?}: {verdict:?}");
        }
        let cut = Status::from_error(Box::new(io::Error::other("cut")));
        assert_eq!(
            of_status(&cut),
            Verdict::Broken("the connection broke off: cut".to_owned())
        );
    }
}
