//! The flags that say where buckets are. Parses, and does nothing else.

use clap::Args;
use reqwest::Url;

use crate::fetch::address;

#[derive(Debug, Args)]
#[command(next_help_heading = "S3")]
pub(super) struct S3Args {
    /// Another server than Amazon's; its keys come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...)
    #[arg(long, env = "PARLANCE_S3_ENDPOINT", value_name = "URL", value_parser = address)]
    pub(super) s3_endpoint: Option<Url>,
    /// Region of the bucket [default: the environment's AWS_REGION, or us-east-1]
    #[arg(long, env = "PARLANCE_S3_REGION", value_name = "REGION")]
    pub(super) s3_region: Option<String>,
}
