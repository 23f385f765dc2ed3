//! Our results as messages. Data only.

use std::time::Duration;

use crate::{
    model::ModelFacts,
    pipeline::{self, Transcript, Update, WindowResult},
    proto,
    status::Failure,
    transcriber::Settings,
};

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

/// News of a stream, or of one channel of it.
pub(super) fn update(
    update: Update,
    channel: Option<u16>,
) -> Result<proto::StreamingTranscribeResponse, Failure> {
    let mut message = of_update(update)?;
    message.channel = channel.unwrap_or(0).into();
    for segment in &mut message.segments {
        segment.channel = message.channel;
    }
    Ok(message)
}

fn of_update(update: Update) -> Result<proto::StreamingTranscribeResponse, Failure> {
    let speech = |event: proto::SpeechEvent, at| {
        Ok(proto::StreamingTranscribeResponse {
            end_offset: Some(duration(at)?),
            speech_event: event.into(),
            ..Default::default()
        })
    };
    match update {
        Update::SpeechStart(at) => speech(proto::SpeechEvent::Begin, at),
        Update::SpeechEnd(at) => speech(proto::SpeechEvent::End, at),
        // Only where a client may commit, which the messages of this API do not know.
        Update::Committed(at) => Ok(proto::StreamingTranscribeResponse {
            is_final: true,
            end_offset: Some(duration(at)?),
            ..Default::default()
        }),
        Update::Final(result) => Ok(proto::StreamingTranscribeResponse {
            is_final: true,
            ..words_of(result)?
        }),
        Update::Interim {
            result,
            stable,
            stability,
        } => Ok(proto::StreamingTranscribeResponse {
            stable_text: stable,
            stability,
            ..words_of(result)?
        }),
    }
}

fn words_of(result: WindowResult) -> Result<proto::StreamingTranscribeResponse, Failure> {
    let WindowResult {
        segments,
        language,
        end_offset,
    } = result;
    Ok(proto::StreamingTranscribeResponse {
        segments: segments.into_iter().map(segment).collect::<Result<_, _>>()?,
        end_offset: Some(duration(end_offset)?),
        language,
        ..Default::default()
    })
}

/// The languages of a recording, likeliest first.
pub(super) fn languages(languages: Vec<(String, f32)>) -> proto::DetectLanguageResponse {
    let languages = languages
        .into_iter()
        .map(|(language, probability)| proto::LanguageProbability {
            language,
            probability,
        });
    proto::DetectLanguageResponse {
        languages: languages.collect(),
    }
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
        words,
        temperature,
        compression_ratio,
        tokens,
        channel,
        seek: _,
    } = segment;
    Ok(proto::Segment {
        start: Some(duration(start)?),
        end: Some(duration(end)?),
        text,
        avg_logprob,
        no_speech_prob,
        words: words.into_iter().map(word).collect::<Result<_, _>>()?,
        temperature,
        compression_ratio,
        tokens,
        channel: channel.unwrap_or(0).into(),
    })
}

fn word(word: pipeline::Word) -> Result<proto::Word, Failure> {
    Ok(proto::Word {
        start: Some(duration(word.start)?),
        end: Some(duration(word.end)?),
        text: word.text.trim().to_owned(),
        probability: word.probability,
    })
}

fn duration(duration: Duration) -> Result<prost_types::Duration, Failure> {
    prost_types::Duration::try_from(duration)
        .map_err(|_| Failure::Internal(format!("{duration:?} does not fit in a message")))
}
