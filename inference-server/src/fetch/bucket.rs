//! A bucket that speaks S3 in; the list of a model's files under a prefix, and signed addresses for them, out. Downloads
//! nothing itself: an object is downloaded as any other file is.

use std::{collections::BTreeSet, env, sync::Arc, time::Duration};

use futures::TryStreamExt;
use object_store::{
    BackoffConfig, ObjectMeta, ObjectStore, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path as Key,
    signer::Signer,
};
use reqwest::{Method, Url};

use super::{
    FetchError,
    client::{Patience, Stop, root},
    listing::{Address, Listing, RemoteFile, is_inside, needed, shown},
};
use crate::{kind::ModelFormat, model::Dtype};

/// How long a signature holds: a download that is still running when it ends goes on.
const SIGNATURE: Duration = Duration::from_secs(900);

/// The region of a server that knows none.
const REGION: &str = "us-east-1";

/// A model under a prefix. Keys come from the environment, as for every client of S3; without any, the bucket must be open
/// to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The bucket.
    pub bucket: String,
    /// The prefix: the folder of the model. Empty: the whole bucket.
    pub prefix: String,
    /// Another server than Amazon's.
    pub endpoint: Option<Url>,
    /// Its region.
    pub region: Option<String>,
    /// Which precision of several; without it, everything under the prefix is the model.
    pub variant: Option<Dtype>,
}

impl Prefix {
    /// `BUCKET` or `BUCKET/PREFIX`.
    pub fn split(text: &str) -> Result<(String, String), String> {
        let text = text.strip_prefix("s3://").unwrap_or(text);
        let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
        if bucket.is_empty() {
            return Err("write BUCKET/PREFIX".to_owned());
        }
        Ok((bucket.to_owned(), prefix.trim_matches('/').to_owned()))
    }

    /// What is asked for, in one line without secrets.
    pub(super) fn asked_for(&self) -> String {
        let endpoint = self.endpoint.as_ref().map_or("amazon".to_owned(), shown);
        let variant = self.variant.map_or("all", Dtype::name);
        format!("{} {endpoint} {variant}", self.uri())
    }

