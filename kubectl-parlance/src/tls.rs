//! TLS to pods that speak it: whom to trust, for which name, and what to show.
//!
//! In: the flags, an object and its pods. Out: a [`Tls`] that connections are made with; none where no pod speaks TLS. That a
//! pod does is told by its own flags, so that pods before and after a change of the spec are both understood.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, Client};
use operator::names::{Kind, SERVER_CONTAINER, model_child};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Error;
use crate::object::Object;

/// The flag by which a server speaks TLS.
const CERTIFICATE_FLAG: &str = "--tls-cert=";
/// The volume of its certificate.
const VOLUME: &str = "tls";
/// Key of the authority in a Secret that cert-manager, or a careful person, has filled.
const AUTHORITY: &str = "ca.crt";

/// The flags about services that speak TLS.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Services with TLS")]
pub struct TlsArgs {
    /// Authority of the service's certificate, as PEM [default: ca.crt of its Secret, else those of this machine]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Name that the certificate must be for [default: the Service's, such as NAME.NAMESPACE.svc]
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Take any certificate; safe only where you trust the apiserver and everybody who may run pods in the namespace
    #[arg(long)]
    pub insecure_skip_verify: bool,
    /// Certificate to show, as PEM, to a service that lets in only clients with one
    #[arg(long, value_name = "FILE", requires = "client_key_file")]
    pub client_cert_file: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "client_cert_file")]
    pub client_key_file: Option<PathBuf>,
}

/// How connections to the pods of an object are secured.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// Whether the pod speaks TLS.
pub fn speaks(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut arguments = containers
        .filter(|one| one.name == SERVER_CONTAINER)
        .flat_map(|one| one.args.iter().flatten());
    arguments.any(|argument| argument.starts_with(CERTIFICATE_FLAG))
}

/// The Secret with the pod's certificate.
fn secret(pod: &Pod) -> Option<&str> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut named = volumes.filter(|volume| volume.name == VOLUME);
    named.find_map(|volume| volume.secret.as_ref()?.secret_name.as_deref())
}

impl Tls {
    /// What the pods of the object want; nothing when none speaks TLS.
    ///
    /// # Errors
    /// When a file that a flag names cannot be read or holds no PEM, or the name is none.
    pub async fn of(
        client: &Client,
        object: &Object,
        pods: &[Pod],
        args: &TlsArgs,
    ) -> Result<Option<Tls>, Error> {
        let Some(pod) = pods.iter().find(|pod| speaks(pod)) else {
            return Ok(None);
        };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::Usage(format!("TLS cannot be used: {e}")))?;
        let builder = match args.insecure_skip_verify {
            true => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
            false => {
                let roots = roots(client, &object.namespace(), secret(pod), args).await?;
                builder.with_root_certificates(roots)
            }
        };
        let mut config = match args.client_cert_file.as_ref().zip(args.client_key_file.as_ref()) {
            Some((certificate, key)) => builder
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(|e| Error::Usage(format!("{}: {e}", certificate.display())))?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = args.server_name.clone().unwrap_or_else(|| service_name(object));
        let wrong = |_| Error::Usage(format!("--server-name {name} is no name of a server"));
        Ok(Some(Tls {
            connector: TlsConnector::from(Arc::new(config)),
            name: ServerName::try_from(name.clone()).map_err(wrong)?,
        }))
    }

    /// Secures a connection to a pod.
    ///
    /// # Errors
    /// [`Error::Pod`] when the certificate is not to be trusted, or the pod speaks no TLS.
    pub async fn connect<S>(&self, pod: &str, stream: S) -> Result<TlsStream<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let secured = self.connector.connect(self.name.clone(), stream).await;
        secured.map_err(|error| Error::Pod {
            pod: pod.to_owned(),
            message: format!(
                "it speaks TLS, and no connection for the name {} comes about: {error}; give its authority with --ca-file, \
                 or another name of its certificate with --server-name",
                self.name.to_str()
            ),
        })
    }
}

/// The Service's name in the form that certificates of the operator's begin with.
fn service_name(object: &Object) -> String {
    let name = match object.kind() {
        Kind::TranscriptionService => object.name(),
        Kind::ModelDeployment => model_child(&object.name()),
    };
    format!("{name}.{}.svc", object.namespace())
}

/// The authorities to trust: those of the file, else of the Secret, else of this machine.
async fn roots(
    client: &Client,
    namespace: &str,
    secret: Option<&str>,
    args: &TlsArgs,
) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let of_secret = match (&args.ca_file, secret) {
        (None, Some(secret)) => authority(client, namespace, secret).await,
        _ => None,
    };
    let trusted = match (&args.ca_file, of_secret) {
        (Some(file), _) => certificates(file)?,
        (None, Some(pem)) => CertificateDer::pem_slice_iter(&pem)
            .filter_map(Result::ok)
            .collect(),
        (None, None) => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(trusted);
    Ok(roots)
}

/// The authority in a Secret; nothing where there is none or this user may not read it, which most may not.
async fn authority(client: &Client, namespace: &str, secret: &str) -> Option<Vec<u8>> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let found = api.get_opt(secret).await.ok()??;
    found.data?.remove(AUTHORITY).map(|bytes| bytes.0)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|e| unreadable(file, &e))?;
    match certificates.is_empty() {
        true => Err(Error::Usage(format!(
            "{} holds no certificate as PEM",
            file.display()
        ))),
        false => Ok(certificates),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(file).map_err(|e| unreadable(file, &e))
}

fn unreadable(file: &Path, error: &rustls::pki_types::pem::Error) -> Error {
    Error::Usage(format!("failed to read {}: {error}", file.display()))
}

/// Takes any certificate whose key the pod has.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(flag: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "sidecar", "args": ["--tls-cert=/x"]}, {"name": "server", "args": ["serve", flag]}],
            "volumes": [{"name": "model"}, {"name": "tls", "secret": {"secretName": "calls-tls"}}],
        }}))
        .unwrap()
    }

    #[test]
    fn a_pod_tells_by_its_own_flags_whether_it_speaks_tls_and_by_its_volume_whose_it_is() {
        let with = pod("--tls-cert=/etc/parlance/tls/tls.crt");
        assert!(speaks(&with) && !speaks(&pod("--threads=1")));
        assert_eq!(secret(&with), Some("calls-tls"));
        assert_eq!(secret(&Pod::default()), None);
    }

    #[test]
    fn the_certificate_must_be_for_the_service() {
        let object = |kind: &str| {
            json!({"apiVersion": "parlance.dev/v1alpha1", "kind": kind, "metadata": {"name": "calls", "namespace": "speech"},
                                         "spec": {"source": {"bundled": {"name": "a"}}}})
        };
        let service = Object::Service(serde_json::from_value(object("TranscriptionService")).unwrap());
        let model = Object::Model(serde_json::from_value(object("ModelDeployment")).unwrap());
        assert_eq!(service_name(&service), "calls.speech.svc");
        assert_eq!(service_name(&model), "calls-model.speech.svc");
    }

    #[test]
    fn a_file_without_certificates_is_told() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"no PEM").unwrap();
        let error = certificates(file.path()).unwrap_err().to_string();
        assert!(error.ends_with("holds no certificate as PEM"), "{error}");
        let error = certificates(Path::new("/no/such")).unwrap_err().to_string();
        assert!(error.starts_with("failed to read /no/such"), "{error}");
    }
}
