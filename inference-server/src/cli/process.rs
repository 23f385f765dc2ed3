//! The flags of every process that answers requests: where it listens, and how it logs.

use std::net::SocketAddr;

use clap::Args;

use crate::telemetry::LogFormat;

#[derive(Debug, Args)]
pub(super) struct AddressArgs {
    /// Address of the gRPC port
    #[arg(
        long,
        env = "PARLANCE_GRPC_ADDR",
        default_value = "0.0.0.0:50051",
        value_name = "ADDR"
    )]
    pub(super) grpc_addr: SocketAddr,
    /// Address of the HTTP port
    #[arg(
        long,
        env = "PARLANCE_HTTP_ADDR",
        default_value = "0.0.0.0:8080",
        value_name = "ADDR"
    )]
    pub(super) http_addr: SocketAddr,
}

#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// How log lines on standard error look
    #[arg(
        long,
        env = "PARLANCE_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    #[arg(help_heading = "Logs")]
    pub(super) log_format: LogFormat,
    /// A level (error, warn, info, debug, trace) or tracing directives
    #[arg(
        long,
        env = "PARLANCE_LOG_LEVEL",
        default_value = "info",
        value_name = "LEVEL",
        help_heading = "Logs"
    )]
    pub(super) log_level: String,
}
