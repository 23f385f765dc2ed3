//! The page at `/` as a browser fetches it. What it does is tested with a browser: `tests/clients/test_page.py`.

use crate::harness::{Serving, config};
use crate::http::get;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_its_parts_come_with_their_types_and_a_strict_policy() {
    let serving = Serving::start(config()).await;
    let index = get(serving.http, "/").await;
    assert_eq!(index.status, 200);
    assert_eq!(index.header("content-type"), Some("text/html; charset=utf-8"));
    let html = index.text();
    let mut parts = Vec::new();
    for (name, kind) in [
        ("page.css", "text/css; charset=utf-8"),
        ("page.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ] {
        assert!(html.contains(&format!("\"page/{name}\"")), "{name}");
        parts.push((name, kind));
    }
    for name in ["upload.js", "microphone.js", "recorder.js", "formats.js"] {
        parts.push((name, "text/javascript; charset=utf-8"));
    }
    for (name, kind) in parts {
        let part = get(serving.http, &format!("/page/{name}")).await;
        assert_eq!(
            (part.status, part.header("content-type")),
            (200, Some(kind)),
            "{name}"
        );
        assert_eq!(part.header("cache-control"), Some("no-cache"));
        assert_eq!(part.header("x-content-type-options"), Some("nosniff"));
    }
    let policy = index.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    assert_eq!(index.header("cache-control"), Some("no-cache"));

    let other = get(serving.http, "/page/other.js").await;
    assert_eq!(other.status, 404);
    assert_eq!(other.json()["error"]["code"], "unknown_url");
}
