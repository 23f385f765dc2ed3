//! The flags that say how to transcribe in; [`Options`] out. Shared by `serve`, whose requests may say otherwise, and
//! `transcribe`.

use std::time::Duration;

use clap::{ArgAction, Args};

use crate::{
    audio::Channels,
    pipeline::{Context, Decoding, Language, LongForm, Options, Punctuation, Task},
    vad,
};

/// How to transcribe.
#[derive(Debug, Args)]
#[command(next_help_heading = "Transcription")]
pub(super) struct TranscriptionArgs {
    /// Language that is spoken, as a code such as en, or auto to detect it
    #[arg(long, env = "PARLANCE_LANGUAGE", default_value = "auto")]
    language: Language,
    /// What to write: transcribe (in the language spoken) or translate (into English)
    #[arg(long, env = "PARLANCE_TASK", default_value = "transcribe")]
    task: Task,
    /// How long audio is gone through: chunked (cut in pauses) or sequential (as openai/whisper does it)
    #[arg(
        long,
        env = "PARLANCE_LONG_FORM",
        default_value = "chunked",
        value_name = "FORM"
    )]
    long_form: LongForm,
    /// Length of the chunks in which long audio is transcribed, at most 30s
    #[arg(
        long,
        env = "PARLANCE_CHUNK_DURATION",
        default_value = "30s",
        value_name = "TIME"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    chunk_duration: Duration,
    /// How far a chunk reaches back into the one before it where there is no pause to cut in
    #[arg(
        long,
        env = "PARLANCE_CHUNK_OVERLAP",
        default_value = "1s",
        value_name = "TIME"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    chunk_overlap: Duration,
    /// A silence of so long ends a chunk too, 500ms to 30s; needs --vad [default: only a full chunk ends]
    #[arg(long, env = "PARLANCE_CHUNK_SILENCE", value_name = "TIME")]
    #[arg(value_parser = humantime::parse_duration)]
    chunk_silence: Option<Duration>,
    /// So much silence after its audio is a part of a window that is not full, instead of all that it has room for: short clips take less
    /// time; try whether the model says the same
    #[arg(long, env = "PARLANCE_ENCODER_TAIL", value_name = "TIME")]
    #[arg(value_parser = humantime::parse_duration)]
    encoder_tail: Option<Duration>,
    /// Whether channels are mixed, or each is transcribed by itself: mixed or separate
    #[arg(
        long,
        env = "PARLANCE_CHANNELS",
        default_value = "mixed",
        value_name = "CHANNELS"
    )]
    channels: Channels,
    /// Whether stretches without speech are left out before the model hears them (Silero VAD)
    #[arg(long, env = "PARLANCE_VAD", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    vad: bool,
    /// Probability of speech, 0 to 1, at which a stretch of it begins
    #[arg(
        long,
        env = "PARLANCE_VAD_THRESHOLD",
        default_value_t = 0.35,
        value_name = "PROBABILITY"
    )]
    vad_threshold: f64,
    /// The shortest stretch of speech
    #[arg(
        long,
        env = "PARLANCE_VAD_MIN_SPEECH",
        default_value = "100ms",
        value_name = "TIME"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    vad_min_speech: Duration,
    /// The shortest silence that ends a stretch of speech
    #[arg(
        long,
        env = "PARLANCE_VAD_MIN_SILENCE",
        default_value = "160ms",
        value_name = "TIME"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    vad_min_silence: Duration,
    /// What is added to either end of a stretch of speech
    #[arg(
        long,
        env = "PARLANCE_VAD_SPEECH_PAD",
        default_value = "200ms",
        value_name = "TIME"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    vad_speech_pad: Duration,
    /// Whether each word gets its times
    #[arg(long, env = "PARLANCE_WORD_TIMESTAMPS", default_value_t = false, action = ArgAction::Set, value_name = "BOOL")]
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    word_timestamps: bool,
    /// Marks that belong to the word after them [default: "'“¿([{-]
    #[arg(
        long,
        env = "PARLANCE_PREPENDED_PUNCTUATION",
        value_name = "MARKS",
        allow_hyphen_values = true
    )]
    prepended_punctuation: Option<String>,
    /// Marks that belong to the word before them [default: "'.。,，!！?？:：”)]}、]
    #[arg(
        long,
        env = "PARLANCE_APPENDED_PUNCTUATION",
        value_name = "MARKS",
        allow_hyphen_values = true
    )]
    appended_punctuation: Option<String>,
    /// A silence longer than this is passed over together with words after or within it that seem invented (sequential)
    #[arg(long, env = "PARLANCE_HALLUCINATION_SILENCE_THRESHOLD", value_name = "TIME")]
    #[arg(value_parser = humantime::parse_duration)]
    hallucination_silence_threshold: Option<Duration>,
    #[command(flatten)]
    decoding: DecodingArgs,
    /// Text that comes before the audio, to set names and style
    #[arg(long, env = "PARLANCE_INITIAL_PROMPT", value_name = "TEXT")]
    initial_prompt: Option<String>,
    /// Whether every window gets the initial prompt, and not only the first (sequential; chunks always do)
    #[arg(long, env = "PARLANCE_CARRY_INITIAL_PROMPT", default_value_t = false, action = ArgAction::Set, value_name = "BOOL")]
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    carry_initial_prompt: bool,
    /// Words to expect
    #[arg(long, env = "PARLANCE_HOTWORDS", value_name = "TEXT")]
    hotwords: Option<String>,
    /// Whether a window is told the text before it (sequential)
    #[arg(long, env = "PARLANCE_CONDITION_ON_PREVIOUS_TEXT", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    condition_on_previous_text: bool,
}