    fn uri(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    /// Lists what is under the prefix.
    pub(super) async fn list(&self, patience: &Patience, format: ModelFormat) -> Result<Listing, FetchError> {
        let signs = has_credentials();
        let store = Arc::new(self.store(signs, patience)?);
        let prefix = Key::parse(&self.prefix).map_err(|e| FetchError::SourceNotFound(e.to_string()))?;
        let listed = store.list(Some(&prefix)).try_collect::<Vec<ObjectMeta>>().await;
        let objects = listed.map_err(|e| self.unlisted(&e))?;
        let mut files = Vec::new();
        for object in objects {
            let inside = object.location.as_ref().strip_prefix(prefix.as_ref());
            let path = inside.unwrap_or_default().trim_start_matches('/').to_owned();
            if is_inside(&path) {
                files.push(self.file(&store, signs, path, object)?);
            }
        }
        if files.is_empty() {
            return Err(FetchError::SourceNotFound(format!(
                "{} holds no files",
                self.uri()
            )));
        }
        if self.variant.is_some() {
            let held: BTreeSet<String> = files.iter().map(|file| file.path.clone()).collect();
            let wanted = needed(&self.uri(), &held, self.variant, format)?;
            files.retain(|file| wanted.contains(&file.path));
        }
        Ok(Listing {
            source: self.uri(),
            revision: None,
            files,
        })
    }

    fn file(
        &self,
        store: &Arc<AmazonS3>,
        signs: bool,
        path: String,
        object: ObjectMeta,
    ) -> Result<RemoteFile, FetchError> {
        let url = self.url(object.location.as_ref())?;
        Ok(RemoteFile {
            path,
            size: Some(object.size),
            sha256: None,
            version: object.e_tag.unwrap_or_default(),
            address: match signs {
                true => Address::Signed(store.clone(), object.location, url),
                false => Address::Open(url),
            },
        })
    }

    fn store(&self, signs: bool, patience: &Patience) -> Result<AmazonS3, FetchError> {
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&self.bucket)
            .with_region(self.region())
            .with_virtual_hosted_style_request(false)
            .with_skip_signature(!signs)
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: patience.first_wait,
                    max_backoff: patience.longest_wait,
                    base: 2.0,
                },
                max_retries: patience.attempts.saturating_sub(1),
                retry_timeout: Duration::from_secs(180),
            });
        if let Some(endpoint) = &self.endpoint {
            builder = builder
                .with_endpoint(endpoint.as_str().trim_end_matches('/'))
                .with_allow_http(endpoint.scheme() == "http");
        }
        builder
            .build()
            .map_err(|e| FetchError::SourceUnreachable(format!("{} cannot be asked for: {e}", self.uri())))
    }

    fn region(&self) -> String {
        let given = self.region.clone();
        let given = given.or_else(|| env::var("AWS_REGION").ok());
        given
            .or_else(|| env::var("AWS_DEFAULT_REGION").ok())
            .unwrap_or_else(|| REGION.to_owned())
    }

    /// Where an object is, for a bucket that is open to everybody and for messages.
    fn url(&self, key: &str) -> Result<Url, FetchError> {
        let amazon = || Url::parse(&format!("https://s3.{}.amazonaws.com", self.region()));
        let base = self.endpoint.clone().map_or_else(amazon, Ok);
        let said = || FetchError::SourceUnreachable(format!("{} has no address", self.uri()));
        let mut url = base.map_err(|_| said())?;
        url.path_segments_mut()
            .map_err(|()| said())?
            .pop_if_empty()
            .push(&self.bucket)
            .extend(key.split('/'));
        Ok(url)
    }

    /// What it means that the list did not come. The crate keeps the answer in its words alone: a code, or else a status.
    fn unlisted(&self, error: &object_store::Error) -> FetchError {
        let (uri, said) = (self.uri(), error.to_string());
        let between = |before: &str, after: &str| said.split(before).nth(1)?.split(after).next();
        let status = between("status code: ", " ").unwrap_or_default();
        let code = between("<Code>", "</Code>").unwrap_or(status);
        match (code, status) {
            ("NoSuchBucket", _) | (_, "404") => {
                FetchError::SourceNotFound(format!("there is no bucket {} ({code})", self.bucket))
            }
            (_, "401" | "403") => FetchError::AccessDenied(format!("{uri} refuses access ({code})")),
            ("", _) => FetchError::SourceUnreachable(format!("{uri} cannot be reached: {}", root(error))),
            _ => FetchError::SourceUnreachable(format!("{uri} cannot be listed ({code})")),
        }
    }
}

/// A signed address of an object.
pub(super) async fn signed(store: &AmazonS3, key: &Key) -> Result<Url, Stop> {
    let signed = store.signed_url(Method::GET, key, SIGNATURE).await;
    signed.map_err(|e| Stop::again(format!("{key} cannot be signed: {}", root(&e))))
}

/// Whether the environment says who asks: by keys, or by one of the ways of Amazon's own clusters.
fn has_credentials() -> bool {
    [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ]
    .into_iter()
    .any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_and_a_prefix_are_told_apart() {
        let split = |text| Prefix::split(text).unwrap();
        assert_eq!(split("models"), ("models".to_owned(), String::new()));
        assert_eq!(
            split("s3://models/whisper/tiny/"),
            ("models".to_owned(), "whisper/tiny".to_owned())
        );
        assert!(Prefix::split("/tiny").is_err());
    }

    #[test]
    fn an_object_is_addressed_by_its_bucket_and_key() {
        let prefix = Prefix {
            bucket: "models".to_owned(),
            prefix: "tiny".to_owned(),
            endpoint: Some(Url::parse("http://minio:9000/").unwrap()),
            region: None,
            variant: None,
        };
        let url = prefix.url("tiny/a b.json").unwrap();
        assert_eq!(url.as_str(), "http://minio:9000/models/tiny/a%20b.json");
        let amazon = Prefix {
            endpoint: None,
            region: Some("eu-west-1".to_owned()),
            ..prefix
        };
        let url = amazon.url("a").unwrap();
        assert_eq!(url.as_str(), "https://s3.eu-west-1.amazonaws.com/models/a");
    }
}
