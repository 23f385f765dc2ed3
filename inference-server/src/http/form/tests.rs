//! Forms as clients send them.

use axum::{body::Body, extract::FromRequest, http::Request};

use super::*;
use crate::{
    audio::Source,
    status::{Code, Field as At},
};

const LIMIT: usize = 64 * 1024;

async fn read_parts(parts: &[(&str, &[u8])]) -> Result<Form, Failure> {
    let mut body = Vec::new();
    for (name, value) in parts {
        body.extend(format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").bytes());
        body.extend_from_slice(value);
        body.extend(b"\r\n");
    }
    body.extend(b"--XX--\r\n");
    read_body(body).await
}

async fn read_body(body: Vec<u8>) -> Result<Form, Failure> {
    let request = Request::post("/").header("content-type", "multipart/form-data; boundary=XX");
    let mut request = request.body(Body::from(body)).unwrap();
    axum::extract::DefaultBodyLimit::max(LIMIT).apply(&mut request);
    read(Multipart::from_request(request, &()).await.unwrap(), LIMIT).await
}

/// The field that the refusal names, and its sentence.
async fn refused(parts: &[(&str, &[u8])]) -> (String, String) {
    match read_parts(parts).await {
        Err(Failure::InvalidArgument {
            message,
            field: At::Named(name),
        }) => (name, message),
        other => panic!("{other:?}"),
    }
}

fn bytes(file: Upload) -> Vec<u8> {
    use std::io::{Read, Seek};
    match file.into_source() {
        Source::Memory(bytes) => bytes.to_vec(),
        Source::File(file) => {
            let (mut file, mut bytes) = (file.into_inner().unwrap(), Vec::new());
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        }
    }
}

#[tokio::test]
async fn a_large_file_is_kept_on_disk_and_a_small_one_in_memory() {
    let large: Vec<u8> = (0..1_500_000u32).map(|i| (i % 251) as u8).collect();
    let read = |file: Vec<u8>| async move {
        let body = [
            &b"--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n"[..],
            &file,
            b"\r\n--XX--\r\n",
        ]
        .concat();
        let request = Request::post("/").header("content-type", "multipart/form-data; boundary=XX");
        let request = request.body(Body::from(body)).unwrap();
        super::read(Multipart::from_request(request, &()).await.unwrap(), 1 << 24)
            .await
            .unwrap()
            .file
    };
    let (kept, small) = (read(large.clone()).await, read(vec![7; 1000]).await);
    assert!(matches!(small.into_source(), Source::Memory(_)));
    let kept = kept.into_source();
    assert!(matches!(kept, Source::File(_)));
    let Source::File(file) = kept else { unreachable!() };
    let mut file = file.into_inner().unwrap();
    let mut read = Vec::new();
    std::io::Seek::rewind(&mut file).unwrap();
    std::io::Read::read_to_end(&mut file, &mut read).unwrap();
    assert!(read == large, "the bytes that were sent");
}

#[tokio::test]
async fn every_field_that_is_followed_is_read() {
    let form = read_parts(&[
        ("model", b"whisper-1"),
        ("language", b"en"),
        ("prompt", b"Digits."),
        ("response_format", b"verbose_json"),
        ("timestamp_granularities[]", b"word"),
        ("timestamp_granularities[]", b"segment"),
        ("temperature", b"0.5"),
        ("stream", b"false"),
        ("file", b"RIFF\r\n--X"),
    ])
    .await
    .unwrap();
    assert_eq!(bytes(form.file), b"RIFF\r\n--X");
    assert_eq!(
        (form.model.as_deref(), form.language.as_deref()),
        (Some("whisper-1"), Some("en"))
    );
    assert_eq!((form.prompt.as_deref(), form.temperature), (Some("Digits."), 0.5));
    assert_eq!(form.response_format, ResponseFormat::VerboseJson);
    assert!(form.words && form.segments && !form.stream);
    let least = read_parts(&[("file", b"")]).await.unwrap();
    assert_eq!(bytes(least.file), b"");
    assert_eq!((least.model, least.prompt, least.temperature), (None, None, 0.0));
    assert_eq!(least.response_format, ResponseFormat::Json);
}

#[tokio::test]
async fn what_is_not_followed_is_refused_by_name() {
    let file: (&str, &[u8]) = ("file", b"x");
    for (name, value) in [
        ("response_format", "diarized_json"),
        ("temperature", "1.5"),
        ("temperature", "nan"),
        ("temperature", "warm"),
        ("stream", "yes"),
        ("chunking_strategy", "auto"),
        ("timestamp_granularities[]", "character"),
        ("", "x"),
    ] {
        let (named, sentence) = refused(&[file, (name, value.as_bytes())]).await;
        assert_eq!(named, name, "{sentence}");
        assert!(sentence.contains("not supported"), "{sentence}");
    }
}

#[tokio::test]
async fn a_form_without_a_file_or_with_a_field_twice_is_refused() {
    assert_eq!(refused(&[("model", b"whisper-1")]).await.0, "file");
    assert_eq!(refused(&[("model", b"a"), ("model", b"b")]).await.0, "model");
    assert_eq!(refused(&[("file", b"a"), ("file", b"b")]).await.0, "file");
}

#[tokio::test]
async fn values_that_are_long_or_no_text_are_refused() {
    assert_eq!(
        refused(&[("language", &[b'e'; MAX_VALUE + 1])]).await.0,
        "language"
    );
    assert_eq!(refused(&[("language", b"\xff")]).await.0, "language");
}

#[tokio::test]
async fn a_form_that_is_cut_off_or_too_large_is_refused() {
    let cut = b"--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nabc".to_vec();
    assert_eq!(read_body(cut).await.unwrap_err().code(), Code::InvalidArgument);
    let large = read_parts(&[("file", &[0; LIMIT])]).await;
    assert_eq!(large.unwrap_err(), Failure::TooLarge { limit: LIMIT });
}

#[tokio::test]
async fn subtitles_are_not_streamed() {
    let streamed = |format: &'static str| {
        [
            ("file", &b"x"[..]),
            ("stream", b"true"),
            ("response_format", format.as_bytes()),
        ]
    };
    assert!(read_parts(&streamed("verbose_json")).await.unwrap().stream);
    assert_eq!(refused(&streamed("srt")).await.0, "stream");
}

#[tokio::test]
async fn words_need_the_format_that_has_room_for_them() {
    let (named, sentence) = refused(&[("file", b"x"), ("timestamp_granularities[]", b"word")]).await;
    assert_eq!(named, "timestamp_granularities[]");
    assert!(sentence.contains("verbose_json"), "{sentence}");
}
