//! The flags of `batch`. Parses, and does nothing else.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use reqwest::Url;

use super::{at_least_one, positive_duration, process::LogArgs, s3::S3Args};
use crate::{
    audio::Channels,
    batch::{self, Address, Asked, EXTENSIONS, Place, Request, Server, Shard},
    fetch::{Secret, address},
    pipeline::Task,
    render::Format,
    telemetry::LogFormat,
};

/// The flags of `batch`; each can also be given as `PARLANCE_<FLAG>`.
#[derive(Debug, Args)]
pub struct BatchArgs {
    /// Folder of the recordings, or s3://BUCKET/PREFIX; what lies deeper is taken too
    #[arg(long, env = "PARLANCE_FROM", value_name = "PLACE")]
    from: Place,
    /// Folder of the transcripts, or s3://BUCKET/PREFIX; a/b.wav becomes a/b.wav.txt there
    #[arg(long, env = "PARLANCE_TO", value_name = "PLACE")]
    to: Place,
    /// Shapes of the transcripts: txt, srt, vtt, json
    #[arg(long, env = "PARLANCE_FORMAT", default_value = "txt", value_name = "LIST")]
    #[arg(value_delimiter = ',', value_parser = format)]
    format: Vec<Format>,
    /// What recordings end in, in small letters or capitals
    #[arg(long, env = "PARLANCE_EXTENSIONS", default_values_t = EXTENSIONS.map(str::to_owned), value_name = "LIST")]
    #[arg(value_delimiter = ',', value_parser = batch::taken_extension, hide_default_value = true)]
    extensions: Vec<String>,
    /// Recordings that are under way at a time
    #[arg(long, env = "PARLANCE_PARALLEL", default_value_t = 4, value_name = "N", value_parser = at_least_one)]
    parallel: usize,
    /// How many runs share the recordings: the completions of an Indexed Job
    #[arg(long, env = "PARLANCE_SHARDS", default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    shards: u64,
    /// Which of them this is, from 0
    #[arg(long, env = "JOB_COMPLETION_INDEX", default_value_t = 0, value_name = "N")]
    shard: u64,
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    transcription: AskedArgs,
    #[command(flatten)]
    s3: S3Args,
    /// After SIGTERM, the longest time for what is under way to finish
    #[arg(
        long,
        env = "PARLANCE_DRAIN_TIMEOUT",
        default_value = "25s",
        value_name = "TIME"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    drain_timeout: Duration,
    #[command(flatten)]
    logs: LogArgs,
}

/// Who transcribes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Service")]
struct ServiceArgs {
    /// Address of the service's gRPC port, such as http://quickstart.speech.svc:50051, or https://
    #[arg(long, env = "PARLANCE_SERVICE", value_name = "URL", value_parser = address)]
    service: Url,
    /// File with the API key, its first line that is no remark [default: the key in PARLANCE_API_KEY, if any]
    #[arg(long, env = "PARLANCE_API_KEY_FILE", value_name = "FILE", value_parser = key_of)]
    api_key_file: Option<Secret>,
    /// The key itself: by the environment alone, where no list of processes shows it
    #[arg(long, env = "PARLANCE_API_KEY", hide = true, hide_env_values = true)]
    api_key: Option<Secret>,
    /// Authority of the service's certificate, as PEM [default: those of the system]
    #[arg(long, env = "PARLANCE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Certificate to show, as PEM, to a service that lets in only clients with one
    #[arg(
        long,
        env = "PARLANCE_CLIENT_CERT_FILE",
        value_name = "FILE",
        requires = "client_key_file"
    )]
    client_cert_file: Option<PathBuf>,
    /// Its key
    #[arg(
        long,
        env = "PARLANCE_CLIENT_KEY_FILE",
        value_name = "FILE",
        requires = "client_cert_file"
    )]
    client_key_file: Option<PathBuf>,
    /// How long to go on when the service hears nothing, because it is busy or not there
    #[arg(long, env = "PARLANCE_RETRY_FOR", default_value = "30m", value_name = "TIME")]
    #[arg(value_parser = positive_duration)]
    retry_for: Duration,
    /// The largest recording that is sent, in bytes: as much as the service takes
    #[arg(long, env = "PARLANCE_MAX_MESSAGE_SIZE", default_value_t = 64 << 20, value_name = "BYTES")]
    max_message_size: u64,
}

