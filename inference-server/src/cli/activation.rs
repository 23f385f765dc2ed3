//! The flags of `activate`, in; what the activator is to be out.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::{
    at_least_one, keys, positive_duration,
    process::{AddressArgs, LogArgs},
    tls::TlsArgs,
};
use crate::{activate::Config, run};

/// The flags of `activate`; each can also be given as `PARLANCE_<FLAG>`.
#[derive(Debug, Args)]
#[command(mut_arg("log_format", |arg| arg.help("How log lines look")))]
pub struct ActivateArgs {
    /// DNS name whose addresses are those of the pods; of several, the first that has any counts
    #[arg(
        long,
        env = "PARLANCE_UPSTREAM",
        value_name = "NAME",
        value_delimiter = ',',
        required = true,
        help_heading = "Pods"
    )]
    upstream: Vec<String>,
    /// Port of the pods for gRPC
    #[arg(
        long,
        env = "PARLANCE_UPSTREAM_GRPC_PORT",
        default_value_t = 50051,
        value_name = "PORT"
    )]
    #[arg(help_heading = "Pods")]
    upstream_grpc_port: u16,
    /// Port of the pods for HTTP
    #[arg(
        long,
        env = "PARLANCE_UPSTREAM_HTTP_PORT",
        default_value_t = 8080,
        value_name = "PORT"
    )]
    #[arg(help_heading = "Pods")]
    upstream_http_port: u16,
    /// Name under which the pods serve their model
    #[arg(long, env = "PARLANCE_MODEL_NAME", value_name = "NAME", help_heading = "Pods")]
    model_name: String,
    #[command(flatten)]
    addresses: AddressArgs,
    /// Address of the port for whoever decides on pods: /demand, /health/live, /health/ready, /metrics
    #[arg(
        long,
        env = "PARLANCE_ADMIN_ADDR",
        default_value = "0.0.0.0:8082",
        value_name = "ADDR"
    )]
    admin_addr: SocketAddr,
    #[command(flatten)]
    tls: TlsArgs,
    /// File with the API keys that are let in, one a line; read again when it changes [default: everybody is let in]
    #[arg(
        long,
        env = "PARLANCE_API_KEYS_FILE",
        value_name = "FILE",
        help_heading = "Bounds"
    )]
    api_keys_file: Option<PathBuf>,
    /// Requests that may wait for a pod; more are refused
    #[arg(long, env = "PARLANCE_HOLD_LIMIT", default_value_t = 100, value_name = "N")]
    #[arg(value_parser = at_least_one, help_heading = "Bounds")]
    hold_limit: usize,
    /// The longest that a request waits for a pod
    #[arg(
        long,
        env = "PARLANCE_HOLD_TIMEOUT",
        default_value = "10m",
        value_name = "TIME"
    )]
    #[arg(value_parser = positive_duration, help_heading = "Bounds")]
    hold_timeout: Duration,
    /// On SIGTERM, the longest that what waits and runs may take to end
    #[arg(
        long,
        env = "PARLANCE_DRAIN_TIMEOUT",
        default_value = "95s",
        value_name = "TIME",
        value_parser = positive_duration,
        help_heading = "Bounds"
    )]
    drain_timeout: Duration,
    #[command(flatten)]
    logs: LogArgs,
}

impl ActivateArgs {
    /// What the activator is to be.
    pub fn into_config(self) -> Result<Config, run::Error> {
        let Self {
            upstream,
            upstream_grpc_port,
            upstream_http_port,
            model_name,
            addresses,
            admin_addr,
            tls,
            api_keys_file,
            hold_limit,
            hold_timeout,
            drain_timeout,
            logs,
        } = self;
        let AddressArgs { grpc_addr, http_addr } = addresses;
        let LogArgs {
            log_format,
            log_level,
        } = logs;
        Ok(Config {
            upstream,
            upstream_grpc_port,
            upstream_http_port,
            model_name,
            grpc_addr,
            http_addr,
            admin_addr,
            tls: tls.into_settings(),
            keys: api_keys_file.map(keys).transpose()?,
            hold_limit,
            hold_timeout,
            drain_timeout,
            log_format,
            log_level,
        })
    }
}
