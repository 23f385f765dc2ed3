//! A recording in; what the service heard out, or what follows from its answer. Asks once, and waits for nobody.
//!
//! Each attempt has a connection of its own: a Service of Kubernetes spreads connections over its pods, not requests.

use std::{fs, path::PathBuf, time::Duration};

use axum::body::Bytes;
use reqwest::Url;
use tonic::{
    Request,
    codec::CompressionEncoding,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

use super::{
    transcript::Heard,
    verdict::{self, Verdict},
};
use crate::{
    audio::Channels,
    cause::root,
    fetch::Secret,
    pipeline::Task,
    proto::{self, TranscribeRequest, TranscriptionConfig, transcription_client::TranscriptionClient},
};

/// The longest that a connection may take to come.
const CONNECTING: Duration = Duration::from_secs(10);
/// A connection that has been silent for so long is asked whether it lives, and has so long to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));
/// The largest answer: hours of words with their times.
const LARGEST_ANSWER: usize = 256 << 20;

/// Which service, and how to come in.
#[derive(Clone, Debug)]
pub struct Address {
    /// `http://HOST:PORT`, or `https://`: of its gRPC port.
    pub url: Url,
    /// The API key.
    pub key: Option<Secret>,
    /// Authority of its certificate, as PEM; without it, those of the system.
    pub ca: Option<PathBuf>,
    /// Certificate and key to show, as PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// How to transcribe; where nothing is said, as the service does by itself.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Code of the language, or `auto`.
    pub language: Option<String>,
    /// In which language to write.
    pub task: Option<Task>,
    /// Whether each word gets its times.
    pub word_timestamps: Option<bool>,
    /// Text that comes before the audio.
    pub initial_prompt: Option<String>,
    /// Words to expect.
    pub hotwords: Option<String>,
    /// Whether each channel is transcribed by itself.
    pub channels: Option<Channels>,
}

/// A service that can be asked.
#[derive(Debug)]
pub struct Service {
    endpoint: Endpoint,
    authorization: Option<MetadataValue<Ascii>>,
    config: TranscriptionConfig,
}

impl Service {
    /// Reads the files that are needed for it. Asks nothing yet.
    pub fn new(address: &Address, asked: &Asked) -> Result<Service, String> {
        let Address {
            url,
            key,
            ca,
            identity,
        } = address;
        let unfit = |error: tonic::transport::Error| format!("{url} cannot be asked: {}", root(&error));
        let mut endpoint = Endpoint::from_shared(url.to_string())
            .map_err(unfit)?
            .connect_timeout(CONNECTING)
            .tcp_keepalive(Some(KEEPALIVE.0))
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1);
        if url.scheme() == "https" {
            let mut tls = match ca {
                Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            if let Some((cert, key)) = identity {
                tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
            }
            endpoint = endpoint.tls_config(tls).map_err(unfit)?;
        }
        let bearer = |key: &Secret| {
            let mut value = MetadataValue::try_from(format!("Bearer {}", key.reveal()))
                .map_err(|_| "the API key holds characters that no header takes".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        };
        Ok(Service {
            endpoint,
            authorization: key.as_ref().map(bearer).transpose()?,
            config: config(asked),
        })
    }

    /// Sends the recording, and waits for as long as the service takes.
    pub async fn hear(&self, audio: Bytes) -> Result<Heard, Verdict> {
        let connected = self.endpoint.connect().await;
        let channel = connected.map_err(|error| verdict::of_connection(&error))?;
        let mut client = TranscriptionClient::new(channel)
            .max_decoding_message_size(LARGEST_ANSWER)
            .accept_compressed(CompressionEncoding::Gzip);
        let mut request = Request::new(TranscribeRequest {
            config: Some(self.config.clone()),
            audio,
        });
        if let Some(value) = &self.authorization {
            request.metadata_mut().insert("authorization", value.clone());
        }
        let answer = client.transcribe(request).await;
        answer
            .map(|response| Heard::from(response.into_inner()))
            .map_err(|status| verdict::of_status(&status))
    }
}

fn read(path: &PathBuf) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("failed to read {}: {error}", path.display()))
}

fn config(asked: &Asked) -> TranscriptionConfig {
    let Asked {
        language,
        task,
        word_timestamps,
        initial_prompt,
        hotwords,
        channels,
    } = asked.clone();
    TranscriptionConfig {
        language: language.unwrap_or_default(),
        task: task.map_or(proto::Task::Unspecified, proto::Task::from).into(),
        word_timestamps,
        initial_prompt: initial_prompt.unwrap_or_default(),
        hotwords: hotwords.unwrap_or_default(),
        separate_channels: channels.map(|channels| channels == Channels::Each),
        ..TranscriptionConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        Address {
            url: url.parse().unwrap(),
            key: None,
            ca: None,
            identity: None,
        }
    }

    #[test]
    fn what_is_not_asked_for_is_left_to_the_service() {
        assert_eq!(config(&Asked::default()), TranscriptionConfig::default());
        let all = config(&Asked {
            language: Some("en".to_owned()),
            task: Some(Task::Translate),
            word_timestamps: Some(false),
            initial_prompt: Some("Digits.".to_owned()),
            hotwords: Some("seven".to_owned()),
            channels: Some(Channels::Each),
        });
        let expected = TranscriptionConfig {
            language: "en".to_owned(),
            task: proto::Task::Translate.into(),
            word_timestamps: Some(false),
            initial_prompt: "Digits.".to_owned(),
            hotwords: "seven".to_owned(),
            separate_channels: Some(true),
            ..TranscriptionConfig::default()
        };
        assert_eq!(all, expected);
    }

    #[tokio::test]
    async fn files_and_keys_that_are_no_use_are_told_before_anything_is_sent() {
        let mut missing = address("https://localhost:1");
        missing.ca = Some("/no/ca.crt".into());
        let error = Service::new(&missing, &Asked::default()).unwrap_err();
        assert!(error.contains("/no/ca.crt"), "{error}");
        let mut odd = address("http://localhost:1");
        odd.key = Some(Secret::from("a\nb".to_owned()));
        let error = Service::new(&odd, &Asked::default()).unwrap_err();
        assert_eq!(error, "the API key holds characters that no header takes");
        let nobody = Service::new(&address("http://127.0.0.1:1"), &Asked::default()).unwrap();
        let verdict = nobody.hear(Bytes::new()).await.unwrap_err();
        assert!(
            matches!(&verdict, Verdict::Later { said, .. } if said.contains("cannot be reached")),
            "{verdict:?}"
        );
    }
}
