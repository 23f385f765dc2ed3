//! What a request may ask for, and what is refused.

use super::*;
use crate::{pipeline::Language, status::Code};

#[test]
fn what_a_request_does_not_say_is_the_servers_default() {
    let defaults = Options {
        language: Language::Code("nl".into()),
        task: pipeline::Task::Translate,
        ..Options::default()
    };
    assert_eq!(options(None, &defaults).unwrap(), defaults);
    let config = |language: &str, task| {
        Some(proto::TranscriptionConfig {
            language: language.into(),
            task,
            ..Default::default()
        })
    };
    assert_eq!(options(config("", 0), &defaults).unwrap(), defaults);
    let said = options(config("auto", proto::Task::Transcribe.into()), &defaults).unwrap();
    assert_eq!(
        (said.language, said.task),
        (Language::Auto, pipeline::Task::Transcribe)
    );
    assert_eq!(
        options(config("", 9), &defaults).unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[test]
fn every_field_of_a_request_has_its_place() {
    let said = options(
        Some(proto::TranscriptionConfig {
            language: String::new(),
            task: 0,
            word_timestamps: Some(true),
            initial_prompt: "Digits.".into(),
            hotwords: "niner".into(),
            beam_size: 4,
            temperatures: vec![0.0, 0.5],
            long_form: proto::LongForm::Sequential.into(),
            voice_activity_detection: Some(false),
            separate_channels: Some(true),
            clips: vec![proto::Clip {
                start: seconds(1.5),
                end: None,
            }],
            chunk_silence: seconds(2.0),
            hallucination_silence_threshold: seconds(0.5),
            carry_initial_prompt: Some(true),
            condition_on_previous_text: Some(false),
            prepended_punctuation: Some("(".into()),
            appended_punctuation: Some(")".into()),
            decoding: Some(proto::DecodingConfig {
                patience: Some(2.0),
                length_penalty: Some(0.5),
                best_of: Some(3),
                compression_ratio_threshold: Some(3.0),
                logprob_threshold: Some(-2.0),
                no_speech_threshold: Some(0.5),
                seed: Some(9),
                suppress_tokens: vec![-1, 5],
                suppress_blank: Some(false),
                max_initial_timestamp: seconds(0.5),
                max_new_tokens: Some(7),
            }),
        }),
        &Options::default(),
    )
    .unwrap();
    let mut expected = Options {
        word_timestamps: true,
        long_form: pipeline::LongForm::Sequential,
        vad: None,
        ..Options::default()
    };
    expected.context.initial_prompt = Some("Digits.".into());
    expected.context.hotwords = Some("niner".into());
    expected.channels = Channels::Each;
    expected.clips = vec![Clip {
        start: Duration::from_millis(1500),
        end: None,
    }];
    expected.chunk_silence = Some(Duration::from_secs(2));
    expected.hallucination_silence_threshold = Some(Duration::from_millis(500));
    expected.context.carry_initial_prompt = true;
    expected.context.condition_on_previous_text = false;
    expected.punctuation.prepended = "(".into();
    expected.punctuation.appended = ")".into();
    expected.decoding = Decoding {
        temperatures: vec![0.0, 0.5],
        beam_size: 4,
        patience: 2.0,
        best_of: 3,
        length_penalty: Some(0.5),
        compression_ratio_threshold: Some(3.0),
        logprob_threshold: Some(-2.0),
        no_speech_threshold: Some(0.5),
        seed: 9,
        suppress_tokens: vec![-1, 5],
        suppress_blank: false,
        max_initial_timestamp: Some(Duration::from_millis(500)),
        max_new_tokens: Some(7),
        min_new_tokens: 0,
    };
    assert_eq!(said, expected);
    let no_silence = proto::TranscriptionConfig {
        chunk_silence: seconds(0.0),
        separate_channels: Some(false),
        ..Default::default()
    };
    let undone = options(Some(no_silence), &expected).unwrap();
    assert_eq!((undone.chunk_silence, undone.channels), (None, Channels::Mix));
}

#[test]
fn a_stream_has_no_clips_and_times_are_not_negative() {
    let config = |start| proto::TranscriptionConfig {
        clips: vec![proto::Clip {
            start: seconds(start),
            end: None,
        }],
        ..Default::default()
    };
    let defaults = Options::default();
    assert!(options(Some(config(1.0)), &defaults).is_ok());
    for refused in [
        stream_options(Some(config(1.0)), &defaults),
        options(Some(config(-1.0)), &defaults),
    ] {
        match refused {
            Err(Failure::InvalidArgument { field, .. }) => {
                assert_eq!(field, Field::Named("clips".into()))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_utterance_ends_by_default_where_words_come_early() {
    let config = |interim_results, utterance_silence: Option<f64>| {
        live(&proto::StreamingConfig {
            interim_results,
            utterance_silence: utterance_silence.and_then(seconds),
            ..Default::default()
        })
        .map(|live| live.utterance_silence)
    };
    assert_eq!(config(false, None), Ok(None));
    assert_eq!(config(true, None), Ok(Some(Duration::from_millis(500))));
    assert_eq!(config(false, Some(1.5)), Ok(Some(Duration::from_millis(1500))));
    for bad in [0.0, -1.0, 60.0] {
        assert_eq!(
            config(true, Some(bad)).unwrap_err().code(),
            Code::InvalidArgument,
            "{bad}"
        );
    }
}

#[test]
fn raw_audio_needs_a_rate_and_files_refuse_one() {
    let config = |encoding: i32, sample_rate_hertz, channels| {
        encoding_of(proto::StreamingConfig {
            encoding,
            sample_rate_hertz,
            channels,
            ..Default::default()
        })
    };
    assert_eq!(config(0, 0, 0), Ok(StreamEncoding::File));
    assert_eq!(
        config(1, 8000, 0),
        Ok(StreamEncoding::Linear16 {
            sample_rate: 8000,
            channels: 1
        })
    );
    assert_eq!(
        config(1, 48000, 2),
        Ok(StreamEncoding::Linear16 {
            sample_rate: 48000,
            channels: 2
        })
    );
    for (encoding, rate, channels, field) in [
        (0, 16000, 0, "sample_rate_hertz"),
        (0, 0, 1, "channels"),
        (1, 0, 1, "sample_rate_hertz"),
        (1, 16000, 70_000, "channels"),
        (99, 0, 0, "encoding"),
    ] {
        match config(encoding, rate, channels) {
            Err(Failure::InvalidArgument { field: named, .. }) => {
                assert_eq!(named, Field::Named(field.into()))
            }
            other => panic!("{encoding} {rate} {channels}: {other:?}"),
        }
    }
}

fn seconds(seconds: f64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration {
        seconds: seconds as i64,
        nanos: (seconds.fract() * 1e9) as i32,
    })
}

fn encoding_of(config: proto::StreamingConfig) -> Result<StreamEncoding, Failure> {
    encoding(&config)
}
