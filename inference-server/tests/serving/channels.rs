//! Channels that are transcribed each by itself, over gRPC and HTTP.

use inference_server::proto::{
    AudioEncoding, StreamingTranscribeRequest, TranscribeRequest, TranscriptionConfig,
    streaming_transcribe_request::Request as Part,
};
use tonic::Code;

use crate::{
    harness::{OpenStream, Serving, config, raw_config, request, sample},
    http::{Upload, post},
};

/// Two recordings at 16 kHz, one in each of two channels, the second a while after the first; as samples, interleaved, and what
/// is said in them.
fn interleaved() -> (Vec<i16>, [String; 2]) {
    let samples = |file: &[u8]| -> Vec<i16> {
        let reader = hound::WavReader::new(file).unwrap();
        reader.into_samples::<i16>().map(Result::unwrap).collect()
    };
    let (first, said_first) = sample("three-digits-16k.wav");
    let (second, said_second) = sample("one-digit-16k.wav");
    let (first, second) = (samples(&first), samples(&second));
    let later: Vec<i16> = std::iter::repeat_n(0, 48_000).chain(second).collect();
    let frames = first.len().max(later.len());
    let at = |channel: &[i16], i| channel.get(i).copied().unwrap_or(0);
    let both = (0..frames).flat_map(|i| [at(&later, i), at(&first, i)]);
    (both.collect(), [said_first, said_second])
}

fn wav(samples: &[i16], channels: u16) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
    for &sample in samples {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    file.into_inner()
}

fn separate() -> Option<TranscriptionConfig> {
    Some(TranscriptionConfig {
        separate_channels: Some(true),
        ..Default::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_separate_channels_gets_the_words_of_each() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let (samples, [first, second]) = interleaved();
    let stereo = wav(&samples, 2);
    let ask = |config, audio: &[u8]| TranscribeRequest {
        config,
        audio: audio.to_vec().into(),
    };
    let answer = client
        .transcribe(ask(separate(), &stereo))
        .await
        .unwrap()
        .into_inner();
    let told: Vec<(u32, &str)> = answer
        .segments
        .iter()
        .map(|s| (s.channel, s.text.as_str()))
        .collect();
    assert_eq!(told, [(2, first.as_str()), (1, second.as_str())]);
    assert_eq!(answer.text, format!("{first} {second}"));
    assert!(answer.segments[1].start.unwrap().seconds >= 2);
    let audio = "parlance_audio_seconds_total{api=\"Transcribe\"}";
    let length = answer.audio_duration.unwrap().seconds as f64;
    assert!(
        serving.metric(audio).await > 1.9 * length,
        "both channels are work"
    );
    let mixed = client.transcribe(request(stereo)).await.unwrap().into_inner();
    assert!(mixed.segments.iter().all(|segment| segment.channel == 0));
    let nine = wav(&samples[..18_000], 9);
    let refused = client.transcribe(ask(separate(), &nine)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("9 channels are too many"),
        "{}",
        refused.message()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_separate_channels_says_which_one_each_message_is_about() {
    let serving = Serving::start(config()).await;
    let mut client = serving.client().await;
    let (samples, [first, second]) = interleaved();
    let mut begin = raw_config(AudioEncoding::Linear16, 16_000, 2);
    let Some(Part::Config(stream)) = &mut begin.request else {
        panic!("the first message is the configuration")
    };
    stream.transcription = separate();
    stream.interim_results = true;
    let opened = OpenStream::open(&mut client, begin.clone()).await.unwrap();
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let results = opened
        .finish(bytes.chunks(3201).map(<[u8]>::to_vec).collect())
        .await
        .unwrap();
    let finals = |channel: u32| -> Vec<&str> {
        let of = results
            .iter()
            .filter(|result| result.is_final && result.channel == channel);
        of.flat_map(|result| &result.segments)
            .map(|segment| segment.text.as_str())
            .collect()
    };
    assert_eq!(finals(2), [first.as_str()]);
    assert_eq!(finals(1), [second.as_str()]);
    assert!(
        results
            .iter()
            .flat_map(|result| &result.segments)
            .all(|s| s.channel == 1 || s.channel == 2)
    );
    let Some(Part::Config(stream)) = &mut begin.request else {
        panic!("the first message is the configuration")
    };
    stream.channels = 9;
    let refused = OpenStream::open(&mut client, StreamingTranscribeRequest { ..begin })
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_may_ask_for_separate_channels_but_not_for_deltas_of_them() {
    let serving = Serving::start(config()).await;
    let (samples, [first, _]) = interleaved();
    let stereo = wav(&samples, 2);
    let form = || {
        Upload::of(&stereo)
            .field("channels", "separate")
            .field("response_format", "verbose_json")
    };
    let answer = post(serving.http, form()).await;
    let json = answer.json();
    assert_eq!(
        (answer.status, &json["segments"][0]["channel"]),
        (200, &2.into()),
        "{json}"
    );
    assert_eq!(json["segments"][0]["text"], format!(" {first}"));
    let answer = post(serving.http, form().field("stream", "true")).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["param"]),
        (400, &"stream".into())
    );
    let answer = post(serving.http, Upload::of(&stereo).field("channels", "both")).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["param"]),
        (400, &"channels".into())
    );
}
