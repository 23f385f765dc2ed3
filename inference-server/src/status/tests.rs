//! Every failure has its code, its HTTP status and its hints.

use super::*;
use crate::{admission::Load, pipeline::Task};

fn busy() -> Failure {
    Failure::Busy(Full {
        load: Load {
            running: 2,
            queued: 3,
        },
        retry_after: Duration::from_millis(2_300),
    })
}

#[test]
fn every_failure_has_a_grpc_code_and_an_http_status() {
    let table = [
        (Failure::invalid("model", "no"), Code::InvalidArgument, 400),
        (
            Failure::UnknownModel {
                asked: "a".into(),
                served: "b".into(),
            },
            Code::NotFound,
            404,
        ),
        (Failure::UnknownPath("/x".into()), Code::NotFound, 404),
        (Failure::WrongMethod("/x".into()), Code::Unimplemented, 405),
        (Failure::TooLarge { limit: 7 }, Code::ResourceExhausted, 413),
        (busy(), Code::ResourceExhausted, 429),
        (Failure::deadline("waiting"), Code::DeadlineExceeded, 504),
        (Failure::Cancelled, Code::Cancelled, 499),
        (Failure::Unavailable("loading"), Code::Unavailable, 503),
        (Failure::Internal("boom".into()), Code::Internal, 500),
    ];
    for (failure, code, http) in table {
        assert_eq!(failure.to_status("r1").code(), code, "{failure:?}");
        assert_eq!(failure.to_response("r1").status().as_u16(), http, "{failure:?}");
    }
}

#[test]
fn errors_of_the_stages_become_failures_that_name_the_field() {
    let invalid = |error: Failure| match error {
        Failure::InvalidArgument { field, message } => (field, message),
        other => panic!("{other:?}"),
    };
    let (field, message) = invalid(
        AudioError::TooLong {
            max: Duration::from_secs(30),
        }
        .into(),
    );
    assert_eq!((field.in_grpc(), field.in_http()), (Some("audio"), Some("file")));
    assert!(message.contains("30s"), "{message}");
    let unknown = PipelineError::UnsupportedLanguage {
        language: "tlh".into(),
        known: vec!["en".into()],
    };
    assert_eq!(invalid(unknown.into()).0, Field::Language);
    assert_eq!(
        invalid(
            PipelineError::UnsupportedTask {
                task: Task::Translate
            }
            .into()
        )
        .0,
        Field::Task
    );
    assert_eq!(
        invalid(PipelineError::InvalidOptions("x".into()).into()).0,
        Field::Whole
    );
    assert_eq!(
        Failure::from(PipelineError::Engine("x".into())).code(),
        Code::Internal
    );
    assert_eq!(
        Failure::from(PipelineError::Stopped(Stopped::Cancelled)),
        Failure::Cancelled
    );
    assert_eq!(
        Failure::from(Stopped::DeadlineExceeded).code(),
        Code::DeadlineExceeded
    );
}

#[test]
fn busy_says_when_to_come_back_in_every_way_that_clients_read() {
    let status = busy().to_status("r1");
    let retry = status
        .get_error_details()
        .retry_info()
        .expect("RetryInfo")
        .retry_delay;
    assert_eq!(retry, Some(Duration::from_millis(2_300)));
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "2300");
    assert_eq!(status.metadata().get("retry-after").unwrap(), "3", "rounded up");
    assert!(
        status.message().contains("2 running and 3 waiting"),
        "{}",
        status.message()
    );
    assert_eq!(busy().to_response("r1").headers()["retry-after"], "3");
}

#[test]
fn a_fault_keeps_its_words_and_gives_the_request_id() {
    let status = Failure::Internal("secret path".into()).to_status("r42");
    assert!(
        !status.message().contains("secret") && status.message().contains("r42"),
        "{}",
        status.message()
    );
    assert_eq!(
        status.get_error_details().request_info().unwrap().request_id,
        "r42"
    );
}

#[tokio::test]
async fn http_errors_have_the_openai_shape() {
    let failure = Failure::UnknownModel {
        asked: "gpt".into(),
        served: "nano".into(),
    };
    let response = failure.to_response("r1");
    let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let message = "the model \"gpt\" does not exist here; this server serves \"nano\"";
    let expected = json!({ "error": {
        "message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found",
    }});
    assert_eq!(body, expected);
}
