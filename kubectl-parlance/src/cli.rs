//! The command line and the environment in; one struct a command out. Parses, and does nothing else but read the file with the API key.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use operator::names::Kind;

use crate::cluster::ClusterArgs;
use crate::error::Error;
use crate::find::Wanted;
use crate::tls::TlsArgs;
use crate::transcribe::{Format, Job};
use crate::{status, top};

/// Environment variable with the API key: a flag would show it to everybody on the machine.
const API_KEY: &str = "PARLANCE_API_KEY";

/// Speech to text on Kubernetes: transcribe files, see how services are, and why one does not work.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-parlance",
    bin_name = "kubectl parlance",
    version,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub struct Cli {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Transcribe audio files with the pods of a service
    Transcribe(Box<TranscribeArgs>),
    /// Show services and models, or one of them on a page
    Status(StatusArgs),
    /// Show what the pods do: load, speed, latency, refusals, memory, GPUs
    Top(TopArgs),
    /// Tell in one paragraph why a service or model does not work; exit code 1 if it does not
    Why(WhyArgs),
    /// What kubectl's completion asks for
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
}

/// The flags of `transcribe`.
#[derive(Debug, Args)]
pub struct TranscribeArgs {
    /// Audio files: WAV, FLAC, MP3, AAC, M4A, Ogg, Opus or WebM
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
    /// How transcripts are written
    #[arg(long, short, value_enum, default_value_t = Format::Txt)]
    format: Format,
    /// Language code such as en, or auto [default: the service's]
    #[arg(long, short, value_name = "CODE")]
    language: Option<String>,
    /// Text that comes before the audio, to set names and style
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Give each word its times; needs --format json
    #[arg(long)]
    words: bool,
    /// Write a file for each transcript into the folder, not all to standard output
    #[arg(long, short, value_name = "DIR", value_hint = ValueHint::DirPath)]
    output: Option<PathBuf>,
    /// File with the API key, its first line [default: the key in PARLANCE_API_KEY, if any]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    api_key_file: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsArgs,
    /// How long to go on when every pod is busy
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration)]
    retry_for: Duration,
    /// Tell nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

/// Whose pods are asked.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// TranscriptionService to ask
    #[arg(long, short, value_name = "NAME")]
    service: Option<String>,
    /// ModelDeployment with spec.serving to ask
    #[arg(long, value_name = "NAME")]
    model_deployment: Option<String>,
}

/// The flags of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// NAME, tsvc/NAME or mdl/NAME [default: all of the namespace]
    name: Option<Wanted>,
    /// Those of all namespaces
    #[arg(long, short = 'A', conflicts_with = "name")]
    all_namespaces: bool,
    /// How it is written
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<Output>,
}

/// How `status` writes for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// As JSON.
    Json,
    /// As YAML.
    Yaml,
}

/// The flags of `top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// NAME, tsvc/NAME or mdl/NAME [default: all of the namespace]
    name: Option<Wanted>,
    /// Those of all namespaces
    #[arg(long, short = 'A', conflicts_with = "name")]
    all_namespaces: bool,
    /// Time over which rates are taken
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    interval: Duration,
    /// Go on until Ctrl-C
    #[arg(long, short)]
    watch: bool,
    #[command(flatten)]
    tls: TlsArgs,
}

/// The flags of `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// NAME, tsvc/NAME or mdl/NAME
    pub name: Wanted,
}

