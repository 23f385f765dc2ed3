//! A server of the hub's shape: revisions, lists with LFS checksums, redirects to another host.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use inference_server::{
    fetch::{Remote, Repository, Secret},
    model::Dtype,
};
use serde_json::{Value, json};

use crate::{
    faults::{Fault, Server, serve},
    files::{LARGE, Model, Volume, assert_holds, model, sha256},
};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_secret";

/// A hub with one repository, `me/tiny`, whose large files are on a host of their own.
struct Hub {
    model: Model,
    /// Serves what is small, and counts.
    small: Server,
    /// Serves what is large, by its checksum.
    large: Server,
    /// Whether only [`TOKEN`] opens it.
    gated: bool,
}

impl Hub {
    async fn start(model: Model, gated: bool) -> (String, Arc<Hub>) {
        let (small, large) = (Server::start().await, Server::start().await);
        for (path, bytes) in &model {
            if is_large(path) {
                large.hold(&format!("/lfs/{}", sha256(bytes)), bytes);
            } else {
                small.hold(&format!("/me/tiny/resolve/{COMMIT}/{path}"), bytes);
            }
        }
        let hub = Arc::new(Hub {
            model,
            small,
            large,
            gated,
        });
        let router = Router::new()
            .route("/api/models/{owner}/{name}/revision/{revision}", get(revision))
            .route("/{owner}/{name}/resolve/{commit}/{*path}", get(resolve))
            .with_state(hub.clone());
        (format!("http://{}", serve(router).await), hub)
    }

    fn refuses(&self, headers: &HeaderMap) -> Option<Response> {
        let known = headers
            .get(header::AUTHORIZATION)
            .is_some_and(|value| value == format!("Bearer {TOKEN}").as_str());
        let refused = [
            ("x-error-code", "GatedRepo"),
            ("x-error-message", "Access to model me/tiny is restricted."),
        ];
        (self.gated && !known).then(|| (StatusCode::UNAUTHORIZED, refused).into_response())
    }
}

fn is_large(path: &str) -> bool {
    path.ends_with(".onnx")
}

