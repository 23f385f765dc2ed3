//! What the messages of a request ask for, in our types. Refuses what no type of ours can say; knows no state.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    audio::StreamEncoding,
    pipeline::{self, LiveOptions, Options},
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
    if !initial_prompt.is_empty() {
        options.context.initial_prompt = Some(initial_prompt);
    }
    if !hotwords.is_empty() {
        options.context.hotwords = Some(hotwords);
    }
    if beam_size != 0 {
        options.decoding.beam_size = usize::try_from(beam_size).unwrap_or(usize::MAX);
    }
    if !temperatures.is_empty() {
        options.decoding.temperatures = temperatures;
    }
    Ok(options)
}

/// What a stream wants to hear of early.
pub(super) fn live(config: &proto::StreamingConfig) -> Result<LiveOptions, Failure> {
    let time = |field: &str, time: Option<prost_types::Duration>| {
        let valid = time.map(Duration::try_from).transpose();
        valid.map_err(|_| Failure::invalid(field, format!("{field} must be a time of 0 or more")))
    };
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
                word_timestamps: Some(true),
                initial_prompt: "Digits.".into(),
                hotwords: "niner".into(),
                beam_size: 4,
                temperatures: vec![0.0, 0.5],
                long_form: proto::LongForm::Sequential.into(),
                voice_activity_detection: Some(false),
                ..Default::default()
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
        expected.decoding.beam_size = 4;
        expected.decoding.temperatures = vec![0.0, 0.5];
        assert_eq!(said, expected);
    }

    #[test]
    fn an_utterance_ends_by_default_where_words_come_early() {
        let config = |interim_results, utterance_silence: Option<f64>| {
            let seconds = |seconds: f64| prost_types::Duration {
                seconds: seconds as i64,
                nanos: (seconds.fract() * 1e9) as i32,
            };
            live(&proto::StreamingConfig {
                interim_results,
                utterance_silence: utterance_silence.map(seconds),
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

    fn encoding_of(config: proto::StreamingConfig) -> Result<StreamEncoding, Failure> {
        encoding(&config)
    }
}