/// How to transcribe; where a flag is not given, as the service does by itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "Transcription")]
struct AskedArgs {
    /// Language that is spoken, as a code such as en, or auto to detect it
    #[arg(long, env = "PARLANCE_LANGUAGE")]
    language: Option<String>,
    /// What to write: transcribe (in the language spoken) or translate (into English)
    #[arg(long, env = "PARLANCE_TASK")]
    task: Option<Task>,
    /// Whether each word gets its times; needs --format json
    #[arg(long, env = "PARLANCE_WORD_TIMESTAMPS", value_name = "BOOL")]
    #[arg(num_args = 0..=1, default_missing_value = "true")]
    word_timestamps: Option<bool>,
    /// Text that comes before the audio, to set names and style
    #[arg(long, env = "PARLANCE_INITIAL_PROMPT", value_name = "TEXT")]
    initial_prompt: Option<String>,
    /// Words to expect
    #[arg(long, env = "PARLANCE_HOTWORDS", value_name = "TEXT")]
    hotwords: Option<String>,
    /// Whether channels are mixed, or each is transcribed by itself: mixed or separate
    #[arg(long, env = "PARLANCE_CHANNELS")]
    channels: Option<Channels>,
}

impl BatchArgs {
    /// What to do, and how to log.
    pub fn into_request(self) -> (Request, LogFormat, String) {
        let Self {
            from,
            to,
            format,
            extensions,
            parallel,
            shards,
            shard,
            service,
            transcription,
            s3: S3Args {
                s3_endpoint,
                s3_region,
            },
            drain_timeout,
            logs: LogArgs {
                log_format,
                log_level,
            },
        } = self;
        let ServiceArgs {
            service: url,
            api_key_file,
            api_key,
            ca_file,
            client_cert_file,
            client_key_file,
            retry_for,
            max_message_size,
        } = service;
        let request = Request {
            from,
            to,
            server: Server {
                endpoint: s3_endpoint,
                region: s3_region,
            },
            address: Address {
                url,
                key: api_key_file.or(api_key).filter(|key| !key.is_empty()),
                ca: ca_file,
                // Neither comes without the other: clap sees to it.
                identity: client_cert_file.zip(client_key_file),
            },
            asked: transcription.into_asked(),
            formats: batch::once(format),
            extensions,
            shard: Shard {
                index: shard,
                count: shards,
            },
            parallel,
            max_message_size,
            retry_for,
            drain_timeout,
        };
        (request, log_format, log_level)
    }
}

impl AskedArgs {
    fn into_asked(self) -> Asked {
        let Self {
            language,
            task,
            word_timestamps,
            initial_prompt,
            hotwords,
            channels,
        } = self;
        Asked {
            language,
            task,
            word_timestamps,
            initial_prompt,
            hotwords,
            channels,
        }
    }
}

/// By the extensions that the transcripts get.
fn format(text: &str) -> Result<Format, String> {
    match text.trim() {
        "txt" => Ok(Format::Text),
        "json" | "srt" | "vtt" => text.trim().parse(),
        other => Err(format!("unknown format \"{other}\": txt, srt, vtt or json")),
    }
}

/// As in the file that a server reads: one key a line, `#` for remarks.
fn key_of(file: &str) -> Result<Secret, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("it cannot be read: {error}"))?;
    let mut lines = text.lines().map(str::trim);
    let key = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    key.map(|key| Secret::from(key.to_owned()))
        .ok_or_else(|| "it holds no API key".to_owned())
}
