//! A certificate, its key and perhaps the authority of clients, in PEM files, in; what answers TLS handshakes out, always with the
//! newest files that fit together. Files that do not are said in the log, and change nothing. Accepts no connection itself:
//! [`handshakes`] does.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Once, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    InconsistentKeys, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use sha2::{Digest, Sha256};
use tokio::time::sleep;
use x509_cert::{Certificate, der::Decode};

use crate::metrics::TlsMetrics;

pub mod handshakes;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where the PEM files are, as a Secret of the type `kubernetes.io/tls` is mounted, and how long a handshake may take.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The certificate, and after it those that lead to its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of clients' certificates; `None`: clients need none.
    pub client_ca: Option<PathBuf>,
    /// The longest that a client may take for its handshake.
    pub handshake_timeout: Duration,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its sentence
pub enum TlsError {
    #[error("cannot read {}, which is needed for TLS: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("there is no {what} in {}: it must be a PEM file", path.display())]
    Nothing { path: PathBuf, what: &'static str },
    #[error("cannot read the {what} in {}: {why}", path.display())]
    Malformed {
        path: PathBuf,
        what: &'static str,
        why: String,
    },
    #[error("the private key in {} does not belong to the certificate in {}", key.display(), cert.display())]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("cannot use the certificate in {} with the private key in {}: {why}", cert.display(), key.display())]
    Unusable {
        cert: PathBuf,
        key: PathBuf,
        why: String,
    },
    #[error("cannot speak TLS with pods: {0}")]
    Client(rustls::Error),
}

/// What answers handshakes, by the port.
#[derive(Clone)]
struct Answers {
    grpc: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    /// When the certificate is no longer valid.
    expires: SystemTime,
    chain: Vec<CertificateDer<'static>>,
}

/// The files' contents.
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// The certificate of the server, as it is at the moment.
pub struct Tls {
    settings: TlsSettings,
    current: Mutex<Answers>,
    /// Of the contents that were tried last, or of why there were none.
    tried: Mutex<[u8; 32]>,
}

/// Whose ciphers clients of this program use where nobody says. Another part of it may have chosen already, which does as well.
pub(crate) fn default_ciphers() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

impl Tls {
    /// Reads the files.
    pub fn open(settings: TlsSettings) -> Result<Self, TlsError> {
        let contents = read(&settings)?;
        let answers = answers(&settings, &contents)?;
        tell(&answers, "TLS is on");
        Ok(Tls {
            tried: Mutex::new(digest(&Ok(contents))),
            current: Mutex::new(answers),
            settings,
        })
    }

    /// How the handshake of a new gRPC connection is answered.
    fn grpc(&self) -> Arc<ServerConfig> {
        self.now().grpc
    }

    /// How the handshake of a new HTTP connection is answered.
    fn http(&self) -> Arc<ServerConfig> {
        self.now().http
    }

    /// Whether clients need a certificate too.
    pub fn asks_clients(&self) -> bool {
        self.settings.client_ca.is_some()
    }

    /// The certificate that is shown, and after it those that lead to its authority.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.now().chain
    }

    /// Where the files are.
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    fn now(&self) -> Answers {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reads the files again whenever they change, and keeps the metric of the certificate's end. Never ends.
    ///
    /// Contents are compared and not times: a Secret is swapped by a symlink, and between two reads. Half of a swap does not
    /// fit together, and the next look finds the other half.
    pub async fn watch(self: Arc<Self>, metrics: Arc<TlsMetrics>) {
        loop {
            metrics.certificate_expires(self.now().expires);
            sleep(LOOK_EVERY).await;
            let tls = self.clone();
            // Disks block. That it panics is a line in the log already.
            let _ = tokio::task::spawn_blocking(move || tls.look_again()).await;
        }
    }

    fn look_again(&self) {
        let contents = read(&self.settings);
        let found = digest(&contents);
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if *tried == found {
            return;
        }
        *tried = found;
        match contents.and_then(|contents| answers(&self.settings, &contents)) {
            Ok(answers) => {
                tell(&answers, "the certificate was read again");
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = answers;
            }
            Err(error) => {
                let error = error.to_string();
                tracing::warn!(error, "the new certificate cannot be used; the one before stays");
            }
        }
    }
}

fn tell(answers: &Answers, what: &str) {
    let expires = humantime::format_rfc3339_seconds(answers.expires).to_string();
    if answers.expires <= SystemTime::now() {
        tracing::warn!(expires, "{what}, but the certificate has expired");
    } else {
        tracing::info!(expires, "{what}");
    }
}

fn read(settings: &TlsSettings) -> Result<Contents, TlsError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| TlsError::Read {
            path: path.to_owned(),
            source,
        })
    };
    Ok(Contents {
        cert: read(&settings.cert)?,
        key: read(&settings.key)?,
        client_ca: settings.client_ca.as_deref().map(read).transpose()?,
    })
}

