//! StreamingTranscribe.

use std::time::Duration;

use inference_server::proto::{
    AudioEncoding, SpeechEvent, StreamingConfig, StreamingTranscribeRequest, StreamingTranscribeResponse,
    streaming_transcribe_request::Request as Part,
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

/// Raw samples of a recording at 16 kHz.
fn raw(file: &str) -> Vec<u8> {
    let wav = sample(file).0;
    let samples = hound::WavReader::new(&wav[..]).unwrap().into_samples::<i16>();
    samples.flat_map(|sample| sample.unwrap().to_le_bytes()).collect()
}

fn live(change: impl FnOnce(&mut StreamingConfig)) -> StreamingTranscribeRequest {
    let mut config = StreamingConfig {
        encoding: AudioEncoding::Linear16.into(),
        sample_rate_hertz: 16_000,
        ..StreamingConfig::default()
    };
    change(&mut config);
    StreamingTranscribeRequest {
        request: Some(Part::Config(config)),
    }
}

fn seconds(time: Option<prost_types::Duration>) -> f64 {
    time.map(|time| time.seconds as f64 + f64::from(time.nanos) / 1e9)
        .unwrap()
}

fn text(result: &StreamingTranscribeResponse) -> String {
    words(std::slice::from_ref(result))
}

static PAUSE: [u8; 64_000] = [0; 64_000]; // 2 s

#[tokio::test(flavor = "multi_thread")]
async fn an_utterance_is_told_while_it_is_spoken_and_is_final_when_the_speaker_pauses() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let first = live(|config| {
        config.interim_results = true;
        config.voice_activity_events = true;
    });
    let mut stream = OpenStream::open(&mut client, first).await.unwrap();
    let utterances = [("three-digits-16k.wav", 0.0), ("one-digit-16k.wav", 4.0)];
    let mut begin = 0.0;
    for (file, least) in utterances {
        let spoken = raw(file);
        let length = spoken.len() as f64 / 32_000.0;
        for piece in pieces(&[&spoken[..], &PAUSE].concat(), 3200) {
            stream.send.send(audio(&piece)).await.unwrap();
        }
        // The sender stays open: it is the pause that makes the words final.
        let (mut events, mut interims) = (Vec::new(), Vec::new());
        let last = loop {
            let result = stream.next().await.unwrap().expect("a result");
            match result.speech_event() {
                SpeechEvent::Unspecified if result.is_final => break result,
                SpeechEvent::Unspecified => interims.push(result),
                event => events.push((event, seconds(result.end_offset))),
            }
        };
        assert_eq!(text(&last), sample(file).1);
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!((events[0].0, events[1].0), (SpeechEvent::Begin, SpeechEvent::End));
        assert!(begin <= events[0].1 && events[0].1 < events[1].1 && events[1].1 <= begin + length + 1.0);
        assert!(!interims.is_empty(), "{file}");
        for interim in &interims {
            assert!((0.0..=1.0).contains(&interim.stability), "{interim:?}");
            assert!(text(interim).starts_with(&interim.stable_text), "{interim:?}");
            assert!(seconds(interim.end_offset) <= seconds(last.end_offset) + 0.5);
        }
        assert!(seconds(last.segments[0].start) >= least, "{last:?}");
        begin += length + 2.0;
    }
    stream.finish(Vec::new()).await.unwrap();
    serving.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_where_another_broke_off() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let first = live(|config| {
        config.utterance_silence = Some(prost_types::Duration {
            seconds: 0,
            nanos: 400_000_000,
        });
        config.start_offset = Some(prost_types::Duration {
            seconds: 100,
            nanos: 0,
        });
    });
    let stream = OpenStream::open(&mut client, first).await.unwrap();
    let results = stream
        .finish(pieces(&raw("three-digits-16k.wav"), 3200))
        .await
        .unwrap();
    assert_eq!(words(&results), sample("three-digits-16k.wav").1);
    let last = results.last().unwrap();
    assert!(
        results.iter().all(|result| result.is_final),
        "no words come early unless they are asked for"
    );
    assert!((102.0..103.0).contains(&seconds(last.end_offset)), "{last:?}");
    let starts = results
        .iter()
        .flat_map(|result| &result.segments)
        .map(|segment| seconds(segment.start));
    assert!(starts.into_iter().all(|start| (100.0..102.0).contains(&start)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_silence() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let first = live(|config| {
        config.interim_results = true;
        config.voice_activity_events = true;
    });
    let stream = OpenStream::open(&mut client, first).await.unwrap();
    let results = stream.finish(pieces(&[0; 32_000 * 40], 32_000)).await.unwrap();
    assert!(
        results
            .iter()
            .all(|result| result.is_final && result.segments.is_empty()),
        "{results:?}"
    );
    assert_eq!(seconds(results.last().unwrap().end_offset), 40.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_make_no_sense_are_refused_by_name() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let minus = Some(prost_types::Duration {
        seconds: -1,
        nanos: 0,
    });
    for (field, first) in [
        (
            "utterance_silence",
            live(|config| config.utterance_silence = minus),
        ),
        ("start_offset", live(|config| config.start_offset = minus)),
    ] {
        let status = OpenStream::open(&mut client, first)
            .await
            .err()
            .expect("a refusal");
        assert_eq!(status.code(), Code::InvalidArgument);
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
    }
}
