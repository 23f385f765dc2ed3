//! The command line.
//!
//! In: flags and environment variables. Out: [`Config`]. It starts nothing.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

use crate::context::MAX_DEPLOYED;
use crate::workload::settings::ServerImages;

/// Turns TranscriptionService and ModelDeployment objects into running speech-to-text.
#[derive(Clone, Debug, Parser)]
#[command(name = "parlance-operator", version, about)]
pub struct Args {
    /// Image of the server, for objects that name none
    #[arg(long, env = "PARLANCE_SERVER_IMAGE")]
    pub server_image: String,

    /// Image of the server, for objects that name none and have `gpu`; that of all others when left out
    #[arg(long, env = "PARLANCE_GPU_SERVER_IMAGE")]
    pub gpu_server_image: Option<String>,

    /// Give pods that serve this image at once; otherwise they keep theirs until their spec changes or they cease to serve
    #[arg(long, env = "PARLANCE_UPDATE_RUNNING_SERVERS")]
    pub update_running_servers: bool,

    /// Namespaces to look after, separated by commas; all when left out
    #[arg(long, env = "PARLANCE_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// Take turns by a Lease, so that only one of several replicas works
    #[arg(long, env = "PARLANCE_LEADER_ELECTION", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub leader_election: bool,

    /// Name of the Lease
    #[arg(long, env = "PARLANCE_LEASE_NAME", default_value = "parlance-operator")]
    pub lease_name: String,

    /// Namespace of the Lease; the operator's own when left out
    #[arg(long, env = "PARLANCE_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// Name of this process in the Lease and in Events; the pod's name, as the environment has it, when left out
    #[arg(long, env = "PARLANCE_IDENTITY")]
    pub identity: Option<String>,

    /// Address of /healthz, /readyz and /metrics
    #[arg(long, env = "PARLANCE_HTTP_ADDR", default_value = "0.0.0.0:8080")]
    pub http_addr: SocketAddr,

    /// Objects that are reconciled at the same time
    #[arg(long, env = "PARLANCE_MAX_CONCURRENT_RECONCILES", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_concurrent_reconciles: u16,

    /// ModelDeployments of a namespace that are served at the same time; others wait
    #[arg(long, env = "PARLANCE_MAX_DEPLOYED", default_value_t = MAX_DEPLOYED)]
    pub max_deployed: usize,

    /// Form of the logs
    #[arg(long, env = "PARLANCE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// How much is logged: a level, or tracing directives such as operator=debug,kube=info
    #[arg(long, env = "PARLANCE_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Form of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the operator is told to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Images of the server, for objects that name none.
    pub server_images: ServerImages,
    /// Whether pods that serve get that image at once.
    pub update_running_servers: bool,
    /// Namespaces to look after; all when empty.
    pub namespaces: Vec<String>,
    /// The Lease to hold while working, if any.
    pub lease: Option<LeaseConfig>,
    /// Name of this process.
    pub identity: String,
    /// Address of health and metrics.
    pub http_addr: SocketAddr,
    /// Objects that are reconciled at the same time.
    pub concurrency: u16,
    /// ModelDeployments of a namespace that are served at the same time.
    pub max_deployed: usize,
}

/// A Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Its name.
    pub name: String,
    /// Its namespace; the client's own when there is none.
    pub namespace: Option<String>,
}

impl From<Args> for Config {
    fn from(args: Args) -> Config {
        let Args {
            server_image,
            gpu_server_image,
            update_running_servers,
            namespaces,
            leader_election,
            lease_name: name,
            lease_namespace,
            identity,
            http_addr,
            max_concurrent_reconciles: concurrency,
            max_deployed,
            // Logging starts before there is a configuration.
            log_format: _,
            log_level: _,
        } = args;
        let namespace = lease_namespace
            .filter(|name| !name.is_empty())
            .or_else(|| std::env::var("POD_NAMESPACE").ok());
        let host = || {
            std::env::var("POD_NAME")
                .or_else(|_| std::env::var("HOSTNAME"))
                .ok()
        };
        let namespaces = namespaces.into_iter().map(|name| name.trim().to_string());
        Config {
            server_images: ServerImages {
                usual: server_image,
                gpu: gpu_server_image.filter(|image| !image.is_empty()),
            },
            update_running_servers,
            namespaces: namespaces.filter(|name| !name.is_empty()).collect(),
            lease: leader_election.then_some(LeaseConfig { name, namespace }),
            identity: identity
                .or_else(host)
                .unwrap_or_else(|| format!("parlance-operator-{}", std::process::id())),
            http_addr,
            concurrency,
            max_deployed,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn config(flags: &[&str]) -> Config {
        let fixed = ["parlance-operator", "--server-image", "server:1"];
        Args::parse_from(fixed.iter().chain(flags)).into()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults_look_after_all_namespaces_with_a_lease() {
        let config = config(&[]);
        assert!(config.namespaces.is_empty());
        assert_eq!(config.lease.unwrap().name, "parlance-operator");
        assert_eq!((config.concurrency, config.max_deployed), (8, 10));
    }

    #[test]
    fn an_image_for_gpus_that_is_nothing_is_none() {
        let gpu = |flags: &[&str]| config(flags).server_images.gpu;
        assert_eq!(gpu(&[]), None);
        assert_eq!(gpu(&["--gpu-server-image="]), None);
        assert_eq!(
            gpu(&["--gpu-server-image=server:1-cuda"]).unwrap(),
            "server:1-cuda"
        );
    }

    #[test]
    fn namespaces_are_a_list_and_the_lease_can_be_left_out() {
        let config = config(&["--namespaces=a, b,", "--leader-election=false"]);
        assert_eq!(config.namespaces, ["a", "b"]);
        assert_eq!(config.lease, None);
    }
}
