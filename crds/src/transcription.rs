//! How audio is transcribed where a request does not say otherwise: the block `transcription` of a serving block.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How audio is transcribed, and how much of it is accepted.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.chunkOverlap) + duration(self.chunkOverlap) <= duration(self.chunkDuration)").message(
        "transcription.chunkOverlap must be at most half of transcription.chunkDuration"
    ),
    validation = Rule::new("duration(self.chunkDuration) >= duration('5s') && duration(self.chunkDuration) <= duration('30s')").message(
        "transcription.chunkDuration must be between 5s and 30s, the window of Whisper"
    ),
    validation = Rule::new("duration(self.timeout) > duration('0s') && duration(self.maxAudioDuration) > duration('0s')").message(
        "transcription.timeout and transcription.maxAudioDuration must be above 0s"
    ),
    validation = Rule::new("!has(self.longForm) || self.longForm != 'Sequential' || (duration(self.chunkDuration) == duration('30s') && duration(self.chunkOverlap) == duration('1s'))").message(
        "transcription.chunkDuration and transcription.chunkOverlap have no effect with longForm Sequential: leave them out"
    ),
    validation = Rule::new("(has(self.longForm) && self.longForm == 'Sequential') || !(has(self.carryInitialPrompt) || has(self.conditionOnPreviousText))").message(
        "transcription.carryInitialPrompt and transcription.conditionOnPreviousText need longForm Sequential: every chunk gets the initial prompt, and none the text before it"
    ),
    validation = Rule::new("!has(self.temperatures) || self.temperatures.all(t, self.temperatures.exists_one(other, other == t))").message(
        "transcription.temperatures must not hold a number twice: the text would be the same again"
    ),
    validation = Rule::new("!has(self.beamSize) || !has(self.temperatures) || self.temperatures.exists(t, t == 0.0)").message(
        "transcription.beamSize needs a 0 among transcription.temperatures: beams are searched at temperature 0 only"
    ),
    validation = Rule::new("!has(self.compressionRatioThreshold) || !has(self.temperatures) || size(self.temperatures) > 1").message(
        "transcription.compressionRatioThreshold needs two transcription.temperatures or more: with one, nothing is decoded again"
    ),
    validation = Rule::new("!has(self.patience) || (self.patience > 0.0 && has(self.beamSize) && self.beamSize > 1)").message(
        "transcription.patience must be above 0, and needs a transcription.beamSize above 1"
    ),
    validation = Rule::new("!has(self.chunkSilence) || ((!has(self.vad) || self.vad.enabled) && !(has(self.longForm) && self.longForm == 'Sequential'))").message(
        "transcription.chunkSilence needs transcription.vad, and chunks: it has no effect with vad.enabled false or longForm Sequential"
    ),
    validation = Rule::new("!has(self.encoderTail) || duration(self.encoderTail) <= duration('30s')").message(
        "transcription.encoderTail must be 30s or less: a window holds no more"
    ),
    validation = Rule::new("!has(self.chunkSilence) || (duration(self.chunkSilence) >= duration('500ms') && duration(self.chunkSilence) <= duration('30s'))").message(
        "transcription.chunkSilence must be between 500ms and 30s"
    ),
    validation = Rule::new("!has(self.hallucinationSilenceThreshold) || (has(self.longForm) && self.longForm == 'Sequential')").message(
        "transcription.hallucinationSilenceThreshold needs longForm Sequential"
    ),
    validation = Rule::new("!has(self.maxInitialTimestamp) || duration(self.maxInitialTimestamp) <= duration('30s')").message(
        "transcription.maxInitialTimestamp must be at most 30s, the window of Whisper"
    )
)]
pub struct Transcription {
    /// Language spoken, as a code such as `en`, or `auto` to detect it.
    #[schemars(length(max = 16), regex(pattern = r"^[a-z]{2,3}$|^auto$"))]
    #[serde(default = "default_language")]
    pub language: String,
    /// Whether words are written in their own language or in English.
    #[serde(default)]
    pub task: Task,
    /// How audio longer than 30 s, the window of Whisper, is gone through. `Chunked` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_form: Option<LongForm>,
    /// Length of the windows that long audio is cut into. Of no use to `longForm: Sequential`, whose windows have 30 s.
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[serde(default = "default_chunk_duration")]
    pub chunk_duration: String,
    /// Audio that a window shares with the one before it. Of no use to `longForm: Sequential`.
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[serde(default = "default_chunk_overlap")]
    pub chunk_overlap: String,
    /// A silence of so long, between 500ms and 30s, ends a chunk too. Only a full chunk ends when left out. It needs `vad`, and is
    /// of no use to `longForm: Sequential`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub chunk_silence: Option<String>,
    /// So much silence after its audio, at most 30s, is a part of a window that is not full, instead of all that it has room for: short
    /// clips and live speech take much less time. Whisper was trained with whole windows, and errs more the shorter the tail: measure it
    /// with your model first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub encoder_tail: Option<String>,
    /// What becomes of several channels. `Mixed` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// What counts as speech; stretches without any are not given to the model. On, with the values below, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vad: Option<Vad>,
    /// Whether words are timed, and segments begin and end with their words. False when left out. It is for gRPC, whose answers
    /// hold segments; HTTP requests ask for words themselves, with `timestamp_granularities[]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word_timestamps: Option<bool>,
    /// Marks that belong to the word after them, where words are timed. Those of openai/whisper when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^[^\x00]*$"))]
    pub prepended_punctuation: Option<String>,
    /// Marks that belong to the word before them, where words are timed. Those of openai/whisper when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^[^\x00]*$"))]
    pub appended_punctuation: Option<String>,
    /// A silence longer than this is passed over, together with words after or within it that seem invented. Nothing is passed
    /// over when left out. Only with `longForm: Sequential`, and a model that was exported with attentions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub hallucination_silence_threshold: Option<String>,
    /// Temperatures from 0 to 1, tried one after another until the text of a window is good enough by the thresholds below.
    /// 0, 0.2, 0.4, 0.6, 0.8 and 1 when left out. A single 0 switches the fallback off: the likeliest text stays. An HTTP request
    /// with a `temperature` above 0 gets that one alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 10), inner(range(min = 0, max = 1)))]
    pub temperatures: Vec<f64>,
    /// Beams that are searched at temperature 0. 1, the single likeliest token each time, when left out. The time that decoding
    /// takes grows with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 32))]
    pub beam_size: Option<u32>,
    /// A beam search goes on until `beamSize` times this many texts have ended: above 0, to 10. 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub patience: Option<f64>,
    /// Texts that are drawn at a temperature above 0, of which the likeliest is taken. 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 32))]
    pub best_of: Option<u32>,
    /// Exponent of the length, from 0 to 1, by which texts are compared. They are compared by their mean log-probability when
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub length_penalty: Option<f64>,
    /// Text that compresses better than this repeats itself, and is decoded again at the next temperature: its bytes divided by
    /// its bytes after zlib. 2.4 when left out; 1000 is never reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000))]
    pub compression_ratio_threshold: Option<f64>,
    /// Text whose tokens have a lower mean log-probability than this is unlikely, and is decoded again at the next temperature.
    /// -1 when left out; -100 is never reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -100, max = 0))]
    pub logprob_threshold: Option<f64>,
    /// Probability of no speech, from 0 to 1, above which a window with unlikely text has none. 0.6 when left out; 1 is never
    /// passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub no_speech_threshold: Option<f64>,
    /// Where drawing at temperatures above 0 begins; the same seed gives the same transcript. 0 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub seed: Option<i64>,
    /// Numbers of tokens that are never said beside the special ones; -1 stands for those that the model names. Those when left
    /// out; none when the list is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_024), inner(range(min = -1, max = 1_000_000)))]
    pub suppress_tokens: Option<Vec<i32>>,
    /// Whether a window may neither begin with a blank nor be empty. True when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppress_blank: Option<bool>,
    /// The latest time in a window, at most 30s, at which its first words may begin. The model's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub max_initial_timestamp: Option<String>,
    /// Most tokens of a window. Half of what the decoder can hold when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 100_000))]
    pub max_new_tokens: Option<u32>,
    /// Text that comes before the audio, to set names and style; a request's own `prompt` takes its place. Its end is what counts:
    /// it and the hot words have half of the decoder's positions, 223 tokens in Whisper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4_096), regex(pattern = r"^[^\x00]*[^\s\x00][^\x00]*$"))]
    pub initial_prompt: Option<String>,
    /// Whether every window is told the initial prompt, the spec's or the request's, and not only the first. False when left out.
    /// Only with `longForm: Sequential`; chunks are always told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carry_initial_prompt: Option<bool>,
    /// Words that every window is to expect, such as names. They come before the initial prompt, and what does not fit into half of
    /// the decoder's positions is cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4_096), regex(pattern = r"^[^\x00]*[^\s\x00][^\x00]*$"))]
    pub hotwords: Option<String>,
    /// Whether a window is told the text before it. True when left out. Only with `longForm: Sequential`; chunks stand on their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_on_previous_text: Option<bool>,
    /// Longest time that a request may take.
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[serde(default = "default_timeout")]
    pub timeout: String,
    /// Longest audio that a request may bring.
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[serde(default = "default_max_audio_duration")]
    pub max_audio_duration: String,
    /// Requests that a pod works on at once.
    #[schemars(with = "i32", range(min = 1, max = 1_024))]
    #[serde(default = "default_max_concurrent")]
    pub max_concurrent: u32,
    /// Requests that a pod lets wait; above it they are refused with RESOURCE_EXHAUSTED.
    #[schemars(with = "i32", range(min = 0, max = 10_000))]
    #[serde(default = "default_queue_limit")]
    pub queue_limit: u32,
}

