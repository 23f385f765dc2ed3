//! Files named by their URLs.

use std::time::{Duration, Instant};

use inference_server::fetch::Remote;

use crate::{
    faults::{Fault, Server},
    files::{LARGE, Volume, assert_holds, digest_of, model},
};

const PATH: &str = "/m/onnx/encoder_model.onnx";

#[tokio::test(flavor = "multi_thread")]
async fn a_model_comes_whole_and_a_second_time_nobody_is_asked() {
    let model = model(1);
    let server = Server::with(&model).await;
    let remote = Remote::Http(server.links(&model, true));
    let volume = Volume::new();
    let fetched = volume.fetch(remote.clone(), |_| {}).await.unwrap();
    assert_eq!(fetched.model.digest, digest_of(&model));
    assert_eq!(
        (fetched.model.files, fetched.source),
        (7, Some(server.url("/m/")))
    );
    assert_holds(&volume.to(), &model);
    assert_eq!(volume.left_over(), [""; 0]);

    assert_eq!(server.asked().len(), 7);
    let again = volume.fetch(remote, |_| {}).await.unwrap();
    assert_eq!(again.model.digest, fetched.model.digest);
    assert_eq!(
        again.source,
        Some(server.url("/m/")),
        "it says where it came from"
    );
    assert_eq!(server.asked().len(), 7, "the volume needs no network");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_source_replaces_the_model_and_a_damaged_copy_is_downloaded_anew() {
    let (one, two) = (model(1), model(2));
    let (first, second) = (Server::with(&one).await, Server::with(&two).await);
    let volume = Volume::new();
    volume
        .fetch(Remote::Http(first.links(&one, true)), |_| {})
        .await
        .unwrap();
    volume
        .fetch(Remote::Http(second.links(&two, true)), |_| {})
        .await
        .unwrap();
    assert_holds(&volume.to(), &two);
    std::fs::write(volume.to().join("config.json"), "{}").unwrap();
    volume
        .fetch(Remote::Http(second.links(&two, true)), |_| {})
        .await
        .unwrap();
    assert_holds(&volume.to(), &two);
    assert_eq!(second.asked_for(PATH).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_goes_on_where_it_broke() {
    let model = model(1);
    let server = Server::with(&model).await;
    server.fail(PATH, [Fault::Cut(100_000), Fault::Cut(50_000)]);
    let volume = Volume::new();
    volume
        .fetch(Remote::Http(server.links(&model, false)), |_| {})
        .await
        .unwrap();
    assert_holds(&volume.to(), &model);
    let asked = server.asked_for(PATH);
    let ranges: Vec<Option<&str>> = asked.iter().map(|one| one.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-"), Some("bytes=150000-")]);
    assert!(asked[0].if_range.is_none() && asked[1].if_range.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_cuts_than_attempts_do_not_matter_while_bytes_come() {
    let model = model(1);
    let server = Server::with(&model).await;
    server.fail(PATH, vec![Fault::Cut(20_000); 10]);
    let volume = Volume::new();
    volume
        .fetch(Remote::Http(server.links(&model, true)), |_| {})
        .await
        .unwrap();
    assert_eq!(server.asked_for(PATH).len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_meanwhile_is_never_mixed_with_the_old_one() {
    for server_knows_if_range in [true, false] {
        let (old, new) = (model(1), model(2));
        let server = Server::with(&old).await;
        let gone = Fault::Status(410, Vec::new());
        server.fail(PATH, [Fault::Cut(100_000), gone]);
        let volume = Volume::new();
        let links = server.links(&old, false);
        let error = volume
            .fetch(Remote::Http(links.clone()), |_| {})
            .await
            .unwrap_err();
        assert_eq!(error.reason(), "SourceNotFound");
        assert_eq!(
            volume.so_far(LARGE),
            100_000,
            "what came is kept for the next run"
        );
        for (path, bytes) in &new {
            server.hold(&format!("/m/{path}"), bytes);
        }
        if !server_knows_if_range {
            server.fail(PATH, [Fault::NoIfRange]);
        }
        volume.fetch(Remote::Http(links), |_| {}).await.unwrap();
        // Nor are files of two versions: what was whole is asked for again, if it is still the same.
        assert_holds(&volume.to(), &new);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_ranges_or_etags_starts_again() {
    let model = model(1);
    let server = Server::with(&model).await;
    server.fail(PATH, [Fault::Cut(100_000), Fault::NoRanges]);
    let volume = Volume::new();
    let remote = Remote::Http(server.links(&model, false));
    volume.fetch(remote, |_| {}).await.unwrap();
    assert_holds(&volume.to(), &model);

    // Nothing tells whether the bytes are of the same file, so none of them is used.
    let server = Server::with(&model).await;
    server.without_etag(PATH);
    server.fail(PATH, [Fault::Cut(100_000)]);
    let volume = Volume::new();
    volume
        .fetch(Remote::Http(server.links(&model, false)), |_| {})
        .await
        .unwrap();
    assert_eq!(server.ranges(PATH), [None, None]);
    assert_holds(&volume.to(), &model);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_asked_again_when_it_says() {
    let model = model(1);
    let server = Server::with(&model).await;
    let after = || vec![("retry-after", "2".to_owned())];
    server.fail(
        PATH,
        [Fault::Status(429, after()), Fault::Status(503, Vec::new())],
    );
    let (began, volume) = (Instant::now(), Volume::new());
    volume
        .fetch(Remote::Http(server.links(&model, false)), |_| {})
        .await
        .unwrap();
    assert_eq!(server.asked_for(PATH).len(), 3);
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "it asked to be left alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_source_says_becomes_a_reason_without_its_secrets() {
    let model = model(1);
    let server = Server::with(&model).await;
    let forbidden = |status| Fault::Status(status, Vec::new());
    for (faults, reason, asked) in [
        (vec![forbidden(404)], "SourceNotFound", 1),
        (vec![forbidden(401)], "AccessDenied", 1),
        (vec![forbidden(403)], "AccessDenied", 1),
        (vec![forbidden(500); 9], "SourceUnreachable", 4),
        (vec![forbidden(400)], "SourceUnreachable", 1),
    ] {
        let server_of_one = Server::with(&model).await;
        server_of_one.fail(PATH, faults);
        let mut links = server.links(&model, false);
        links.retain(|link| !link.contains(PATH));
        let secret = format!(
            "path={LARGE},url=http://user:pass-secret@{}{PATH}?signature=query-secret",
            server_of_one.address
        );
        links.push(secret);
        let error = Volume::new()
            .fetch(Remote::Http(links), |_| {})
            .await
            .unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(error.to_string().contains(PATH), "{error}");
        let asked_for = server_of_one.asked_for(PATH);
        assert_eq!(asked_for.len(), asked, "{reason}");
        assert_eq!(asked_for[0].query.as_deref(), Some("signature=query-secret"));
        assert!(asked_for[0].authorization.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_falls_silent_is_given_up() {
    let model = model(1);
    let server = Server::with(&model).await;
    let mut links = server.links(&model, false);
    links[0] = "path=config.json,url=http://127.0.0.1:1/config.json".to_owned();
    let error = Volume::new()
        .fetch(Remote::Http(links), |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "SourceUnreachable");
    assert!(error.to_string().contains("refused"), "{error}");

    server.fail(PATH, vec![Fault::Hang(0); 9]);
    let short = |request: &mut inference_server::fetch::Request| {
        request.patience.silence = Duration::from_millis(200);
        request.patience.attempts = 2;
    };
    let error = Volume::new()
        .fetch(Remote::Http(server.links(&model, false)), short)
        .await
        .unwrap_err();
    // Without a bound on silence this would never come.
    assert_eq!(error.reason(), "SourceUnreachable");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_refused_by_the_files_name_and_asked_for_again_next_time() {
    let model = model(1);
    let server = Server::with(&model).await;
    server.fail(PATH, [Fault::Wrong]);
    let volume = Volume::new();
    let remote = Remote::Http(server.links(&model, true));
    let error = volume.fetch(remote.clone(), |_| {}).await.unwrap_err();
    assert_eq!(error.reason(), "ChecksumMismatch");
    assert!(
        error
            .to_string()
            .starts_with("onnx/encoder_model.onnx has sha256 "),
        "{error}"
    );
    assert!(!volume.to().exists());
    volume.fetch(remote, |_| {}).await.unwrap();
    assert_holds(&volume.to(), &model);
    assert_eq!(
        server.asked_for("/m/config.json").len(),
        1,
        "what was right is kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_was_wrong_spoils_the_file_and_not_the_download() {
    let model = model(1);
    let server = Server::with(&model).await;
    server.fail(PATH, [Fault::Cut(1000), Fault::Wrong]);
    let volume = Volume::new();
    volume
        .fetch(Remote::Http(server.links(&model, true)), |_| {})
        .await
        .unwrap();
    assert_holds(&volume.to(), &model);
    assert_eq!(server.ranges(PATH), [None, Some("bytes=1000-".to_owned()), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_digest_than_the_pinned_one_is_never_the_model() {
    let (wanted, offered) = (model(1), model(2));
    let server = Server::with(&offered).await;
    let volume = Volume::new();
    let remote = Remote::Http(server.links(&offered, false));
    let pin = digest_of(&wanted);
    let pinned = |request: &mut inference_server::fetch::Request| request.digest = Some(pin.clone());
    let error = volume.fetch(remote.clone(), pinned).await.unwrap_err();
    assert_eq!(error.reason(), "DigestMismatch");
    assert!(!volume.to().exists());
    // The source is put right: what no checksum vouched for is asked for again.
    for (path, bytes) in &wanted {
        server.hold(&format!("/m/{path}"), bytes);
    }
    let fetched = volume.fetch(remote, pinned).await.unwrap();
    assert_eq!(fetched.model.digest, pin);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_the_volume_cannot_hold_is_refused_before_it_is_full() {
    let model = model(1);
    let server = Server::with(&model).await;
    server.fail(PATH, [Fault::Huge]);
    let volume = Volume::new();
    let error = volume
        .fetch(Remote::Http(server.links(&model, false)), |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "NoSpace");
    assert!(error.to_string().contains("has "), "{error}");
    assert_eq!(volume.so_far(LARGE), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_model_is_refused_before_anything_is_asked_for() {
    let model = model(1);
    let server = Server::with(&model).await;
    let mut links = server.links(&model, false);
    links.retain(|link| !link.contains("tokenizer"));
    let error = Volume::new()
        .fetch(Remote::Http(links), |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "InvalidModel");
    assert!(
        error.to_string().starts_with("tokenizer.json is missing from "),
        "{error}"
    );
    assert_eq!(server.asked(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pods_at_once_download_once() {
    let model = model(1);
    let server = Server::with(&model).await;
    let volume = Volume::new();
    let remote = Remote::Http(server.links(&model, false));
    let fetches = (0..4).map(|_| volume.fetch(remote.clone(), |_| {}));
    for fetched in futures::future::join_all(fetches).await {
        assert_eq!(fetched.unwrap().model.digest, digest_of(&model));
    }
    assert_eq!(server.asked().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_followed() {
    let model = model(1);
    let server = Server::with(&model).await;
    server.hold("/elsewhere", &model[LARGE]);
    let elsewhere = vec![("location", server.url("/elsewhere?signed=1"))];
    server.fail(PATH, [Fault::Status(302, elsewhere)]);
    let volume = Volume::new();
    volume
        .fetch(Remote::Http(server.links(&model, true)), |_| {})
        .await
        .unwrap();
    assert_holds(&volume.to(), &model);
    let asked = server.asked_for("/elsewhere");
    assert_eq!(asked[0].query.as_deref(), Some("signed=1"));
}
