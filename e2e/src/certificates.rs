//! Certificates made on the spot, and the Secrets that hold them as cert-manager would fill them.

use k8s_openapi::api::core::v1::Secret;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;

/// Who signs the certificates of a test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// The certificate of its authority.
    pub authority: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When no key can be made.
    pub fn new(name: &str) -> Authority {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(parameters, key).expect("an authority"))
    }

    /// A certificate for these names.
    ///
    /// # Panics
    /// When a name is none.
    pub fn sign(&self, names: &[String]) -> Pair {
        let parameters = CertificateParams::new(names).expect("names of servers");
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate");
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            authority: self.pem(),
        }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }
}

impl Pair {
    /// The Secret of the name that holds it.
    ///
    /// # Panics
    /// Never: the object is whole.
    pub fn secret(&self, name: &str) -> Secret {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": { "name": name },
            "stringData": { "tls.crt": self.certificate, "tls.key": self.key, "ca.crt": self.authority }
        });
        serde_json::from_value(object).expect("a Secret")
    }
}