/// The key itself is not kept to compare with.
fn digest(contents: &Result<Contents, TlsError>) -> [u8; 32] {
    let mut digest = Sha256::new();
    match contents {
        Ok(Contents { cert, key, client_ca }) => {
            for part in [cert, key, client_ca.as_ref().unwrap_or(&Vec::new())] {
                digest.update(part.len().to_le_bytes());
                digest.update(part);
            }
        }
        Err(error) => digest.update(error.to_string()),
    }
    digest.finalize().into()
}

fn answers(settings: &TlsSettings, contents: &Contents) -> Result<Answers, TlsError> {
    let TlsSettings {
        cert: cert_path,
        key: key_path,
        client_ca,
        ..
    } = settings;
    let chain = certificates(cert_path, &contents.cert)?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key)
        .map_err(|error| from_pem(key_path, "private key", &error))?;
    let provider = Arc::new(ring::default_provider());
    let clients = client_ca
        .as_deref()
        .zip(contents.client_ca.as_deref())
        .map(|(path, pem)| Ok((path, certificates(path, pem)?)))
        .transpose()?;
    let config = |protocols: &[&str], everybody: bool| {
        let clients = clients
            .as_ref()
            .map(|(path, authorities)| verifier(path, authorities, everybody, &provider))
            .transpose()?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(settings, &error))?;
        let builder = match clients {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| unusable(settings, &error))?;
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    };
    Ok(Answers {
        grpc: config(&["h2"], false)?,
        // Who has no certificate gets as far as health and metrics: the kubelet has none to show.
        http: config(&["h2", "http/1.1"], true)?,
        expires: expires(cert_path, &chain)?,
        chain,
    })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const WHAT: &str = "certificate";
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| from_pem(path, WHAT, &error))?;
    if found.is_empty() {
        return Err(from_pem(path, WHAT, &pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn verifier(
    path: &Path,
    authorities: &[CertificateDer<'static>],
    everybody: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let malformed = |why: String| TlsError::Malformed {
        path: path.to_owned(),
        what: "authority of clients",
        why,
    };
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots
            .add(authority.clone())
            .map_err(|error| malformed(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = if everybody {
        builder.allow_unauthenticated()
    } else {
        builder
    };
    builder.build().map_err(|error| malformed(error.to_string()))
}

fn expires(path: &Path, chain: &[CertificateDer<'static>]) -> Result<SystemTime, TlsError> {
    let malformed = |why: String| TlsError::Malformed {
        path: path.to_owned(),
        what: "certificate",
        why,
    };
    let leaf = chain.first().map_or(&[][..], |leaf| leaf);
    let leaf = Certificate::from_der(leaf).map_err(|error| malformed(error.to_string()))?;
    let since_epoch = leaf.tbs_certificate().validity().not_after.to_unix_duration();
    Ok(UNIX_EPOCH + since_epoch)
}

fn from_pem(path: &Path, what: &'static str, error: &pem::Error) -> TlsError {
    let path = path.to_owned();
    match error {
        pem::Error::NoItemsFound => TlsError::Nothing { path, what },
        error => TlsError::Malformed {
            path,
            what,
            why: error.to_string(),
        },
    }
}

fn unusable(settings: &TlsSettings, error: &rustls::Error) -> TlsError {
    let (cert, key) = (settings.cert.clone(), settings.key.clone());
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch { cert, key },
        error => TlsError::Unusable {
            cert,
            key,
            why: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
