//! Sources of models on this machine, which the pods reach over the node's bridge: files, a hub and a bucket, all of them
//! holding the bundled model. They count who asks for what.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path as Parts, Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use crate::manifest::repository;

/// The commit that every branch of the hub is at.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The token that opens the hub.
pub const TOKEN: &str = "hf_end-to-end";

/// The keys that open the bucket.
pub const KEYS: (&str, &str) = ("AKIDENDTOEND", "end-to-end-key");

/// The files of the bundled model that a Whisper needs.
pub const FILES: [&str; 7] = [
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "encoder_model.onnx",
    "decoder_model.onnx",
    "decoder_with_past_model.onnx",
];

/// Running sources.
pub struct Sources {
    counts: Counts,
    web: SocketAddr,
    bucket: SocketAddr,
    _bucket: TempDir,
}

type Counts = Arc<Mutex<BTreeMap<String, usize>>>;

impl Sources {
    /// Starts them. They end with the test's runtime.
    ///
    /// # Panics
    /// When this machine does not let them listen or write.
    pub async fn start() -> Sources {
        let counts = Counts::default();
        let web = Router::new()
            .route("/files/{name}", get(file))
            .route("/elsewhere/{name}", get(file))
            .route("/worse/{name}", get(worse))
            .route("/tensors/{model}/{name}", get(tensors))
            .route("/api/models/{owner}/{name}/revision/{revision}", get(revision))
            .route("/{owner}/{name}/resolve/{commit}/{file}", get(resolve))
            .with_state(counts.clone());
        let dir = tempfile::tempdir().expect("failed to make a folder");
        let folder = dir.path().join("models/whisper/digits");
        fs::create_dir_all(&folder).expect("failed to make the bucket");
        for name in FILES {
            fs::copy(path(name), folder.join(name)).expect("failed to fill the bucket");
        }
        Sources {
            counts,
            web: serve(web).await,
            bucket: serve(bucket(dir.path())).await,
            _bucket: dir,
        }
    }

    /// Address of a file, of the hub (`""`) or of anything else on the web server, as pods see it.
    pub fn web(&self, path: &str) -> String {
        format!("http://{}:{}{path}", node(), self.web.port())
    }

    /// Address of the server that speaks S3, as pods see it.
    pub fn s3(&self) -> String {
        format!("http://{}:{}", node(), self.bucket.port())
    }

    /// How often each path of the web server was asked for.
    ///
    /// # Panics
    /// When a handler did.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.counts.lock().expect("a handler panicked").clone()
    }
}

/// This machine, as pods of the cluster that `make cluster-up` boots reach it.
fn node() -> String {
    std::env::var("PARLANCE_NODE_IP").unwrap_or_else(|_| "172.30.0.1".into())
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("failed to listen");
    let address = listener.local_addr().expect("a listener has an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn path(name: &str) -> PathBuf {
    repository("models/whisper-nano-digits").join(name)
}

/// A file of the model, counted. Others there are not.
fn send(counts: &Counts, uri: &Uri, name: &str) -> Response {
    *counts
        .lock()
        .expect("a handler panicked")
        .entry(uri.path().to_owned())
        .or_default() += 1;
    match FILES.contains(&name) {
        true => fs::read(path(name)).expect("a file of the model").into_response(),
        false => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn file(State(counts): State<Counts>, Parts(name): Parts<String>, uri: Uri) -> Response {
    send(&counts, &uri, &name)
}

/// A small ONNX model of the server's tests.
async fn tensors(Parts((model, name)): Parts<(String, String)>) -> Response {
    let path = repository("inference-server/tests/tensors")
        .join(model)
        .join(name);
    fs::read(path).map_or(StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response)
}

/// The model with its vocabulary in disorder: it loads, and writes other words than it hears.
async fn worse(State(counts): State<Counts>, Parts(name): Parts<String>, uri: Uri) -> Response {
    if name != "tokenizer.json" {
        return send(&counts, &uri, &name);
    }
    let text = fs::read_to_string(path(&name)).expect("a file of the model");
    let mut tokenizer: Value = serde_json::from_str(&text).expect("JSON");
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().expect("a vocabulary");
    let count = u64::try_from(vocabulary.len()).expect("a number");
    for id in vocabulary.values_mut() {
        let found = id.as_u64().expect("a number");
        if found ^ 1 < count {
            *id = json!(found ^ 1);
        }
    }
    Json(tokenizer).into_response()
}

fn opens(headers: &HeaderMap) -> bool {
    let bearer = format!("Bearer {TOKEN}");
    headers
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value.as_bytes() == bearer.as_bytes())
}

async fn revision(Parts((owner, name, _)): Parts<(String, String, String)>, headers: HeaderMap) -> Response {
    if !opens(&headers) {
        return (StatusCode::UNAUTHORIZED, [("x-error-code", "GatedRepo")]).into_response();
    }
    if owner != "onnx-community" {
        return (StatusCode::NOT_FOUND, [("x-error-code", "RepoNotFound")]).into_response();
    }
    let sibling = |name: &&str| -> Value {
        let size = fs::metadata(path(name)).expect("a file of the model").len();
        json!({ "rfilename": name, "size": size })
    };
    let siblings: Vec<Value> = FILES.iter().map(sibling).collect();
    Json(json!({ "id": format!("{owner}/{name}"), "sha": COMMIT, "siblings": siblings })).into_response()
}

async fn resolve(
    State(counts): State<Counts>,
    Parts((_, _, commit, file)): Parts<(String, String, String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    if !opens(&headers) || commit != COMMIT {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    send(&counts, &uri, &file)
}

fn bucket(root: &Path) -> Router {
    let files = s3s_fs::FileSystem::new(root).unwrap_or_else(|e| panic!("failed to open the bucket: {e:?}"));
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(KEYS.0, KEYS.1));
    let service = service.build();
    Router::new().fallback(move |request: Request| {
        let service = service.clone();
        async move {
            match service.oneshot(request).await {
                Ok(response) => response.map(axum::body::Body::new),
                Err(error) => panic!("the bucket failed: {error:?}"),
            }
        }
    })
}