async fn revision(
    State(hub): State<Arc<Hub>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    // The hub answers so even where a name is merely wrong, and to those without a token.
    if (owner.as_str(), name.as_str()) != ("me", "tiny") {
        return (StatusCode::UNAUTHORIZED, [("x-error-code", "RepoNotFound")]).into_response();
    }
    if !["main", "refs/pr/1", COMMIT].contains(&revision.as_str()) {
        return (StatusCode::NOT_FOUND, [("x-error-code", "RevisionNotFound")]).into_response();
    }
    if let Some(refused) = hub.refuses(&headers) {
        return refused;
    }
    let with_blobs = uri.query() == Some("blobs=true");
    let sibling = |(path, bytes): (&String, &Vec<u8>)| -> Value {
        let mut sibling = json!({"rfilename": path});
        if with_blobs {
            sibling["size"] = json!(bytes.len());
            if is_large(path) {
                let pointer = json!({"sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134});
                sibling["lfs"] = pointer;
            }
        }
        sibling
    };
    let siblings: Vec<Value> = hub.model.iter().map(sibling).collect();
    Json(json!({"id": "me/tiny", "sha": COMMIT, "siblings": siblings})).into_response()
}

async fn resolve(
    State(hub): State<Arc<Hub>>,
    Path((_, _, commit, path)): Path<(String, String, String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    if let Some(refused) = hub.refuses(&headers) {
        return refused;
    }
    match hub.model.get(&path).filter(|_| commit == COMMIT) {
        None => (StatusCode::NOT_FOUND, [("x-error-code", "EntryNotFound")]).into_response(),
        Some(bytes) if is_large(&path) => {
            let at = hub
                .large
                .url(&format!("/lfs/{}?X-Amz-Signature=signed", sha256(bytes)));
            (StatusCode::FOUND, [(header::LOCATION, at)]).into_response()
        }
        Some(_) => hub.small.files.answer(uri.path().to_owned(), None, &headers),
    }
}

fn remote(endpoint: &str) -> Repository {
    Repository {
        repo: "me/tiny".to_owned(),
        revision: "main".to_owned(),
        variant: None,
        endpoint: endpoint.parse().unwrap(),
        token: None,
    }
}

/// The model in two precisions, with files that nobody needs.
fn repository() -> (Model, Model) {
    let needed = model(1);
    let mut held = needed.clone();
    for path in [
        "README.md",
        "model.safetensors",
        ".gitattributes",
        "onnx/encoder_model_fp16.onnx",
    ] {
        held.insert(path.to_owned(), b"not needed".to_vec());
    }
    held.insert("onnx/decoder_model_merged_fp16.onnx".to_owned(), vec![3; 100]);
    (held, needed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_becomes_a_commit_and_only_what_a_whisper_needs_comes() {
    let (held, needed) = repository();
    let (endpoint, _hub) = Hub::start(held.clone(), false).await;
    let volume = Volume::new();
    let fetched = volume
        .fetch(Remote::HuggingFace(remote(&endpoint)), |_| {})
        .await
        .unwrap();
    assert_holds(&volume.to(), &needed);
    assert_eq!(fetched.resolved_revision.as_deref(), Some(COMMIT));
    assert_eq!(fetched.source, Some(format!("{endpoint}/me/tiny/tree/{COMMIT}")));

    let fp16 = Repository {
        variant: Some(Dtype::Fp16),
        revision: "refs/pr/1".to_owned(),
        ..remote(&endpoint)
    };
    volume.fetch(Remote::HuggingFace(fp16), |_| {}).await.unwrap();
    let wanted =
        |path: &String| !path.starts_with("onnx/") && needed.contains_key(path) || path.contains("fp16");
    let expected: Model = held.into_iter().filter(|(path, _)| wanted(path)).collect();
    assert_holds(&volume.to(), &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_is_gated_and_goes_to_no_other_host() {
    let (held, needed) = repository();
    let (endpoint, hub) = Hub::start(held, true).await;
    let volume = Volume::new();
    let error = volume
        .fetch(Remote::HuggingFace(remote(&endpoint)), |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "AccessDenied");
    assert!(error.to_string().contains("me/tiny is restricted"), "{error}");

    let with_token = Repository {
        token: Some(Secret::from(TOKEN.to_owned())),
        ..remote(&endpoint)
    };
    volume
        .fetch(Remote::HuggingFace(with_token), |_| {})
        .await
        .unwrap();
    assert_holds(&volume.to(), &needed);
    let sent: Vec<_> = hub
        .large
        .asked()
        .into_iter()
        .filter_map(|asked| asked.authorization)
        .collect();
    assert_eq!(sent, [""; 0], "the token went to the host of the large files");
    assert_eq!(hub.large.asked().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_hub_does_not_hold_is_named() {
    let (held, _) = repository();
    let (endpoint, _hub) = Hub::start(held, false).await;
    let (mut other, mut tag, mut int8) = (remote(&endpoint), remote(&endpoint), remote(&endpoint));
    other.repo = "me/other".to_owned();
    tag.revision = "v9".to_owned();
    int8.variant = Some(Dtype::Int8);
    for (repository, said) in [
        (other, "has no model me/other of revision main"),
        (tag, "has no model me/tiny of revision v9"),
        (int8, "me/tiny holds no graphs in int8, but in fp32, fp16"),
    ] {
        let error = Volume::new()
            .fetch(Remote::HuggingFace(repository), |_| {})
            .await
            .unwrap_err();
        assert_eq!(error.reason(), "SourceNotFound");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_are_resumed_where_they_lie_and_checked_against_the_hubs_checksums() {
    let (held, needed) = repository();
    let (endpoint, hub) = Hub::start(held, false).await;
    let large = format!("/lfs/{}", sha256(&needed[LARGE]));
    hub.large.fail(&large, [Fault::Cut(70_000)]);
    let volume = Volume::new();
    let remote = || Remote::HuggingFace(remote(&endpoint));
    volume.fetch(remote(), |_| {}).await.unwrap();
    assert_holds(&volume.to(), &needed);
    assert_eq!(hub.large.ranges(&large), [None, Some("bytes=70000-".to_owned())]);

    hub.large.fail(&large, [Fault::Wrong]);
    let volume = Volume::new();
    let error = volume.fetch(remote(), |_| {}).await.unwrap_err();
    assert_eq!(error.reason(), "ChecksumMismatch");
    assert!(error.to_string().starts_with(LARGE), "{error}");
    assert!(!volume.to().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_hub_is_named() {
    let server = Server::start().await;
    server.hold("/api/models/me/tiny/revision/main", b"<html>");
    let error = Volume::new()
        .fetch(Remote::HuggingFace(remote(&server.url(""))), |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "SourceUnreachable");
    assert!(
        error.to_string().contains("does not answer as the hub does"),
        "{error}"
    );
}