impl Default for Transcription {
    fn default() -> Self {
        Transcription {
            language: default_language(),
            task: Task::default(),
            chunk_duration: default_chunk_duration(),
            chunk_overlap: default_chunk_overlap(),
            timeout: default_timeout(),
            max_audio_duration: default_max_audio_duration(),
            max_concurrent: default_max_concurrent(),
            queue_limit: default_queue_limit(),
            long_form: None,
            vad: None,
            word_timestamps: None,
            temperatures: Vec::new(),
            beam_size: None,
            best_of: None,
            compression_ratio_threshold: None,
            logprob_threshold: None,
            no_speech_threshold: None,
            initial_prompt: None,
            carry_initial_prompt: None,
            hotwords: None,
            condition_on_previous_text: None,
            chunk_silence: None,
            encoder_tail: None,
            channels: None,
            prepended_punctuation: None,
            appended_punctuation: None,
            hallucination_silence_threshold: None,
            patience: None,
            length_penalty: None,
            seed: None,
            suppress_tokens: None,
            suppress_blank: None,
            max_initial_timestamp: None,
            max_new_tokens: None,
        }
    }
}

fn default_language() -> String {
    "auto".into()
}

fn default_chunk_duration() -> String {
    "30s".into()
}

fn default_chunk_overlap() -> String {
    "1s".into()
}

