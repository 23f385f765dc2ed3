//! A file server that does ranges and ETags as real ones do, counts who asks for what, and fails when it is told to.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use futures::{StreamExt, stream};
use tokio::net::TcpListener;

use crate::files::{Model, sha256};

/// What goes wrong with one answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection ends after so many bytes.
    Cut(usize),
    /// It stays open after so many bytes, and nothing more comes.
    Hang(usize),
    /// Another status, with headers.
    Status(u16, Vec<(&'static str, String)>),
    /// The first byte is another one.
    Wrong,
    /// Ranges are not known: everything comes.
    NoRanges,
    /// A range is given whatever If-Range says.
    NoIfRange,
    /// A length is promised that nobody has.
    Huge,
}

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    pub query: Option<String>,
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub if_none_match: Option<String>,
    pub authorization: Option<String>,
}

/// What the server holds, and what it saw.
#[derive(Default)]
pub struct Files {
    held: Mutex<HashMap<String, (Bytes, bool)>>,
    faults: Mutex<HashMap<String, VecDeque<Fault>>>,
    asked: Mutex<Vec<Asked>>,
}

/// A running server.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    pub files: Arc<Files>,
}

impl Server {
    /// A server that holds nothing.
    pub async fn start() -> Server {
        let files = Arc::new(Files::default());
        let router = Router::new().fallback(answer).with_state(files.clone());
        Server {
            address: serve(router).await,
            files,
        }
    }

    /// A server that holds a model under `/m/`.
    pub async fn with(model: &Model) -> Server {
        let server = Server::start().await;
        for (path, bytes) in model {
            server.hold(&format!("/m/{path}"), bytes);
        }
        server
    }

    /// Holds a file, in place of another of this path.
    pub fn hold(&self, path: &str, bytes: &[u8]) {
        let file = (Bytes::copy_from_slice(bytes), true);
        self.files.held.lock().unwrap().insert(path.to_owned(), file);
    }

    /// No ETag for a file that is held.
    pub fn without_etag(&self, path: &str) {
        self.files.held.lock().unwrap().get_mut(path).unwrap().1 = false;
    }

    /// The next answers for a path fail like this, one after the other.
    pub fn fail(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut all = self.files.faults.lock().unwrap();
        all.entry(path.to_owned()).or_default().extend(faults);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every file of a model, as the command line names it.
    pub fn links(&self, model: &Model, with_sha256: bool) -> Vec<String> {
        let sum = |bytes: &[u8]| {
            if with_sha256 {
                format!("sha256={},", sha256(bytes))
            } else {
                String::new()
            }
        };
        let link = |(path, bytes): (&String, &Vec<u8>)| {
            let url = self.url(&format!("/m/{path}"));
            format!("path={path},{}url={url}", sum(bytes))
        };
        model.iter().map(link).collect()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.files.asked.lock().unwrap().clone()
    }

    /// The requests for a path.
    pub fn asked_for(&self, path: &str) -> Vec<Asked> {
        self.asked()
            .into_iter()
            .filter(|asked| asked.path == path)
            .collect()
    }

    /// The ranges in which a path was asked for.
    pub fn ranges(&self, path: &str) -> Vec<Option<String>> {
        self.asked_for(path)
            .into_iter()
            .map(|asked| asked.range)
            .collect()
    }
}

/// Serves on a free port of loopback until the test ends.
pub async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

async fn answer(State(files): State<Arc<Files>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().map(str::to_owned);
    files.answer(path, query, request.headers())
}

impl Files {
    /// The answer to a GET.
    pub fn answer(&self, path: String, query: Option<String>, headers: &HeaderMap) -> Response {
        let header = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let asked = Asked {
            path,
            query,
            range: header(header::RANGE),
            if_range: header(header::IF_RANGE),
            if_none_match: header(header::IF_NONE_MATCH),
            authorization: header(header::AUTHORIZATION),
        };
        self.asked.lock().unwrap().push(asked.clone());
        let fault = self
            .faults
            .lock()
            .unwrap()
            .get_mut(&asked.path)
            .and_then(VecDeque::pop_front);
        if let Some(Fault::Status(status, headers)) = &fault {
            let mut response = status_only(*status);
            for (name, value) in headers {
                let value = HeaderValue::from_str(value).unwrap();
                response.headers_mut().insert(*name, value);
            }
            return response;
        }
        match self.held.lock().unwrap().get(&asked.path) {
            Some((bytes, tagged)) => send(bytes, *tagged, &asked, fault),
            None => status_only(404),
        }
    }
}

fn status_only(status: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn send(bytes: &Bytes, tagged: bool, asked: &Asked, fault: Option<Fault>) -> Response {
    let etag = format!("\"{}\"", &sha256(bytes)[..16]);
    if tagged && asked.if_none_match.as_ref() == Some(&etag) {
        return status_only(304);
    }
    let same =
        matches!(fault, Some(Fault::NoIfRange)) || asked.if_range.as_ref().is_none_or(|known| *known == etag);
    let ranges = same && !matches!(fault, Some(Fault::NoRanges));
    let start = asked.range.as_ref().filter(|_| ranges).map(|range| {
        let start = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap();
        start.parse::<usize>().unwrap()
    });
    if start.is_some_and(|start| start >= bytes.len()) {
        return status_only(416);
    }
    let mut part = bytes.slice(start.unwrap_or(0)..).to_vec();
    let mut length = part.len() as u64;
    let mut pieces: Vec<Result<Bytes, std::io::Error>> = Vec::new();
    let mut hangs = false;
    match fault {
        Some(Fault::Cut(after)) => {
            part.truncate(after);
            pieces.push(Ok(part.into()));
            pieces.push(Err(std::io::Error::other("cut")));
        }
        Some(Fault::Hang(after)) => {
            part.truncate(after);
            pieces.push(Ok(part.into()));
            hangs = true;
        }
        Some(Fault::Wrong) => {
            part[0] ^= 1;
            pieces.push(Ok(part.into()));
        }
        Some(Fault::Huge) => {
            length = 1 << 62;
            hangs = true;
        }
        _ => pieces.push(Ok(part.into())),
    }
    // What was sent reaches the other side before the connection is cut.
    let body = stream::iter(pieces).then(|piece| async {
        if piece.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        piece
    });
    let body = if hangs {
        Body::from_stream(body.chain(stream::pending()))
    } else {
        Body::from_stream(body)
    };
    let mut response = Response::builder()
        .status(if start.is_some() { 206 } else { 200 })
        .header(header::CONTENT_LENGTH, length);
    if tagged {
        response = response.header(header::ETAG, etag);
    }
    if let Some(start) = start {
        let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
        response = response.header(header::CONTENT_RANGE, range);
    }
    response.body(body).unwrap()
}
