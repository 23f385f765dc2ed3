//! The client's events in; what they ask for out. And the session's configuration, as an event. Pure.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::{
    audio::StreamEncoding,
    model::Model,
    pipeline::{Language, LiveOptions, Options},
    session::Input,
    status::Failure,
    transcriber::Settings,
    vad,
};

/// The rate of `audio/pcm` where it is not said, in Hz.
const RATE: u32 = 24_000;
/// The rate of G.711, in Hz.
const TELEPHONE: u32 = 8_000;

/// What an event of the client asks for.
pub(super) enum Asked {
    /// Another configuration.
    Update(Box<Wanted>),
    /// Something of the worker.
    Input(Input),
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    session: Option<Value>,
    audio: Option<String>,
}

/// `session` of a `session.update`: what is there is set, the rest stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(rename = "type")]
    kind: Option<String>,
    audio: Option<WantedAudio>,
    #[serde(default)]
    include: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedAudio {
    input: Option<WantedInput>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedInput {
    format: Option<WantedFormat>,
    transcription: Option<WantedTranscription>,
    noise_reduction: Option<Value>,
    #[serde(default, deserialize_with = "there")]
    turn_detection: Option<Option<WantedTurns>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedFormat {
    #[serde(rename = "type")]
    kind: String,
    rate: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedTranscription {
    model: Option<String>,
    language: Option<String>,
    prompt: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedTurns {
    #[serde(rename = "type")]
    kind: String,
    threshold: Option<f64>,
    prefix_padding_ms: Option<u64>,
    silence_duration_ms: Option<u64>,
    // They are about answers, of which a transcription has none.
    #[serde(rename = "create_response")]
    _create_response: Option<bool>,
    #[serde(rename = "interrupt_response")]
    _interrupt_response: Option<bool>,
}

/// Tells `null` from a field that is not there.
fn there<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(field).map(Some)
}

impl Asked {
    /// Reads one event.
    pub(super) fn read(text: &str) -> Result<Asked, Failure> {
        let event: Event = serde_json::from_str(text)
            .map_err(|error| Failure::invalid("type", format!("the event cannot be read: {error}")))?;
        Ok(match event.kind.as_str() {
            "session.update" => {
                let session = event
                    .session
                    .ok_or_else(|| Failure::invalid("session", "session.update needs a session"))?;
                let wanted = serde_json::from_value(session).map_err(|error| {
                    Failure::invalid("session", format!("the session cannot be followed: {error}"))
                })?;
                Asked::Update(Box::new(wanted))
            }
            "input_audio_buffer.append" => {
                let audio = event.audio.unwrap_or_default();
                let bytes = BASE64_STANDARD.decode(audio).map_err(|error| {
                    Failure::invalid("audio", format!("the audio is not base64: {error}"))
                })?;
                Asked::Input(Input::Audio(bytes.into()))
            }
            "input_audio_buffer.commit" => Asked::Input(Input::Commit),
            "input_audio_buffer.clear" => Asked::Input(Input::Clear),
            other => {
                return Err(Failure::invalid(
                    "type",
                    format!("the event {other:?} is none of a transcription session"),
                ));
            }
        })
    }
}

/// How a session is configured.
pub(super) struct Configuration {
    pub(super) encoding: StreamEncoding,
    pub(super) options: Options,
    pub(super) live: LiveOptions,
    model: String,
    format: Value,
}

impl Configuration {
    /// The server's defaults, and those of the API: 24 kHz, an utterance ends after half a second.
    pub(super) fn new(settings: &Settings, model: &Model) -> Self {
        let mut options = settings.options.clone();
        options.vad.get_or_insert_default();
        Configuration {
            encoding: StreamEncoding::Linear16 {
                sample_rate: RATE,
                channels: 1,
            },
            options,
            live: LiveOptions {
                utterance_silence: Some(LiveOptions::UTTERANCE_SILENCE),
                interim_results: true,
                voice_activity: true,
                start_offset: Duration::ZERO,
            },
            model: model.facts().name.clone(),
            format: json!({ "type": "audio/pcm", "rate": RATE }),
        }
    }

    /// Sets what is wanted, all of it or nothing.
    pub(super) fn update(&mut self, wanted: &Wanted, model: &Model) -> Result<(), Failure> {
        if wanted.kind.as_deref().is_some_and(|kind| kind != "transcription") {
            return Err(Failure::invalid(
                "session.type",
                "only sessions of type transcription are served",
            ));
        }
        if let Some(include) = wanted.include.first() {
            return Err(Failure::invalid(
                "session.include",
                format!("{include} is not supported"),
            ));
        }
        let Some(input) = wanted.audio.as_ref().and_then(|audio| audio.input.as_ref()) else {
            return Ok(());
        };
        if input
            .noise_reduction
            .as_ref()
            .is_some_and(|value| !value.is_null())
        {
            let message = "noise reduction is not supported; leave it out";
            return Err(Failure::invalid("session.audio.input.noise_reduction", message));
        }
        let (mut options, mut live) = (self.options.clone(), self.live.clone());
        let format = input.format.as_ref().map(encoding).transpose()?;
        if let Some(transcription) = &input.transcription {
            if let Some(name) = &transcription.model {
                super::super::served(model, name)?;
            }
            if let Some(language) = &transcription.language {
                let Ok(language) = language.parse::<Language>();
                options.language = language;
            }
            if let Some(prompt) = &transcription.prompt {
                options.context.initial_prompt = Some(prompt.clone());
            }
        }
        match &input.turn_detection {
            None => {}
            Some(None) => (live.utterance_silence, live.voice_activity) = (None, false),
            Some(Some(turns)) => detect_turns(turns, &mut options, &mut live)?,
        }
        options.check(model)?;
        (self.options, self.live) = (options, live);
        if let Some((encoding, format)) = format {
            (self.encoding, self.format) = (encoding, format);
        }
        Ok(())
    }

    /// The event that tells it.
    pub(super) fn event(&self, kind: &str, id: &str) -> Value {
        let language = match &self.options.language {
            Language::Code(code) => json!(code),
            Language::Auto => Value::Null,
        };
        let turns = self.live.utterance_silence.map(|silence| {
            let speech = self.options.vad.clone().unwrap_or_default();
            json!({
                "type": "server_vad",
                "threshold": speech.threshold,
                "prefix_padding_ms": speech.speech_pad.as_millis() as u64,
                "silence_duration_ms": silence.as_millis() as u64,
            })
        });
        json!({
            "type": kind,
            "session": {
                "id": format!("sess_{id}"),
                "object": "realtime.transcription_session",
                "type": "transcription",
                "audio": { "input": {
                    "format": self.format,
                    "transcription": {
                        "model": self.model,
                        "language": language,
                        "prompt": self.options.context.initial_prompt,
                    },
                    "noise_reduction": null,
                    "turn_detection": turns,
                } },
            },
        })
    }
}

fn encoding(format: &WantedFormat) -> Result<(StreamEncoding, Value), Failure> {
    let channels = 1;
    let refused = |message: String| Err(Failure::invalid("session.audio.input.format", message));
    let telephone = StreamEncoding::MuLaw {
        sample_rate: TELEPHONE,
        channels,
    };
    Ok(match (format.kind.as_str(), format.rate) {
        ("audio/pcm", rate) => {
            let sample_rate = rate.unwrap_or(RATE);
            let encoding = StreamEncoding::Linear16 {
                sample_rate,
                channels,
            };
            if let Err(error) = crate::audio::AudioStream::new(encoding, Duration::ZERO) {
                return refused(error.to_string());
            }
            (encoding, json!({ "type": "audio/pcm", "rate": sample_rate }))
        }
        ("audio/pcmu", None | Some(TELEPHONE)) => (telephone, json!({ "type": "audio/pcmu" })),
        ("audio/pcma", None | Some(TELEPHONE)) => {
            let encoding = StreamEncoding::ALaw {
                sample_rate: TELEPHONE,
                channels,
            };
            (encoding, json!({ "type": "audio/pcma" }))
        }
        (kind, _) => {
            return refused(format!(
                "{kind:?} is not supported: audio/pcm, audio/pcmu and audio/pcma (8000 Hz) are"
            ));
        }
    })
}

fn detect_turns(turns: &WantedTurns, options: &mut Options, live: &mut LiveOptions) -> Result<(), Failure> {
    const FIELD: &str = "session.audio.input.turn_detection";
    if turns.kind != "server_vad" {
        let message = format!("{:?} is not supported: server_vad or null", turns.kind);
        return Err(Failure::invalid(FIELD, message));
    }
    let speech = options.vad.get_or_insert_default();
    if let Some(threshold) = turns.threshold {
        speech.threshold = threshold;
    }
    if let Some(padding) = turns.prefix_padding_ms {
        speech.speech_pad = Duration::from_millis(padding);
    }
    let silence = turns.silence_duration_ms.map(Duration::from_millis);
    live.utterance_silence = Some(silence.unwrap_or(LiveOptions::UTTERANCE_SILENCE));
    live.voice_activity = true;
    let checked = vad::Settings {
        min_silence: live.utterance_silence.unwrap_or_default(),
        ..speech.clone()
    };
    checked
        .limits()
        .map(|_| ())
        .map_err(|error| Failure::invalid(FIELD, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(event: Value) -> String {
        match Asked::read(&event.to_string()) {
            Err(failure) => failure.to_string(),
            Ok(_) => panic!("{event} was taken"),
        }
    }

    #[test]
    fn events_are_read_and_what_is_none_is_refused_with_a_sentence() {
        let append = json!({ "type": "input_audio_buffer.append", "audio": "AAEC", "event_id": "mine" });
        match Asked::read(&append.to_string()) {
            Ok(Asked::Input(Input::Audio(bytes))) => assert_eq!(&bytes[..], [0, 1, 2]),
            _ => panic!("no audio"),
        }
        assert!(refused(json!({ "type": "response.create" })).contains("response.create"));
        assert!(refused(json!({ "type": "input_audio_buffer.append", "audio": "%" })).contains("base64"));
        assert!(refused(json!({ "type": "session.update" })).contains("needs a session"));
        let unknown = json!({ "type": "session.update", "session": { "voice": "alloy" } });
        assert!(refused(unknown).contains("voice"));
        assert!(Asked::read("{").is_err() && Asked::read("[]").is_err());
    }

    #[test]
    fn formats_are_those_of_the_api() {
        let of = |kind: &str, rate| {
            let kind = kind.to_owned();
            encoding(&WantedFormat { kind, rate }).map(|(encoding, _)| encoding)
        };
        let pcm = |sample_rate| StreamEncoding::Linear16 {
            sample_rate,
            channels: 1,
        };
        assert_eq!(of("audio/pcm", None), Ok(pcm(24_000)));
        assert_eq!(of("audio/pcm", Some(16_000)), Ok(pcm(16_000)));
        assert!(matches!(
            of("audio/pcmu", None),
            Ok(StreamEncoding::MuLaw {
                sample_rate: 8000,
                ..
            })
        ));
        assert!(matches!(
            of("audio/pcma", None),
            Ok(StreamEncoding::ALaw {
                sample_rate: 8000,
                ..
            })
        ));
        for (kind, rate) in [
            ("audio/pcm", Some(0)),
            ("audio/pcmu", Some(16_000)),
            ("audio/mpeg", None),
        ] {
            assert!(of(kind, rate).is_err(), "{kind} {rate:?}");
        }
    }
}
