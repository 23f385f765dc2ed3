//! The flags of TLS in; its settings out. Reads no file.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::tls::TlsSettings;

/// The longest that a client may take for its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The flags of TLS.
#[derive(Debug, Args)]
pub(super) struct TlsArgs {
    /// PEM file of the certificate and those that lead to its authority; with it, both ports speak TLS. Read again when it changes
    #[arg(
        long,
        env = "PARLANCE_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "TLS"
    )]
    tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's private key
    #[arg(
        long,
        env = "PARLANCE_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "TLS"
    )]
    tls_key: Option<PathBuf>,
    /// PEM file of the authorities whose clients are let in; others see only health and metrics [default: everybody is let in]
    #[arg(
        long,
        env = "PARLANCE_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "TLS"
    )]
    tls_client_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// What TLS is to be; `None`: there is none.
    pub(super) fn into_settings(self) -> Option<TlsSettings> {
        let Self {
            tls_cert,
            tls_key,
            tls_client_ca,
        } = self;
        // Neither comes without the other: clap sees to it.
        let (cert, key) = tls_cert.zip(tls_key)?;
        Some(TlsSettings {
            cert,
            key,
            client_ca: tls_client_ca,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        })
    }
}
