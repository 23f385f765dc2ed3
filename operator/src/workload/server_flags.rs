//! The flags of the server.
//!
//! In: the serving block. Out: [`ServerFlags`], or why the spec cannot be followed; and those of them that only a spec that asks for
//! them has, as arguments. Pure.

use std::time::Duration;

use crds::serving::{Precision, Serving};
use crds::transcription::{Channels, LongForm, Task, Vad};

use super::pod::verbatim;
use super::settings::{SpecError, given, read};
use crate::duration::flag;

/// Flags of `parlance-server serve`. Those that may be absent are left to the server then.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerFlags {
    /// `--threads`
    pub threads: u32,
    /// `--precision`
    pub precision: Option<&'static str>,
    /// `--language`
    pub language: String,
    /// `--task`
    pub task: &'static str,
    /// `--chunk-duration`
    pub chunk_duration: Duration,
    /// `--chunk-overlap`
    pub chunk_overlap: Duration,
    /// `--timeout`
    pub timeout: Duration,
    /// `--max-audio-duration`
    pub max_audio_duration: Duration,
    /// `--max-concurrent`
    pub max_concurrent: u32,
    /// `--queue-limit`
    pub queue_limit: u32,
    /// `--long-form`
    pub long_form: Option<&'static str>,
    /// `--chunk-silence`
    pub chunk_silence: Option<Duration>,
    /// `--encoder-tail`
    pub encoder_tail: Option<Duration>,
    /// `--channels`
    pub channels: Option<&'static str>,
    /// `--vad` and the flags that begin so
    pub vad: Option<VadFlags>,
    /// `--word-timestamps`
    pub word_timestamps: Option<bool>,
    /// `--prepended-punctuation`
    pub prepended_punctuation: Option<String>,
    /// `--appended-punctuation`
    pub appended_punctuation: Option<String>,
    /// `--hallucination-silence-threshold`
    pub hallucination_silence_threshold: Option<Duration>,
    /// `--temperatures`; absent when empty
    pub temperatures: Vec<f64>,
    /// `--beam-size`
    pub beam_size: Option<u32>,
    /// `--patience`
    pub patience: Option<f64>,
    /// `--best-of`
    pub best_of: Option<u32>,
    /// `--length-penalty`
    pub length_penalty: Option<f64>,
    /// `--compression-ratio-threshold`
    pub compression_ratio_threshold: Option<f64>,
    /// `--logprob-threshold`
    pub logprob_threshold: Option<f64>,
    /// `--no-speech-threshold`
    pub no_speech_threshold: Option<f64>,
    /// `--seed`
    pub seed: Option<i64>,
    /// `--suppress-tokens`
    pub suppress_tokens: Option<Vec<i32>>,
    /// `--suppress-blank`
    pub suppress_blank: Option<bool>,
    /// `--max-initial-timestamp`
    pub max_initial_timestamp: Option<Duration>,
    /// `--max-new-tokens`
    pub max_new_tokens: Option<u32>,
    /// `--initial-prompt`
    pub initial_prompt: Option<String>,
    /// `--carry-initial-prompt`
    pub carry_initial_prompt: Option<bool>,
    /// `--hotwords`
    pub hotwords: Option<String>,
    /// `--condition-on-previous-text`
    pub condition_on_previous_text: Option<bool>,
}

/// Flags of the voice activity detector.
#[derive(Clone, Debug, PartialEq)]
pub struct VadFlags {
    /// `--vad`
    pub enabled: bool,
    /// `--vad-threshold`
    pub threshold: Option<f64>,
    /// `--vad-min-speech`
    pub min_speech: Option<Duration>,
    /// `--vad-min-silence`
    pub min_silence: Option<Duration>,
    /// `--vad-speech-pad`
    pub speech_pad: Option<Duration>,
}