/// How tokens are searched for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Decoding")]
struct DecodingArgs {
    /// Temperatures, tried one after another until a window's text is good enough
    #[arg(
        long,
        env = "PARLANCE_TEMPERATURES",
        default_value = "0,0.2,0.4,0.6,0.8,1",
        value_name = "LIST"
    )]
    #[arg(value_delimiter = ',')]
    temperatures: Vec<f32>,
    /// Beams at temperature 0; 1 is greedy decoding
    #[arg(long, env = "PARLANCE_BEAM_SIZE", default_value_t = 1, value_name = "N")]
    beam_size: usize,
    /// A beam search goes on until beam-size times this many sequences have ended
    #[arg(long, env = "PARLANCE_PATIENCE", default_value_t = 1.0, value_name = "FACTOR")]
    patience: f32,
    /// Sequences that are drawn at a temperature above 0; the likeliest is taken
    #[arg(long, env = "PARLANCE_BEST_OF", default_value_t = 1, value_name = "N")]
    best_of: usize,
    /// Exponent of the length by which sequences are compared [default: their mean log-probability]
    #[arg(long, env = "PARLANCE_LENGTH_PENALTY", value_name = "EXPONENT")]
    length_penalty: Option<f32>,
    /// Text that compresses better than this repeats itself and is decoded again
    #[arg(
        long,
        env = "PARLANCE_COMPRESSION_RATIO_THRESHOLD",
        default_value_t = 2.4,
        value_name = "RATIO"
    )]
    compression_ratio_threshold: f32,
    /// Text with a mean log-probability below this is decoded again
    #[arg(long, env = "PARLANCE_LOGPROB_THRESHOLD", default_value_t = -1.0, value_name = "LOGPROB")]
    #[arg(allow_negative_numbers = true)]
    logprob_threshold: f32,
    /// A window with a no-speech probability above this, and unlikely text, holds no speech
    #[arg(
        long,
        env = "PARLANCE_NO_SPEECH_THRESHOLD",
        default_value_t = 0.6,
        value_name = "PROBABILITY"
    )]
    no_speech_threshold: f32,
    /// Where drawing at temperatures above 0 begins; the same seed gives the same transcript
    #[arg(long, env = "PARLANCE_SEED", default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Tokens that are never said beside the special ones, -1 for those that the model names; an empty list for none
    #[arg(
        long,
        env = "PARLANCE_SUPPRESS_TOKENS",
        default_value = "-1",
        value_name = "LIST"
    )]
    #[arg(value_parser = tokens, allow_hyphen_values = true)]
    suppress_tokens: Tokens,
    /// Whether a window may not begin with a blank or be empty
    #[arg(long, env = "PARLANCE_SUPPRESS_BLANK", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    suppress_blank: bool,
    /// The latest time in a window at which its first words may begin [default: the model's own]
    #[arg(long, env = "PARLANCE_MAX_INITIAL_TIMESTAMP", value_name = "TIME")]
    #[arg(value_parser = humantime::parse_duration)]
    max_initial_timestamp: Option<Duration>,
    /// Most tokens of a window [default: half of what the decoder can hold]
    #[arg(long, env = "PARLANCE_MAX_NEW_TOKENS", value_name = "N")]
    max_new_tokens: Option<usize>,
}

