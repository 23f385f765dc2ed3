//! The certificate that a pod shows in; whether it is one of the service's out.
//!
//! Pods are asked by their addresses and show the certificate of the Secret that this process shows too. So the very same
//! certificate is trusted, whoever signed it and whatever its names are; and, while a new one is on its way to all of them, one
//! of the same authority (`ca.crt` beside the certificate, or those that follow it in its file) for one of the same names.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::tls::Tls;

/// How many of its own certificates it remembers.
const REMEMBERED: usize = 4;

/// Knows the certificates of the pods.
#[derive(Debug)]
struct Trust {
    tls: Own,
    /// The certificates that this process has shown, the newest last.
    shown: Mutex<Vec<CertificateDer<'static>>>,
    provider: Arc<CryptoProvider>,
}

/// The certificate of this process.
struct Own(Arc<Tls>);

impl std::fmt::Debug for Own {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Own")
    }
}

/// How this process begins TLS with a pod that speaks this protocol.
pub fn client(tls: &Arc<Tls>, protocol: &str) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let trust = Trust {
        tls: Own(tls.clone()),
        shown: Mutex::new(tls.chain().into_iter().take(1).collect()),
        provider: provider.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(config)
}

impl Trust {
    /// Whether it is one that this process shows or has shown.
    fn is_own(&self, leaf: &CertificateDer<'_>) -> bool {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(now) = self.tls.0.chain().into_iter().next()
            && shown.last() != Some(&now)
        {
            shown.push(now);
            let surplus = shown.len().saturating_sub(REMEMBERED);
            shown.drain(..surplus);
        }
        shown.iter().any(|own| own == leaf)
    }

    /// The authorities of its own certificate.
    fn authorities(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.tls.0.chain().into_iter().skip(1));
        if let Ok(pem) = fs::read(authority(&self.tls.0)) {
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        }
        roots
    }
}

/// Where cert-manager puts the authority of a certificate.
fn authority(tls: &Tls) -> PathBuf {
    tls.settings().cert.with_file_name("ca.crt")
}

/// The names of a certificate.
fn names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = Certificate::from_der(leaf) else {
        return Vec::new();
    };
    let extension = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let Ok(Some((_, SubjectAltName(names)))) = extension else {
        return Vec::new();
    };
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        _ => None,
    });
    dns.collect()
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.is_own(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let roots = Arc::new(self.authorities());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, self.provider.clone())
            .build()
            .map_err(|_| unknown())?;
        let own = self.tls.0.chain();
        let names = own.first().map(names).unwrap_or_default();
        let mut outcome = Err(unknown());
        for name in names {
            // A name with a star stands for any one label.
            let Ok(name) = ServerName::try_from(name.replace('*', "any")) else {
                continue;
            };
            outcome = verifier.verify_server_cert(end_entity, intermediates, &name, ocsp_response, now);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
