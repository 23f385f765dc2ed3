//! The flags that say where a model comes from. Parses, and does nothing else.

use std::path::PathBuf;

use clap::Args;
use reqwest::Url;

use super::s3::S3Args;
use crate::{
    fetch::{HUB, Prefix, Remote, Repository, Secret, Source, address},
    model::Dtype,
    s3::Bucket,
};

/// Where the model comes from.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    #[command(flatten)]
    which: Which,
    /// Branch, tag or commit of the repository
    #[arg(
        long,
        env = "PARLANCE_REVISION",
        default_value = "main",
        value_name = "REVISION"
    )]
    #[arg(help_heading = "Hugging Face")]
    revision: String,
    /// The hub, or a mirror of it
    #[arg(long, env = "PARLANCE_HUB", default_value = HUB, value_name = "URL", value_parser = address)]
    #[arg(help_heading = "Hugging Face")]
    hub: Url,
    /// File with the token that opens the repository
    #[arg(
        long,
        env = "PARLANCE_HUB_TOKEN_FILE",
        value_name = "FILE",
        value_parser = secret_of,
        help_heading = "Hugging Face"
    )]
    hub_token_file: Option<Secret>,
    /// The token itself: by the environment alone, where no list of processes shows it
    #[arg(long, env = "HF_TOKEN", hide = true, hide_env_values = true)]
    hub_token: Option<Secret>,
    #[command(flatten)]
    s3: S3Args,
    /// Which precision of several, from the hub or a bucket: fp32, fp16, int8, q8 or uint8 [default: the hub's first of
    /// them, all of a bucket]
    #[arg(long, env = "PARLANCE_VARIANT", value_name = "DTYPE")]
    variant: Option<Dtype>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// A model that comes with the server, such as whisper-nano-digits
    #[arg(long, env = "PARLANCE_BUNDLED", value_name = "NAME")]
    bundled: Option<String>,
    /// A directory
    #[arg(long, env = "PARLANCE_FROM", value_name = "DIR")]
    from: Option<PathBuf>,
    /// A repository of Hugging Face's hub, such as onnx-community/whisper-base
    #[arg(long, env = "PARLANCE_HUGGING_FACE", value_name = "OWNER/NAME", value_parser = repository)]
    hugging_face: Option<String>,
    /// A file of the model by its URL; once for each: path=PATH[,sha256=HEX],url=URL
    #[arg(long, value_name = "FILE")]
    http_file: Vec<String>,
    /// A folder of a bucket: BUCKET/PREFIX
    #[arg(long, env = "PARLANCE_S3", value_name = "BUCKET/PREFIX", value_parser = Bucket::split)]
    s3: Option<(String, String)>,
}

impl SourceArgs {
    /// The source.
    pub(super) fn into_source(self) -> Source {
        let Self {
            which:
                Which {
                    bundled,
                    from,
                    hugging_face,
                    http_file,
                    s3: folder,
                },
            revision,
            hub,
            hub_token_file,
            hub_token,
            s3: S3Args {
                s3_endpoint,
                s3_region,
            },
            variant,
        } = self;
        if let Some(name) = bundled {
            return Source::Bundled(name);
        }
        if let Some(repo) = hugging_face {
            return Source::Remote(Remote::HuggingFace(Repository {
                repo,
                revision,
                variant,
                endpoint: hub,
                token: hub_token_file.or(hub_token).filter(|token| !token.is_empty()),
            }));
        }
        if let Some((bucket, prefix)) = folder {
            return Source::Remote(Remote::S3(Prefix {
                bucket,
                prefix,
                endpoint: s3_endpoint,
                region: s3_region,
                variant,
            }));
        }
        if !http_file.is_empty() {
            return Source::Remote(Remote::Http(http_file));
        }
        // That all are missing is ruled out by their group.
        Source::Directory(from.unwrap_or_default())
    }
}

fn repository(text: &str) -> Result<String, String> {
    let plain = |part: &str| {
        let letters = part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        !part.is_empty() && letters && part != "." && part != ".."
    };
    if text.split('/').count() <= 2 && text.split('/').all(plain) {
        Ok(text.to_owned())
    } else {
        Err("write OWNER/NAME".to_owned())
    }
}

fn secret_of(file: &str) -> Result<Secret, String> {
    let read = std::fs::read_to_string(file);
    read.map(Secret::from)
        .map_err(|error| format!("it cannot be read: {error}"))
}
