//! The command line and the environment in; one struct a command out. Parses, and does nothing else.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    bundled, fetch, inspect,
    keys::Keys,
    kind::ModelFormat,
    model::{Choice, Dtype, Precision},
    pipeline::{self, Clip, Options},
    render::Format,
    run, traces, transcribe,
    transcriber::Settings,
};

mod activation;
mod batch;
mod benchmark;
mod evaluation;
mod model;
mod process;
mod s3;
mod source;
mod tls;
mod transcription;

use activation::ActivateArgs;
use batch::BatchArgs;
use benchmark::BenchArgs;
use evaluation::EvaluateArgs;
use model::ModelArgs;
use process::{AddressArgs, LogArgs};
use source::SourceArgs;
use tls::TlsArgs;
use transcription::TranscriptionArgs;

/// Speech to text with an ONNX Whisper: as a server for gRPC and HTTP, or for one file.
#[derive(Debug, Parser)]
#[command(
    name = "parlance-server",
    version,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a model over gRPC and an OpenAI-compatible HTTP API.
    Serve(Box<ServeArgs>),
    /// Hold requests for a service that may have no pods, and hand them to its pods.
    Activate(Box<ActivateArgs>),
    /// Write the transcript of one audio file to standard output.
    Transcribe(Box<TranscribeArgs>),
    /// Transcribe all recordings of a folder or a bucket by a running service: exit code 3 when some cannot be transcribed.
    Batch(Box<BatchArgs>),
    /// Describe a model directory: architecture, languages, files, digest.
    Inspect(InspectArgs),
    /// Copy or download a model to a volume, or verify it in place.
    Fetch(Box<FetchArgs>),
    /// Try a model on recordings whose words are known, and tell its word error rate: exit code 3 when it is too high.
    Evaluate(Box<EvaluateArgs>),
    /// Measure how fast a model is on this machine, with so many tokens a window whatever it says.
    Bench(BenchArgs),
}

/// The flags of `serve`; each can also be given as `PARLANCE_<FLAG>`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// What the model is: a Whisper (speech), or any other ONNX graph (tensors, by the Open Inference Protocol)
    #[arg(
        long,
        env = "PARLANCE_MODEL_FORMAT",
        default_value = "whisper",
        value_name = "FORMAT"
    )]
    #[arg(help_heading = "Model")]
    format: ModelFormat,
    #[command(flatten)]
    model: ModelArgs,
    /// Name under which the model is served [default: the directory's name]
    #[arg(
        long,
        env = "PARLANCE_MODEL_NAME",
        value_name = "NAME",
        help_heading = "Model"
    )]
    model_name: Option<String>,
    /// Digest that the model must have; another one is refused
    #[arg(
        long,
        env = "PARLANCE_DIGEST",
        value_name = "sha256:HEX",
        help_heading = "Model"
    )]
    digest: Option<String>,
    #[command(flatten)]
    addresses: AddressArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    transcription: TranscriptionArgs,
    /// The longest that a request may take; a stream: that it may pause, and take beyond the longest audio
    #[arg(long, env = "PARLANCE_TIMEOUT", default_value = "90s", value_name = "TIME")]
    #[arg(value_parser = positive_duration, help_heading = "Bounds")]
    timeout: Duration,
    /// The longest audio that a request may bring
    #[arg(
        long,
        env = "PARLANCE_MAX_AUDIO_DURATION",
        default_value = "30m",
        value_name = "TIME"
    )]
    #[arg(value_parser = positive_duration, help_heading = "Bounds")]
    max_audio_duration: Duration,
    /// The largest gRPC message or HTTP upload, in bytes
    #[arg(long, env = "PARLANCE_MAX_MESSAGE_SIZE", default_value_t = 64 << 20, value_name = "BYTES")]
    #[arg(help_heading = "Bounds")]
    max_message_size: usize,
    /// File with the API keys that are let in, one a line; read again when it changes [default: everybody is let in]
    #[arg(
        long,
        env = "PARLANCE_API_KEYS_FILE",
        value_name = "FILE",
        help_heading = "Bounds"
    )]
    api_keys_file: Option<PathBuf>,
    /// Requests that run at a time
    #[arg(long, env = "PARLANCE_MAX_CONCURRENT", default_value_t = 1, value_name = "N")]
    #[arg(value_parser = at_least_one, help_heading = "Bounds")]
    max_concurrent: usize,
    /// Requests that may wait for one that runs; more are refused
    #[arg(
        long,
        env = "PARLANCE_QUEUE_LIMIT",
        default_value_t = 16,
        value_name = "N",
        help_heading = "Bounds"
    )]
    queue_limit: usize,
    /// After SIGTERM, the longest time for what runs to finish
    #[arg(
        long,
        env = "PARLANCE_DRAIN_TIMEOUT",
        default_value = "25s",
        value_name = "TIME"
    )]
    #[arg(value_parser = humantime::parse_duration, help_heading = "Bounds")]
    drain_timeout: Duration,
    #[command(flatten)]
    logs: LogArgs,
    /// Where traces are sent by OTLP over gRPC, such as http://collector:4317 [default: OTEL_EXPORTER_OTLP_ENDPOINT's; none]
    #[arg(
        long,
        env = "PARLANCE_OTLP_ENDPOINT",
        value_name = "URL",
        help_heading = "Logs"
    )]
    otlp_endpoint: Option<String>,
}

