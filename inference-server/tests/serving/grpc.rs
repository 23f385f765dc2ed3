//! Transcribe, DetectLanguage and GetModel.

use inference_server::proto::{
    DetectLanguageRequest, GetModelRequest, Task, TranscribeRequest, TranscriptionConfig,
};
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::harness::{Serving, config, ended, request, sample};

#[tokio::test(flavor = "multi_thread")]
async fn transcribe_returns_the_words_of_every_clear_recording() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    for file in [
        "three-digits-16k.wav",
        "four-digits-8k.wav",
        "three-digits-16k.flac",
        "two-digits-48k-stereo.wav",
    ] {
        let (audio, said) = sample(file);
        let answer = client.transcribe(request(audio)).await.unwrap().into_inner();
        assert_eq!(answer.text, said, "{file}");
        let joined: Vec<&str> = answer
            .segments
            .iter()
            .map(|segment| segment.text.as_str())
            .collect();
        assert_eq!(joined.join(" "), said, "{file}");
        let length = answer.audio_duration.unwrap();
        let end = answer.segments.last().unwrap().end.unwrap();
        assert!(
            (end.seconds, end.nanos) <= (length.seconds, length.nanos),
            "{file}: {end:?} is past {length:?}"
        );
        assert_eq!(answer.model.unwrap().name, "whisper-nano-digits");
    }
    assert_eq!(serving.metric(&ended("Transcribe", "OK")).await, 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn get_model_describes_what_is_served() {
    let serving = Serving::start(config()).await;
    let answer = serving
        .client()
        .await
        .get_model(GetModelRequest {})
        .await
        .unwrap()
        .into_inner();
    let model = answer.model.unwrap();
    assert_eq!(model.name, "whisper-nano-digits");
    assert!(model.digest.starts_with("sha256:"), "{}", model.digest);
    assert!(
        answer.languages.contains(&"en".to_owned()),
        "{:?}",
        answer.languages
    );
    assert!(
        answer.tasks.contains(&Task::Transcribe.into()),
        "{:?}",
        answer.tasks
    );
    assert_eq!(answer.max_audio_duration.unwrap().seconds, 3600);
    assert!(answer.mel_bins == 80 || answer.mel_bins == 128);
    assert!(answer.vocabulary_size > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_transcribed_is_an_invalid_argument_that_names_the_field() {
    let mut config = config();
    config.settings.max_audio_duration = std::time::Duration::from_secs(2);
    let serving = Serving::start(config).await;
    let mut client = serving.client().await;
    let said = |language: &str, task: i32| {
        Some(TranscriptionConfig {
            language: language.to_owned(),
            task,
            ..Default::default()
        })
    };
    let (short, long) = (sample("one-digit-16k.wav").0, sample("three-digits-16k.wav").0);
    let cut = short[..20].to_vec();
    for (config, audio, field, words) in [
        (
            None,
            b"this is no audio at all, only text".to_vec(),
            "audio",
            "WAV, FLAC, MP3",
        ),
        (None, Vec::new(), "audio", "empty"),
        (None, cut, "audio", ""),
        (None, long, "audio", "2s"),
        (said("tlh", 0), short.clone(), "language", "tlh"),
        (said("en", 17), short, "task", "17"),
    ] {
        let refused = client
            .transcribe(TranscribeRequest {
                config,
                audio: audio.into(),
            })
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(
            refused.message().contains(words),
            "{words:?} is not in {:?}",
            refused.message()
        );
        let details = refused.get_error_details();
        assert_eq!(
            details.bad_request().expect("BadRequest").field_violations[0].field,
            field
        );
    }
    serving.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_id_comes_back_with_answers_and_errors() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let with_id = |audio: Vec<u8>| {
        let mut request = Request::new(request(audio));
        request
            .metadata_mut()
            .insert("x-request-id", "mine-7".parse().unwrap());
        request
    };
    let answer = client
        .transcribe(with_id(sample("one-digit-16k.wav").0))
        .await
        .unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "mine-7");
    let refused = client.transcribe(with_id(Vec::new())).await.unwrap_err();
    assert_eq!(refused.metadata().get("x-request-id").unwrap(), "mine-7");
    assert_eq!(
        refused.get_error_details().request_info().unwrap().request_id,
        "mine-7"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn words_have_their_times_when_they_are_asked_for() {
    let serving = Serving::start(config()).await;
    let (audio, said) = sample("three-digits-16k.wav");
    let asked = TranscribeRequest {
        config: Some(TranscriptionConfig {
            word_timestamps: Some(true),
            ..Default::default()
        }),
        audio: audio.clone().into(),
    };
    let mut client = serving.client().await;
    let answer = client.transcribe(asked).await.unwrap().into_inner();
    let words = &answer.segments[0].words;
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    assert_eq!(texts.join(" "), said);
    let time = |time: Option<prost_types::Duration>| time.map(|time| (time.seconds, time.nanos)).unwrap();
    let times: Vec<_> = words
        .iter()
        .flat_map(|word| [time(word.start), time(word.end)])
        .collect();
    assert!(times.is_sorted() && times[0] < times[5], "{times:?}");
    assert!(words.iter().all(|word| (0.0..=1.0).contains(&word.probability)));
    let plain = client.transcribe(request(audio)).await.unwrap().into_inner();
    assert!(plain.segments[0].words.is_empty());
    assert!(!plain.segments[0].tokens.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_asks_of_the_decoder_is_checked() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let ask = |config: TranscriptionConfig| TranscribeRequest {
        config: Some(config),
        audio: sample("one-digit-16k.wav").0.into(),
    };
    let beams = TranscriptionConfig {
        beam_size: 3,
        temperatures: vec![0.0],
        ..Default::default()
    };
    let answer = client.transcribe(ask(beams)).await.unwrap().into_inner();
    assert_eq!(answer.text, sample("one-digit-16k.wav").1);
    for (config, said) in [
        (
            TranscriptionConfig {
                beam_size: 1000,
                ..Default::default()
            },
            "a beam size of 1000",
        ),
        (
            TranscriptionConfig {
                temperatures: vec![2.0],
                ..Default::default()
            },
            "a temperature of 2",
        ),
        (
            TranscriptionConfig {
                long_form: 7,
                ..Default::default()
            },
            "7 is not a long form",
        ),
    ] {
        let status = client.transcribe(ask(config)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(said), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn detect_language_names_the_likeliest_first_and_none_for_silence() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let detect = |audio: Vec<u8>| DetectLanguageRequest { audio: audio.into() };
    let spoken = sample("three-digits-16k.wav").0;
    let languages = client
        .detect_language(detect(spoken))
        .await
        .unwrap()
        .into_inner()
        .languages;
    assert_eq!(languages[0].language, "en");
    assert!(languages.is_sorted_by(|a, b| a.probability >= b.probability));
    let sum: f32 = languages.iter().map(|language| language.probability).sum();
    assert!((sum - 1.0).abs() < 1e-3, "{sum}");
    let silence = crate::harness::silence(std::time::Duration::from_secs(2));
    let languages = client
        .detect_language(detect(silence))
        .await
        .unwrap()
        .into_inner()
        .languages;
    assert!(languages.is_empty(), "{languages:?}");
    let garbage = client
        .detect_language(detect(b"garbage".to_vec()))
        .await
        .unwrap_err();
    assert_eq!(garbage.code(), Code::InvalidArgument);
    assert_eq!(serving.metric(&ended("DetectLanguage", "OK")).await, 2.0);
}