fn default_timeout() -> String {
    "90s".into()
}

fn default_max_audio_duration() -> String {
    "30m".into()
}

fn default_max_concurrent() -> u32 {
    1
}

fn default_queue_limit() -> u32 {
    16
}

/// What is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// The words in the language that is spoken.
    #[default]
    Transcribe,
    /// The words in English.
    Translate,
}

/// How audio longer than 30 s, the window of Whisper, is gone through. `Chunked` when left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum LongForm {
    /// In chunks that end in pauses, each on its own.
    Chunked,
    /// As openai/whisper does it: each window begins at the last timestamp of the one before, and is told its text.
    Sequential,
}

/// What becomes of several channels. `Mixed` when left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Channels {
    /// They are mixed into one.
    Mixed,
    /// Each is transcribed by itself.
    Separate,
}

/// What counts as speech (Silero VAD).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.enabled || !(has(self.threshold) || has(self.minSpeech) || has(self.minSilence) || has(self.speechPad))").message(
        "transcription.vad.threshold, minSpeech, minSilence and speechPad have no effect with transcription.vad.enabled false"
    ),
    validation = Rule::new("!has(self.threshold) || self.threshold >= 0.01").message(
        "transcription.vad.threshold must be at least 0.01"
    ),
    validation = Rule::new("(!has(self.minSpeech) || duration(self.minSpeech) <= duration('1h')) && (!has(self.minSilence) || duration(self.minSilence) <= duration('1h')) && (!has(self.speechPad) || duration(self.speechPad) <= duration('1h'))").message(
        "transcription.vad.minSpeech, minSilence and speechPad must be at most 1h"
    )
)]
pub struct Vad {
    /// Whether stretches without speech are left out. Without it the model hears everything.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Probability of speech, from 0.01 to 1, at which a stretch of it begins. 0.35 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    // a whole number is held against whole bounds: the rule has the 0.01
    pub threshold: Option<f64>,
    /// The shortest stretch of speech. 100ms when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub min_speech: Option<String>,
    /// The shortest silence that ends a stretch of speech. 160ms when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub min_silence: Option<String>,
    /// What is added to either end of a stretch of speech. 200ms when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub speech_pad: Option<String>,
}

fn yes() -> bool {
    true
}