/// What the shell has so far.
#[derive(Debug, Args)]
pub struct CompleteArgs {
    /// The words after `kubectl parlance`, the unfinished one last
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

impl TranscribeArgs {
    /// What to transcribe, and how.
    ///
    /// # Errors
    /// [`Error::File`] when the API key cannot be read, [`Error::Usage`] when the file has none.
    pub fn into_job(self) -> Result<Job, Error> {
        // Without `..`, a flag that is not used does not build.
        let Self {
            files,
            target: TargetArgs {
                service,
                model_deployment,
            },
            format,
            language,
            prompt,
            words,
            output,
            api_key_file,
            tls,
            retry_for,
            quiet,
        } = self;
        let (kind, name) = match (service, model_deployment) {
            (Some(name), _) => (Kind::TranscriptionService, name),
            // That both are missing is ruled out by their group.
            (None, name) => (Kind::ModelDeployment, name.unwrap_or_default()),
        };
        let api_key = match api_key_file {
            Some(path) => Some(key_in(path)?),
            None => std::env::var(API_KEY).ok().filter(|key| !key.is_empty()),
        };
        Ok(Job {
            files,
            wanted: Wanted {
                kind: Some(kind),
                name,
            },
            format,
            language,
            prompt,
            words,
            output,
            api_key,
            tls,
            retry_for,
            quiet,
        })
    }
}

impl StatusArgs {
    /// What to show.
    pub fn into_question(self) -> status::Question {
        let Self {
            name,
            all_namespaces,
            output,
        } = self;
        status::Question {
            name,
            all_namespaces,
            output,
        }
    }
}

impl TopArgs {
    /// What to watch.
    pub fn into_question(self) -> top::Question {
        let Self {
            name,
            all_namespaces,
            interval,
            watch,
            tls,
        } = self;
        top::Question {
            name,
            all_namespaces,
            interval,
            watch,
            tls,
        }
    }
}

/// The first key of a file: a line that is no remark, as the server reads its own.
fn key_in(path: PathBuf) -> Result<String, Error> {
    let text = std::fs::read_to_string(&path).map_err(|source| Error::File {
        doing: "read",
        path: path.clone(),
        source,
    })?;
    let mut lines = text.lines().map(str::trim);
    let key = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    let none = || Error::Usage(format!("{} holds no API key", path.display()));
    key.map(str::to_owned).ok_or_else(none)
}

fn interval(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match duration.as_millis() {
        0..100 => Err("it must be at least 100ms".to_owned()),
        _ => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    fn job(line: &str) -> Result<Job, Error> {
        match parse(line).unwrap().command {
            Command::Transcribe(args) => args.into_job(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_service_or_a_model_is_asked_and_not_both() {
        let asked = job("p transcribe a.wav b.wav -s calls -n speech --format vtt").unwrap();
        assert_eq!(asked.wanted, "tsvc/calls".parse().unwrap());
        assert_eq!((asked.files.len(), asked.format), (2, Format::Vtt));
        let model = job("p transcribe a.wav --model-deployment digits").unwrap();
        assert_eq!(model.wanted, "mdl/digits".parse().unwrap());
        assert!(parse("p transcribe a.wav").is_err());
        assert!(parse("p transcribe a.wav -s a --model-deployment b").is_err());
        assert!(parse("p transcribe -s a").is_err());
    }

    #[test]
    fn flags_of_the_cluster_go_before_and_after_the_command() {
        for line in ["p -n speech --as bob why calls", "p why calls -n speech --as bob"] {
            let cluster = parse(line).unwrap().cluster;
            assert_eq!(cluster.namespace.as_deref(), Some("speech"), "{line}");
            assert_eq!(cluster.act_as.as_deref(), Some("bob"), "{line}");
        }
    }

    #[test]
    fn the_key_is_the_first_line_that_is_no_remark() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "# ours\n\n  secret-1 \nsecret-2").unwrap();
        let line = format!(
            "p transcribe a.wav -s calls --api-key-file {}",
            file.path().display()
        );
        assert_eq!(job(&line).unwrap().api_key.as_deref(), Some("secret-1"));
        let none = job("p transcribe a.wav -s calls --api-key-file /no/such/file").unwrap_err();
        assert!(
            none.to_string().starts_with("failed to read /no/such/file"),
            "{none}"
        );
    }

    #[test]
    fn an_interval_is_long_enough_to_measure() {
        assert!(parse("p top --interval 0s").is_err());
        assert!(parse("p top --interval 500ms").is_ok());
        assert!(parse("p status calls -A").is_err());
    }
}
