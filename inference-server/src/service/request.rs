//! What the messages of a request ask for, in our types. Refuses what no type of ours can say; knows no state.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    audio::{Channels, StreamEncoding},
    pipeline::{self, Clip, Decoding, LiveOptions, Options},
    proto,
    status::{Failure, Field},
};

/// What the request asks for, where it says nothing the server's defaults.
pub(super) fn options(
    config: Option<proto::TranscriptionConfig>,
    defaults: &Options,
) -> Result<Options, Failure> {
    let proto::TranscriptionConfig {
        language,
        task,
        word_timestamps,
        initial_prompt,
        hotwords,
        beam_size,
        temperatures,
        long_form,
        voice_activity_detection,
        separate_channels,
        clips,
        chunk_silence,
        hallucination_silence_threshold,
        carry_initial_prompt,
        condition_on_previous_text,
        prepended_punctuation,
        appended_punctuation,
        decoding,
    } = config.unwrap_or_default();
    let mut options = defaults.clone();
    if !language.is_empty() {
        let Ok(language) = language.parse();
        options.language = language;
    }
    options.task = match proto::Task::try_from(task) {
        Ok(proto::Task::Unspecified) => defaults.task,
        Ok(proto::Task::Transcribe) => pipeline::Task::Transcribe,
        Ok(proto::Task::Translate) => pipeline::Task::Translate,
        Err(_) => {
            let message = format!("{task} is not a task that this server knows");
            return Err(Failure::InvalidArgument {
                message,
                field: Field::Task,
            });
        }
    };
    options.long_form = match proto::LongForm::try_from(long_form) {
        Ok(proto::LongForm::Unspecified) => defaults.long_form,
        Ok(proto::LongForm::Chunked) => pipeline::LongForm::Chunked,
        Ok(proto::LongForm::Sequential) => pipeline::LongForm::Sequential,
        Err(_) => {
            let message = format!("{long_form} is not a long form that this server knows");
            return Err(Failure::invalid("long_form", message));
        }
    };
    options.word_timestamps = word_timestamps.unwrap_or(defaults.word_timestamps);
    match voice_activity_detection {
        Some(true) if options.vad.is_none() => options.vad = Options::default().vad,
        Some(false) => options.vad = None,
        _ => {}
    }
    match separate_channels {
        Some(true) => options.channels = Channels::Each,
        Some(false) => options.channels = Channels::Mix,
        None => {}
    }
    if !clips.is_empty() {
        options.clips = clips.into_iter().map(clip).collect::<Result<_, _>>()?;
    }
    if chunk_silence.is_some() {
        // None at all is how a request says that it wants none, whatever the server's default.
        options.chunk_silence = time("chunk_silence", chunk_silence)?.filter(|time| !time.is_zero());
    }
    if let Some(threshold) = time("hallucination_silence_threshold", hallucination_silence_threshold)? {
        options.hallucination_silence_threshold = Some(threshold);
    }
    let context = &mut options.context;
    if !initial_prompt.is_empty() {
        context.initial_prompt = Some(initial_prompt);
    }
    if !hotwords.is_empty() {
        context.hotwords = Some(hotwords);
    }
    set(&mut context.carry_initial_prompt, carry_initial_prompt);
    set(
        &mut context.condition_on_previous_text,
        condition_on_previous_text,
    );
    set(&mut options.punctuation.prepended, prepended_punctuation);
    set(&mut options.punctuation.appended, appended_punctuation);
    if beam_size != 0 {
        options.decoding.beam_size = usize::try_from(beam_size).unwrap_or(usize::MAX);
    }
    if !temperatures.is_empty() {
        options.decoding.temperatures = temperatures;
    }
    if let Some(decoding) = decoding {
        how(decoding, &mut options.decoding)?;
    }
    Ok(options)
}

/// The same for a stream, which cannot be heard in part.
pub(super) fn stream_options(
    config: Option<proto::TranscriptionConfig>,
    defaults: &Options,
) -> Result<Options, Failure> {
    let options = options(config, defaults)?;
    if options.clips.is_empty() {
        Ok(options)
    } else {
        Err(Failure::invalid(
            "clips",
            "clips are parts of a whole recording; of a stream, send only the audio that is to be transcribed",
        ))
    }
}

