//! Both ports with TLS: clients, the WebSocket, certificates that are replaced, and what is no handshake.

use std::{fs, time::Duration};

use futures::StreamExt;
use inference_server::{
    proto::GetModelRequest,
    run::{Config, load_model},
    tls::TlsSettings,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::certificates::{Authority, Mount, Pair, connect, start};
use crate::harness::{OpenStream, Serving, config, eventually, file_config, request, sample, words};
use crate::http::{Upload, ask, post_over};
use crate::process::{Process, binary, fails};

const FAILURES: &str = "parlance_tls_handshake_failures_total";
const EXPIRY: &str = "parlance_tls_certificate_expiry_timestamp_seconds";

#[tokio::test(flavor = "multi_thread")]
async fn both_apis_the_page_and_the_socket_are_there_over_tls() {
    let authority = Authority::new();
    let mount = authority.sign(2091).mount();
    let serving = start(&authority, mount.settings()).await;
    let (recording, said) = sample("three-digits-16k.wav");

    let mut client = authority.client(&serving, None).await.unwrap();
    let answer = client.transcribe(request(recording.clone())).await.unwrap();
    assert_eq!(answer.into_inner().text, said);

    let stream = authority.connect(serving.http, "http/1.1").await;
    let answer = post_over(stream, Upload::of(&recording)).await;
    assert_eq!(
        (answer.status, answer.json()["text"].as_str()),
        (200, Some(said.as_str()))
    );
    for path in ["/", "/page/page.js", "/health/live", "/metrics", "/v1/models"] {
        assert_eq!(authority.get(serving.http, path).await.status, 200, "{path}");
    }
    // 2091-12-31T00:00:00Z
    assert_eq!(authority.metric(&serving, EXPIRY).await, 3_849_897_600.0);

    let stream = authority.connect(serving.http, "http/1.1").await;
    let address = "wss://localhost/v1/realtime?intent=transcription";
    let (mut socket, _) = tokio_tungstenite::client_async(address, stream).await.unwrap();
    let event = socket.next().await.unwrap().unwrap();
    assert!(event.to_text().unwrap().contains("session.created"), "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_that_speak_http_2_open_the_socket_over_it() {
    let authority = Authority::new();
    let mount = authority.sign(2091).mount();
    let serving = start(&authority, mount.settings()).await;
    let stream = authority.connect(serving.http, "h2").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);

    let ready = http::Request::get("https://localhost/health/ready")
        .body(())
        .unwrap();
    let (answer, _) = client.send_request(ready, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    assert!(client.is_extended_connect_protocol_enabled());
    let mut open = http::Request::connect("https://localhost/v1/realtime")
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    open.extensions_mut()
        .insert(h2::ext::Protocol::from_static("websocket"));
    let (answer, _send) = client.send_request(open, false).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    let frame = answer.into_body().data().await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&frame);
    assert!(text.contains("session.created"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_see_a_new_certificate_while_an_open_stream_goes_on() {
    let authority = Authority::new();
    let (first, second) = (authority.sign(2091), authority.sign(2092));
    let mut mount = first.mount();
    let serving = start(&authority, mount.settings()).await;
    let shown = async |address, protocol| {
        let stream = authority.connect(address, protocol).await;
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert_eq!(shown(serving.http, "http/1.1").await, first.der);
    let mut client = authority.client(&serving, None).await.unwrap();
    let stream = OpenStream::open(&mut client, file_config()).await.unwrap();

    second.swap_into(&mut mount);
    eventually("the new certificate is shown", async || {
        shown(serving.http, "http/1.1").await == second.der
    })
    .await;
    assert_eq!(shown(serving.grpc, "h2").await, second.der);
    let until_2092 = 3_881_520_000.0;
    eventually("the metric follows", async || {
        authority.metric(&serving, EXPIRY).await == until_2092
    })
    .await;

    let (recording, said) = sample("three-digits-16k.wav");
    let pieces = recording.chunks(3200).map(<[u8]>::to_vec).collect();
    assert_eq!(words(&stream.finish(pieces).await.unwrap()), said);
    let answer = client.transcribe(request(recording)).await.unwrap();
    assert_eq!(answer.into_inner().text, said, "the connection is the old one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_is_counted_and_costs_nobody_else() {
    let authority = Authority::new();
    let mount = authority.sign(2091).mount();
    let serving = start(&authority, mount.settings()).await;
    assert_eq!(authority.metric(&serving, FAILURES).await, 0.0);

    let mut answer = Vec::new();
    for port in [serving.http, serving.grpc] {
        let mut plain = TcpStream::connect(port).await.unwrap();
        plain
            .write_all(b"GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n")
            .await
            .unwrap();
        // Nothing, or an alert of TLS; the connection may also be reset.
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    let failures = async |times: f64| {
        eventually(&format!("{times} handshakes have failed"), async || {
            authority.metric(&serving, FAILURES).await == times
        })
        .await;
    };
    failures(2.0).await;

    // Who trusts somebody else ends the handshake.
    let other = Authority::new().connector(None, "http/1.1");
    assert!(connect(&other, serving.http).await.is_err());
    failures(3.0).await;

    // Many that say nothing do not keep others out.
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(serving.http).await.unwrap());
    }
    assert_eq!(authority.get(serving.http, "/health/live").await.status, 200);
    serving.shutdown.send(()).await.unwrap();
    serving.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_too_long_for_its_handshake_is_let_go() {
    let authority = Authority::new();
    let mount = authority.sign(2091).mount();
    let config = Config {
        tls: Some(TlsSettings {
            handshake_timeout: Duration::from_millis(1),
            ..mount.settings()
        }),
        ..config()
    };
    let model = config.clone();
    let serving = Serving::start_with(config, move || load_model(&model)).await;
    for port in [serving.http, serving.grpc] {
        let mut silent = TcpStream::connect(port).await.unwrap();
        let mut answer = Vec::new();
        silent.read_to_end(&mut answer).await.unwrap();
        assert!(answer.is_empty(), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_clients_need_a_certificate_only_health_and_metrics_go_without() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let mount = authority.sign(2091).mount();
    fs::write(mount.file("ca.crt"), clients.pem()).unwrap();
    let settings = TlsSettings {
        client_ca: Some(mount.file("ca.crt")),
        ..mount.settings()
    };
    let serving = start(&authority, settings).await;
    let status = async |own: Option<&Pair>, path| {
        let stream = connect(&authority.connector(own, "http/1.1"), serving.http).await;
        ask(stream.unwrap(), "GET", path).await.status
    };
    let (own, strange) = (clients.sign(2091), authority.sign(2091));
    for (path, without) in [
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/metrics", 200),
        ("/v1/models", 401),
        ("/v1/realtime", 401),
        ("/", 401),
        ("/nowhere", 401),
    ] {
        assert_eq!(status(None, path).await, without, "{path}");
    }
    assert_eq!(status(Some(&own), "/v1/models").await, 200);
    assert_eq!(status(Some(&own), "/").await, 200);

    let mut client = authority.client(&serving, Some(&own)).await.unwrap();
    client.get_model(GetModelRequest {}).await.unwrap();
    for wrong in [None, Some(&strange)] {
        // The client of TLS 1.3 is done before the server has looked at what it showed.
        let answer = match authority.client(&serving, wrong).await {
            Ok(mut client) => client.get_model(GetModelRequest {}).await.map(drop),
            Err(_) => continue,
        };
        assert!(answer.is_err(), "a client without a right certificate is let in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_new_pair_is_said_in_the_log_and_kept_out() {
    let authority = Authority::new();
    let (first, other) = (authority.sign(2091), authority.sign(2092));
    let mut mount = first.mount();
    let (cert, key) = (mount.file("tls.crt"), mount.file("tls.key"));
    let mut process =
        Process::serve_with(|command| command.arg("--tls-cert").arg(&cert).arg("--tls-key").arg(&key));
    let on = process.line("TLS is on");
    assert_eq!(on["expires"], "2091-12-31T00:00:00Z");
    let (_, http) = process.addresses();

    mount.swap(&other.cert, &first.key.serialize_pem());
    let refused = process.line("the new certificate cannot be used; the one before stays");
    assert_eq!(refused["level"], "WARN");
    let error = refused["error"].as_str().unwrap();
    let sentence = format!(
        "the private key in {} does not belong to the certificate in {}",
        key.display(),
        cert.display()
    );
    assert_eq!(error, sentence);
    let stream = authority.connect(http, "http/1.1").await;
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0], first.der);

    other.swap_into(&mut mount);
    let again = process.line("the certificate was read again");
    assert_eq!(again["expires"], "2092-12-31T00:00:00Z");
    process.terminate();
    process.ended().await;
}

#[test]
fn a_bad_pair_at_the_start_is_one_sentence() {
    let authority = Authority::new();
    let (first, other) = (authority.sign(2091), authority.sign(2091));
    let mount = Mount::of(&first.cert, &other.key.serialize_pem());
    let serve = |flags: &[&str]| {
        let addresses = [
            "serve",
            "--grpc-addr",
            "127.0.0.1:0",
            "--http-addr",
            "127.0.0.1:0",
        ];
        let mut command = binary();
        command
            .args(addresses)
            .args(flags)
            .env("PARLANCE_TLS_CERT", mount.file("tls.crt"));
        command
    };
    let key = mount.file("tls.key");
    let mismatch = fails(serve(&[]).env("PARLANCE_TLS_KEY", &key));
    assert!(
        mismatch.starts_with("parlance-server: the private key in ") && !mismatch.contains('\n'),
        "{mismatch}"
    );
    let missing = fails(&mut serve(&["--tls-key", "/no/such/key"]));
    assert!(
        missing.starts_with("parlance-server: cannot read /no/such/key, which is needed for TLS: "),
        "{missing}"
    );
    let half = serve(&[]).output().unwrap();
    assert_eq!(half.status.code(), Some(2));
    let said = String::from_utf8(half.stderr).unwrap();
    assert!(said.contains("--tls-key <FILE>"), "{said}");
}
