//! Proto messages to our types and back. Refuses what no type of ours can say; knows no state.

use std::time::Duration;

use crate::{
    audio::StreamEncoding,
    model::ModelFacts,
    pipeline::{self, Options, Transcript, WindowResult},
    proto,
    status::{Failure, Field},
    transcriber::Settings,
};

/// What the request asks for, where it says nothing the server's defaults.
pub(super) fn options(
    config: Option<proto::TranscriptionConfig>,
    defaults: &Options,
) -> Result<Options, Failure> {
    let proto::TranscriptionConfig { language, task } = config.unwrap_or_default();
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
    Ok(options)
}

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

/// A whole transcript.
pub(super) fn transcript(
    transcript: Transcript,
    facts: &ModelFacts,
) -> Result<proto::TranscribeResponse, Failure> {
    let Transcript {
        text,
        segments,
        language,
        audio_duration,
    } = transcript;
    Ok(proto::TranscribeResponse {
        text,
        segments: segments.into_iter().map(segment).collect::<Result<_, _>>()?,
        language,
        audio_duration: Some(duration(audio_duration)?),
        model: Some(model_info(facts)),
    })
}

/// The words of one window of a stream; windows are final.
pub(super) fn window(window: WindowResult) -> Result<proto::StreamingTranscribeResponse, Failure> {
    let WindowResult {
        segments,
        language,
        end_offset,
    } = window;
    Ok(proto::StreamingTranscribeResponse {
        segments: segments.into_iter().map(segment).collect::<Result<_, _>>()?,
        is_final: true,
        end_offset: Some(duration(end_offset)?),
        language,
    })
}

/// What the server serves.
pub(super) fn model(facts: &ModelFacts, settings: &Settings) -> Result<proto::GetModelResponse, Failure> {
    let number = |n: usize| u32::try_from(n).map_err(|_| Failure::Internal(format!("{n} is out of range")));
    Ok(proto::GetModelResponse {
        model: Some(model_info(facts)),
        languages: facts.languages.clone(),
        tasks: facts
            .tasks
            .iter()
            .map(|task| proto::Task::from(*task).into())
            .collect(),
        mel_bins: number(facts.mel_bins)?,
        vocabulary_size: number(facts.vocabulary_size)?,
        max_audio_duration: Some(duration(settings.max_audio_duration)?),
    })
}

impl From<pipeline::Task> for proto::Task {
    fn from(task: pipeline::Task) -> Self {
        match task {
            pipeline::Task::Transcribe => proto::Task::Transcribe,
            pipeline::Task::Translate => proto::Task::Translate,
        }
    }
}

fn model_info(facts: &ModelFacts) -> proto::ModelInfo {
    proto::ModelInfo {
        name: facts.name.clone(),
        digest: facts.digest.clone(),
    }
}

fn segment(segment: pipeline::Segment) -> Result<proto::Segment, Failure> {
    let pipeline::Segment {
        start,
        end,
        text,
        avg_logprob,
        no_speech_prob,
        ..
    } = segment;
    Ok(proto::Segment {
        start: Some(duration(start)?),
        end: Some(duration(end)?),
        text,
        avg_logprob,
        no_speech_prob,
    })
}

fn duration(duration: Duration) -> Result<prost_types::Duration, Failure> {
    prost_types::Duration::try_from(duration)
        .map_err(|_| Failure::Internal(format!("{duration:?} does not fit in a message")))
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
    fn raw_audio_needs_a_rate_and_files_refuse_one() {
        let config = |encoding: i32, sample_rate_hertz, channels| {
            encoding_of(proto::StreamingConfig {
                transcription: None,
                encoding,
                sample_rate_hertz,
                channels,
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