/// The flags of `transcribe`.
#[derive(Debug, Args)]
pub struct TranscribeArgs {
    /// An audio file: WAV, FLAC, MP3, AAC, M4A, Ogg, Opus or WebM
    file: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    transcription: TranscriptionArgs,
    /// Parts of the audio to transcribe, in seconds: start,end,start,end,... [default: all of it]
    #[arg(long, env = "PARLANCE_CLIP_TIMESTAMPS", value_name = "LIST", value_parser = clip_timestamps)]
    clip_timestamps: Option<Clips>,
    /// How the transcript is written: text, json, srt or vtt
    #[arg(long, env = "PARLANCE_FORMAT", default_value = "text")]
    format: Format,
}

/// The flags of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Directory of the model
    model_dir: PathBuf,
    /// Precision of the graphs to load: fp32, fp16, int8, q8 or uint8 [default: the first of them that is there]
    #[arg(long, env = "PARLANCE_DTYPE", value_name = "DTYPE")]
    dtype: Option<Dtype>,
    /// How it is written
    #[arg(long, env = "PARLANCE_FORMAT", default_value = "text")]
    format: Described,
}

/// How `inspect` writes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Described {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// The flags of `fetch`.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// What the model is: a Whisper, or any other ONNX graph
    #[arg(
        long,
        env = "PARLANCE_MODEL_FORMAT",
        default_value = "whisper",
        value_name = "FORMAT"
    )]
    format: ModelFormat,
    #[command(flatten)]
    source: SourceArgs,
    /// Directory that the model is brought to; without it, --from is verified in place
    #[arg(
        long,
        env = "PARLANCE_TO",
        value_name = "DIR",
        required_unless_present = "from"
    )]
    to: Option<PathBuf>,
    /// Folder beside --to that holds a model which is still served; once for each. Other models beside it are removed first
    #[arg(long, value_name = "NAME", requires = "to")]
    keep: Vec<String>,
    /// Digest that the model must have
    #[arg(long, env = "PARLANCE_DIGEST", value_name = "sha256:HEX")]
    digest: Option<String>,
    /// Also write a Whisper's weights as `serve --precision` of this machine has them in memory, into a hidden file beside the model: auto
    /// (which is measured first), f32, bf16, int8-bf16 or int8. A server that finds it starts at once
    #[arg(long, env = "PARLANCE_PREPACK", value_name = "PRECISION")]
    prepack: Option<Precision>,
    /// Address at which a download says how far it is, as JSON at /progress
    #[arg(long, env = "PARLANCE_PROGRESS_ADDR", value_name = "ADDR")]
    progress_addr: Option<SocketAddr>,
    /// File that the outcome is written to, as JSON
    #[arg(long, env = "PARLANCE_REPORT", value_name = "FILE")]
    report: Option<PathBuf>,
}

