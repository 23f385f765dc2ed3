//! `GET /` and what it needs under `/page/`: a page for people, built into the binary, which speaks the same API as every
//! other client.

use axum::{
    extract::Path,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
    response::{IntoResponse, Response},
};

use crate::status::Failure;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Nothing from elsewhere, nothing inline, in nobody's frame. Recordings that the person chose play from the page's memory.
const POLICY: &str = "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Name under `/page/`, media type, content.
const FILES: [(&str, &str, &str); 7] = [
    ("page.css", CSS, include_str!("page/page.css")),
    ("page.js", SCRIPT, include_str!("page/page.js")),
    ("upload.js", SCRIPT, include_str!("page/upload.js")),
    ("microphone.js", SCRIPT, include_str!("page/microphone.js")),
    ("recorder.js", SCRIPT, include_str!("page/recorder.js")),
    ("formats.js", SCRIPT, include_str!("page/formats.js")),
    ("icon.svg", SVG, include_str!("page/icon.svg")),
];

pub(crate) async fn index() -> Response {
    file(HTML, include_str!("page/index.html"))
}

pub(crate) async fn part(Path(asked): Path<String>) -> Response {
    match FILES.iter().find(|(name, ..)| *name == asked) {
        Some((_, media, content)) => file(media, content),
        None => Failure::UnknownPath(format!("/page/{asked}")).to_response(""),
    }
}

/// A new version of the server has new files under the old names, so a browser must always ask.
fn file(media: &'static str, content: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, media),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, content).into_response()
}
