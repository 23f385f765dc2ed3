//! StreamingTranscribe.

use std::time::Duration;

use inference_server::proto::{
    AudioEncoding, StreamingTranscribeRequest, streaming_transcribe_request::Request as Part,
};
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::{
    OpenStream, Serving, audio, config, ended, file_config, narrow, raw_config, sample, silence, words,
};

fn pieces(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    bytes.chunks(size).map(<[u8]>::to_vec).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_raw_audio_in_pieces_give_the_words_of_the_whole() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let (wav, said) = sample("three-digits-16k.wav");
    let raw: Vec<u8> = hound::WavReader::new(&wav[..])
        .unwrap()
        .into_samples::<i16>()
        .flat_map(|sample| sample.unwrap().to_le_bytes())
        .collect();
    let (flac, said_in_flac) = sample("three-digits-16k.flac");
    // 3200 bytes are 100 ms; 331 cuts samples and frames anywhere.
    for (first, bytes, size, said) in [
        (raw_config(AudioEncoding::Linear16, 16_000, 1), &raw, 3200, &said),
        (raw_config(AudioEncoding::Linear16, 16_000, 0), &raw, 331, &said),
        (file_config(), &wav, 3200, &said),
        (file_config(), &flac, 331, &said_in_flac),
    ] {
        let stream = OpenStream::open(&mut client, first).await.unwrap();
        let results = stream.finish(pieces(bytes, size)).await.unwrap();
        assert_eq!(words(&results), *said);
        assert!(results.iter().all(|result| result.is_final));
    }
    assert_eq!(serving.metric(&ended("StreamingTranscribe", "OK")).await, 4.0);
    assert!(
        serving
            .metric("parlance_audio_seconds_total{api=\"StreamingTranscribe\"}")
            .await
            > 4.0 * 2.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_come_while_the_stream_is_still_open() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let mut stream = OpenStream::open(&mut client, file_config()).await.unwrap();
    stream
        .send
        .send(audio(&silence(Duration::from_secs(65))))
        .await
        .unwrap();
    // The sender stays open: what comes can only come from windows that were full.
    let mut last = (0, 0);
    for window in 1..=2 {
        let result = stream.next().await.unwrap().expect("a window");
        let end = result.end_offset.unwrap();
        assert!(
            (end.seconds, end.nanos) > last,
            "window {window} ends at {end:?}, after {last:?}"
        );
        last = (end.seconds, end.nanos);
    }
    assert!(last <= (65, 0));
    let rest = stream.finish(Vec::new()).await.unwrap();
    assert_eq!(
        rest.last().unwrap().end_offset.unwrap().seconds,
        65,
        "all of it is accounted for"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_messages_is_enforced() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let empty = StreamingTranscribeRequest { request: None };
    for (first, field) in [
        (audio(b"RIFF"), "config"),
        (empty.clone(), "config"),
        (raw_config(AudioEncoding::Linear16, 0, 1), "sample_rate_hertz"),
        (raw_config(AudioEncoding::Linear16, 16_000, 70_000), "channels"),
        (
            raw_config(AudioEncoding::Unspecified, 16_000, 0),
            "sample_rate_hertz",
        ),
    ] {
        let refused = OpenStream::open(&mut client, first)
            .await
            .err()
            .expect("the first message is wrong");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert_eq!(
            refused
                .get_error_details()
                .bad_request()
                .unwrap()
                .field_violations[0]
                .field,
            field
        );
    }
    for (second, field) in [(file_config(), "config"), (empty, "audio")] {
        let mut stream = OpenStream::open(&mut client, file_config()).await.unwrap();
        stream.send.send(second).await.unwrap();
        let refused = stream.next().await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert_eq!(
            refused
                .get_error_details()
                .bad_request()
                .unwrap()
                .field_violations[0]
                .field,
            field
        );
    }
    let none = tokio_stream::iter(Vec::<StreamingTranscribeRequest>::new());
    assert_eq!(
        client.streaming_transcribe(none).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    serving.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_language_that_the_model_does_not_know_is_refused_before_the_stream_waits() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let _holds_the_permit = OpenStream::open(&mut client, file_config()).await.unwrap();
    let mut first = file_config();
    if let Some(Part::Config(config)) = &mut first.request {
        config.transcription.get_or_insert_default().language = "tlh".to_owned();
    }
    let refused = OpenStream::open(&mut client, first).await.err().expect("refused");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_audio_that_is_too_long_end_the_stream_and_free_its_permit() {
    let mut config = narrow();
    config.settings.max_audio_duration = Duration::from_secs(2);
    let serving = Serving::start(config).await;
    let mut client = serving.client().await;
    for bytes in [vec![b'x'; 100_000], silence(Duration::from_secs(3))] {
        // With no queue, opening the next one shows that the permit is free.
        let stream = OpenStream::open(&mut client, file_config()).await.unwrap();
        let refused = stream.finish(pieces(&bytes, 1000)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        serving.idle().await;
    }
}