/// One value of a flag, and not one value a token, so that a list can be empty.
#[derive(Clone, Debug)]
struct Tokens(Vec<i64>);

fn tokens(text: &str) -> Result<Tokens, std::num::ParseIntError> {
    let named = text.split(',').map(str::trim).filter(|token| !token.is_empty());
    named.map(str::parse).collect::<Result<_, _>>().map(Tokens)
}

impl TranscriptionArgs {
    /// Every flag has its place in the options.
    pub(super) fn into_options(self) -> Options {
        let Self {
            language,
            task,
            long_form,
            chunk_duration,
            chunk_overlap,
            chunk_silence,
            encoder_tail,
            channels,
            vad,
            vad_threshold,
            vad_min_speech,
            vad_min_silence,
            vad_speech_pad,
            word_timestamps,
            prepended_punctuation,
            appended_punctuation,
            hallucination_silence_threshold,
            decoding,
            initial_prompt,
            carry_initial_prompt,
            hotwords,
            condition_on_previous_text,
        } = self;
        let usual = Punctuation::default();
        let speech = vad::Settings {
            threshold: vad_threshold,
            min_speech: vad_min_speech,
            min_silence: vad_min_silence,
            speech_pad: vad_speech_pad,
            ..vad::Settings::default()
        };
        Options {
            language,
            task,
            long_form,
            chunk_duration,
            chunk_overlap,
            chunk_silence,
            encoder_tail,
            channels,
            vad: vad.then_some(speech),
            clips: Vec::new(),
            word_timestamps,
            punctuation: Punctuation {
                prepended: prepended_punctuation.unwrap_or(usual.prepended),
                appended: appended_punctuation.unwrap_or(usual.appended),
            },
            hallucination_silence_threshold,
            decoding: decoding.into_decoding(),
            context: Context {
                initial_prompt,
                carry_initial_prompt,
                hotwords,
                condition_on_previous_text,
            },
        }
    }
}

impl DecodingArgs {
    fn into_decoding(self) -> Decoding {
        let Self {
            temperatures,
            beam_size,
            patience,
            best_of,
            length_penalty,
            compression_ratio_threshold,
            logprob_threshold,
            no_speech_threshold,
            seed,
            suppress_tokens,
            suppress_blank,
            max_initial_timestamp,
            max_new_tokens,
        } = self;
        Decoding {
            temperatures,
            beam_size,
            patience,
            best_of,
            length_penalty,
            compression_ratio_threshold: Some(compression_ratio_threshold),
            logprob_threshold: Some(logprob_threshold),
            no_speech_threshold: Some(no_speech_threshold),
            seed,
            suppress_tokens: suppress_tokens.0,
            suppress_blank,
            max_initial_timestamp,
            max_new_tokens,
            min_new_tokens: 0,
        }
    }
}