/// What a request says of how tokens are searched for.
fn how(config: proto::DecodingConfig, decoding: &mut Decoding) -> Result<(), Failure> {
    let proto::DecodingConfig {
        patience,
        length_penalty,
        best_of,
        compression_ratio_threshold,
        logprob_threshold,
        no_speech_threshold,
        seed,
        suppress_tokens,
        suppress_blank,
        max_initial_timestamp,
        max_new_tokens,
    } = config;
    let number = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    set(&mut decoding.patience, patience);
    set(&mut decoding.best_of, best_of.map(number));
    set(&mut decoding.seed, seed);
    set(&mut decoding.suppress_blank, suppress_blank);
    set(&mut decoding.length_penalty, length_penalty.map(Some));
    set(
        &mut decoding.compression_ratio_threshold,
        compression_ratio_threshold.map(Some),
    );
    set(&mut decoding.logprob_threshold, logprob_threshold.map(Some));
    set(&mut decoding.no_speech_threshold, no_speech_threshold.map(Some));
    set(
        &mut decoding.max_new_tokens,
        max_new_tokens.map(|n| Some(number(n))),
    );
    if let Some(latest) = time("max_initial_timestamp", max_initial_timestamp)? {
        decoding.max_initial_timestamp = Some(latest);
    }
    if !suppress_tokens.is_empty() {
        decoding.suppress_tokens = suppress_tokens.into_iter().map(i64::from).collect();
    }
    Ok(())
}

fn set<T>(option: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *option = said;
    }
}

fn clip(clip: proto::Clip) -> Result<Clip, Failure> {
    Ok(Clip {
        start: time("clips", clip.start)?.unwrap_or_default(),
        end: time("clips", clip.end)?,
    })
}

fn time(field: &str, time: Option<prost_types::Duration>) -> Result<Option<Duration>, Failure> {
    let valid = time.map(Duration::try_from).transpose();
    valid.map_err(|_| Failure::invalid(field, format!("{field} must be a time of 0 or more")))
}

/// What a stream wants to hear of early.
pub(super) fn live(config: &proto::StreamingConfig) -> Result<LiveOptions, Failure> {
    let silence = time("utterance_silence", config.utterance_silence)?;
    if let Some(silence) = silence.filter(|silence| !UTTERANCE_SILENCE.contains(silence)) {
        return Err(Failure::invalid(
            "utterance_silence",
            format!("utterance_silence is {silence:?}: it goes from 0.1 s to 10 s"),
        ));
    }
    let by_default = config.interim_results.then_some(LiveOptions::UTTERANCE_SILENCE);
    Ok(LiveOptions {
        utterance_silence: silence.or(by_default),
        interim_results: config.interim_results,
        voice_activity: config.voice_activity_events,
        start_offset: time("start_offset", config.start_offset)?.unwrap_or_default(),
    })
}

/// Silences that make sense as the end of an utterance.
const UTTERANCE_SILENCE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(10);

/// What the bytes of a stream are.
pub(super) fn encoding(config: &proto::StreamingConfig) -> Result<StreamEncoding, Failure> {
    use proto::AudioEncoding as Encoding;
    let sample_rate = config.sample_rate_hertz;
    let Ok(encoding) = Encoding::try_from(config.encoding) else {
        let message = format!("{} is not an encoding that this server knows", config.encoding);
        return Err(Failure::invalid("encoding", message));
    };
    let raw = encoding != Encoding::Unspecified;
    for (field, value) in [("sample_rate_hertz", sample_rate), ("channels", config.channels)] {
        if !raw && value != 0 {
            let message = format!("{field} is only for raw audio; a file says it itself");
            return Err(Failure::invalid(field, message));
        }
    }
    if raw && sample_rate == 0 {
        return Err(Failure::invalid(
            "sample_rate_hertz",
            "raw audio needs sample_rate_hertz",
        ));
    }
    let channels = u16::try_from(config.channels.max(1))
        .map_err(|_| Failure::invalid("channels", format!("{} channels are too many", config.channels)))?;
    #[rustfmt::skip]
    let encoding = match encoding {
        Encoding::Unspecified => StreamEncoding::File,
        Encoding::Linear16 => StreamEncoding::Linear16 { sample_rate, channels },
        Encoding::Mulaw => StreamEncoding::MuLaw { sample_rate, channels },
        Encoding::Alaw => StreamEncoding::ALaw { sample_rate, channels },
        Encoding::Linear24 => StreamEncoding::Linear24 { sample_rate, channels },
        Encoding::Linear32 => StreamEncoding::Linear32 { sample_rate, channels },
        Encoding::Float32 => StreamEncoding::Float32 { sample_rate, channels },
        Encoding::Unsigned8 => StreamEncoding::Unsigned8 { sample_rate, channels },
    };
    Ok(encoding)
}

#[cfg(test)]
mod tests {
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
}
