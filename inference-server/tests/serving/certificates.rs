//! Certificates made on the spot, as the kubelet mounts them, and clients that trust them.

use std::{fs, net::SocketAddr, os::unix::fs::symlink, path::PathBuf, sync::Arc, time::Duration};

use inference_server::{
    proto::transcription_client::TranscriptionClient,
    run::{Config, load_model},
    tls::TlsSettings,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::harness::{Serving, config, eventually};
use crate::http::{Answer, ask};

/// Who signs the certificates of a test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Pair {
    pub cert: String,
    pub der: CertificateDer<'static>,
    pub key: KeyPair,
}

impl Authority {
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "an authority of tests");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    /// For localhost, until a year ends.
    pub fn sign(&self, until: i32) -> Pair {
        let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        let cert = parameters.signed_by(&key, &self.0).unwrap();
        Pair {
            cert: cert.pem(),
            der: cert.der().clone(),
            key,
        }
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A client of the HTTP port that trusts it.
    pub fn connector(&self, own: Option<&Pair>, protocol: &str) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::try_from(own.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![own.der.clone()], key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    pub async fn connect(&self, address: SocketAddr, protocol: &str) -> TlsStream<TcpStream> {
        connect(&self.connector(None, protocol), address).await.unwrap()
    }

    pub async fn get(&self, address: SocketAddr, path: &str) -> Answer {
        ask(self.connect(address, "http/1.1").await, "GET", path).await
    }

    pub async fn metric(&self, serving: &Serving, name: &str) -> f64 {
        let text = self.get(serving.http, "/metrics").await.text();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// A client of the gRPC port that trusts it.
    pub async fn client(
        &self,
        serving: &Serving,
        own: Option<&Pair>,
    ) -> Result<TranscriptionClient<Channel>, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.pem()))
            .domain_name("localhost");
        if let Some(own) = own {
            tls = tls.identity(Identity::from_pem(&own.cert, own.key.serialize_pem()));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", serving.grpc)).unwrap();
        Ok(TranscriptionClient::new(
            endpoint.tls_config(tls)?.connect().await?,
        ))
    }
}

pub async fn connect(connector: &TlsConnector, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(address).await?;
    connector.connect(name, stream).await
}

/// A Secret as the kubelet mounts it: the files are links through one that is replaced at once.
pub struct Mount {
    folder: tempfile::TempDir,
    times: usize,
}

impl Mount {
    pub fn of(cert: &str, key: &str) -> Self {
        let mut mount = Mount {
            folder: tempfile::tempdir().unwrap(),
            times: 0,
        };
        mount.swap(cert, key);
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), mount.file(name)).unwrap();
        }
        mount
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn swap(&mut self, cert: &str, key: &str) {
        self.times += 1;
        let version = format!("..version_{}", self.times);
        fs::create_dir(self.file(&version)).unwrap();
        fs::write(self.file(&version).join("tls.crt"), cert).unwrap();
        fs::write(self.file(&version).join("tls.key"), key).unwrap();
        symlink(&version, self.file("..data_tmp")).unwrap();
        fs::rename(self.file("..data_tmp"), self.file("..data")).unwrap();
    }

    pub fn settings(&self) -> TlsSettings {
        TlsSettings {
            cert: self.file("tls.crt"),
            key: self.file("tls.key"),
            client_ca: None,
            handshake_timeout: Duration::from_secs(3600),
        }
    }
}

impl Pair {
    pub fn mount(&self) -> Mount {
        Mount::of(&self.cert, &self.key.serialize_pem())
    }

    pub fn swap_into(&self, mount: &mut Mount) {
        mount.swap(&self.cert, &self.key.serialize_pem());
    }
}

/// Starts a server with TLS and waits until it is ready.
pub async fn start(authority: &Authority, tls: TlsSettings) -> Serving {
    let config = Config {
        tls: Some(tls),
        ..config()
    };
    let model = config.clone();
    let serving = Serving::start_with(config, move || load_model(&model)).await;
    let http = serving.http;
    let connector = authority.connector(None, "http/1.1");
    eventually("the server is ready", async || {
        match connect(&connector, http).await {
            Ok(stream) => ask(stream, "GET", "/health/ready").await.status == 200,
            Err(_) => false,
        }
    })
    .await;
    serving
}