impl ServeArgs {
    /// What the server is to be; fails when it is to serve a bundled model and there is none.
    pub fn into_config(self) -> Result<run::Config, run::Error> {
        // Without `..`, a flag that is not used does not build.
        let Self {
            format,
            model,
            model_name,
            digest,
            addresses,
            tls,
            transcription,
            timeout,
            max_audio_duration,
            max_message_size,
            api_keys_file,
            max_concurrent,
            queue_limit,
            drain_timeout,
            logs,
            otlp_endpoint,
        } = self;
        let Choice {
            dir,
            dtype,
            device,
            precision,
            threads,
        } = model.into_choice();
        let AddressArgs { grpc_addr, http_addr } = addresses;
        let LogArgs {
            log_format,
            log_level,
        } = logs;
        Ok(run::Config {
            model: match (dir, format) {
                (Some(dir), _) => dir,
                (None, ModelFormat::Whisper) => bundled::find(bundled::DEFAULT)?,
                (None, ModelFormat::Onnx) => return Err(run::Error::NoModel),
            },
            format,
            model_name,
            digest,
            dtype,
            device,
            precision,
            threads,
            grpc_addr,
            http_addr,
            tls: tls.into_settings(),
            otlp_endpoint: otlp_endpoint.or_else(traces::endpoint_of_environment),
            settings: Settings {
                options: transcription.into_options(),
                timeout,
                max_audio_duration,
                max_message_size,
                keys: api_keys_file.map(keys).transpose()?,
            },
            max_concurrent,
            queue_limit,
            drain_timeout,
            log_format,
            log_level,
        })
    }
}

impl TranscribeArgs {
    /// What to transcribe.
    pub fn into_request(self) -> transcribe::Request {
        let Self {
            file,
            model,
            transcription,
            clip_timestamps,
            format,
        } = self;
        transcribe::Request {
            file,
            model: model.into_choice(),
            options: Options {
                clips: clip_timestamps.unwrap_or_default().0,
                ..transcription.into_options()
            },
            format,
        }
    }
}

impl InspectArgs {
    /// What to describe, and how.
    pub fn into_request(self) -> (PathBuf, Option<Dtype>, inspect::InspectFormat) {
        let Self {
            model_dir,
            dtype,
            format,
        } = self;
        let format = match format {
            Described::Text => inspect::InspectFormat::Text,
            Described::Json => inspect::InspectFormat::Json,
        };
        (model_dir, dtype, format)
    }
}

impl FetchArgs {
    /// What to fetch.
    pub fn into_request(self) -> fetch::Request {
        let Self {
            format,
            source,
            to,
            keep,
            digest,
            prepack,
            progress_addr,
            report,
        } = self;
        fetch::Request {
            source: source.into_source(),
            format,
            to,
            keep,
            digest,
            prepack,
            report,
            patience: fetch::Patience::default(),
            progress: progress_addr,
        }
    }
}

fn keys(path: PathBuf) -> Result<Arc<Keys>, run::Error> {
    match Keys::open(&path) {
        Ok(keys) => Ok(Arc::new(keys)),
        Err(source) => Err(run::Error::Keys { path, source }),
    }
}

/// One value of a flag, and not one value a clip.
#[derive(Clone, Debug, Default)]
struct Clips(Vec<Clip>);

fn clip_timestamps(text: &str) -> Result<Clips, String> {
    pipeline::clips(text).map(Clips)
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() {
        Err("it must be longer than nothing".to_owned())
    } else {
        Ok(duration)
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|error| format!("{error}"))?;
    if number == 0 {
        Err("it must be at least 1".to_owned())
    } else {
        Ok(number)
    }
}

#[cfg(test)]
mod tests;