impl ServerFlags {
    /// The flags that a serving block asks for.
    pub fn of(serving: &Serving) -> Result<ServerFlags, SpecError> {
        let spec = &serving.transcription;
        Ok(ServerFlags {
            threads: serving.threads,
            precision: serving.precision.map(|precision| match precision {
                Precision::Auto => "auto",
                Precision::F32 => "f32",
                Precision::Bf16 => "bf16",
                Precision::Int8Bf16 => "int8-bf16",
                Precision::Int8 => "int8",
            }),
            language: spec.language.clone(),
            task: match spec.task {
                Task::Transcribe => "transcribe",
                Task::Translate => "translate",
            },
            chunk_duration: read("transcription.chunkDuration", &spec.chunk_duration)?,
            chunk_overlap: read("transcription.chunkOverlap", &spec.chunk_overlap)?,
            timeout: read("transcription.timeout", &spec.timeout)?,
            max_audio_duration: read("transcription.maxAudioDuration", &spec.max_audio_duration)?,
            max_concurrent: spec.max_concurrent,
            queue_limit: spec.queue_limit,
            long_form: spec.long_form.map(|form| match form {
                LongForm::Chunked => "chunked",
                LongForm::Sequential => "sequential",
            }),
            chunk_silence: given("transcription.chunkSilence", &spec.chunk_silence)?,
            encoder_tail: given("transcription.encoderTail", &spec.encoder_tail)?,
            channels: spec.channels.map(|channels| match channels {
                Channels::Mixed => "mixed",
                Channels::Separate => "separate",
            }),
            prepended_punctuation: spec.prepended_punctuation.clone(),
            appended_punctuation: spec.appended_punctuation.clone(),
            hallucination_silence_threshold: given(
                "transcription.hallucinationSilenceThreshold",
                &spec.hallucination_silence_threshold,
            )?,
            patience: spec.patience,
            length_penalty: spec.length_penalty,
            seed: spec.seed,
            suppress_tokens: spec.suppress_tokens.clone(),
            suppress_blank: spec.suppress_blank,
            max_initial_timestamp: given("transcription.maxInitialTimestamp", &spec.max_initial_timestamp)?,
            max_new_tokens: spec.max_new_tokens,
            vad: spec.vad.as_ref().map(VadFlags::of).transpose()?,
            word_timestamps: spec.word_timestamps,
            temperatures: spec.temperatures.clone(),
            beam_size: spec.beam_size,
            best_of: spec.best_of,
            compression_ratio_threshold: spec.compression_ratio_threshold,
            logprob_threshold: spec.logprob_threshold,
            no_speech_threshold: spec.no_speech_threshold,
            initial_prompt: spec.initial_prompt.clone(),
            carry_initial_prompt: spec.carry_initial_prompt,
            hotwords: spec.hotwords.clone(),
            condition_on_previous_text: spec.condition_on_previous_text,
        })
    }

    /// The flags that only a spec that asks for them has: the others' pods keep their template when the operator learns one.
    pub fn asked_for(&self) -> impl Iterator<Item = String> {
        let vad = self.vad.as_ref();
        let time = |value: Option<Duration>| value.map(flag);
        let temperatures: Vec<String> = self.temperatures.iter().map(f64::to_string).collect();
        let temperatures = Some(temperatures.join(",")).filter(|list| !list.is_empty());
        let suppressed = self.suppress_tokens.as_ref().map(|tokens| {
            let numbers: Vec<String> = tokens.iter().map(i32::to_string).collect();
            numbers.join(",")
        });
        [
            ("precision", written(self.precision)),
            ("long-form", written(self.long_form)),
            ("chunk-silence", time(self.chunk_silence)),
            ("encoder-tail", time(self.encoder_tail)),
            ("channels", written(self.channels)),
            ("vad", written(vad.map(|vad| vad.enabled))),
            ("vad-threshold", written(vad.and_then(|vad| vad.threshold))),
            ("vad-min-speech", time(vad.and_then(|vad| vad.min_speech))),
            ("vad-min-silence", time(vad.and_then(|vad| vad.min_silence))),
            ("vad-speech-pad", time(vad.and_then(|vad| vad.speech_pad))),
            ("word-timestamps", written(self.word_timestamps)),
            (
                "prepended-punctuation",
                self.prepended_punctuation.as_deref().map(verbatim),
            ),
            (
                "appended-punctuation",
                self.appended_punctuation.as_deref().map(verbatim),
            ),
            (
                "hallucination-silence-threshold",
                time(self.hallucination_silence_threshold),
            ),
            ("temperatures", temperatures),
            ("beam-size", written(self.beam_size)),
            ("patience", written(self.patience)),
            ("best-of", written(self.best_of)),
            ("length-penalty", written(self.length_penalty)),
            (
                "compression-ratio-threshold",
                written(self.compression_ratio_threshold),
            ),
            ("logprob-threshold", written(self.logprob_threshold)),
            ("no-speech-threshold", written(self.no_speech_threshold)),
            ("seed", written(self.seed)),
            ("suppress-tokens", suppressed),
            ("suppress-blank", written(self.suppress_blank)),
            ("max-initial-timestamp", time(self.max_initial_timestamp)),
            ("max-new-tokens", written(self.max_new_tokens)),
            ("initial-prompt", self.initial_prompt.as_deref().map(verbatim)),
            ("carry-initial-prompt", written(self.carry_initial_prompt)),
            ("hotwords", self.hotwords.as_deref().map(verbatim)),
            (
                "condition-on-previous-text",
                written(self.condition_on_previous_text),
            ),
        ]
        .into_iter()
        .filter_map(|(flag, value)| value.map(|value| format!("--{flag}={value}")))
    }
}

impl VadFlags {
    fn of(vad: &Vad) -> Result<VadFlags, SpecError> {
        Ok(VadFlags {
            enabled: vad.enabled,
            threshold: vad.threshold,
            min_speech: given("transcription.vad.minSpeech", &vad.min_speech)?,
            min_silence: given("transcription.vad.minSilence", &vad.min_silence)?,
            speech_pad: given("transcription.vad.speechPad", &vad.speech_pad)?,
        })
    }
}

fn written<T: ToString>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
}
