//! A bucket in; a client that asks it out, and what an error of it means. Moves no bytes itself.

use std::{env, time::Duration};

use object_store::{
    BackoffConfig, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
};
use reqwest::Url;

use crate::{cause::root, tls::default_ciphers};

/// The region of a server that knows none.
const REGION: &str = "us-east-1";
/// The longest that one question is asked again.
const RETRY: Duration = Duration::from_secs(180);

/// A bucket. Keys come from the environment, as for every client of S3; without any, it must be open to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Another server than Amazon's.
    pub endpoint: Option<Url>,
    /// Its region.
    pub region: Option<String>,
}

/// What it means that a bucket did not answer as asked. A code is the server's own, or else the status of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no such bucket.
    Missing(String),
    /// It is not for us.
    Denied(String),
    /// It does not answer; why.
    Silent(String),
    /// It answers something else.
    Other(String),
}

impl Bucket {
    /// `BUCKET` or `BUCKET/PREFIX`, with `s3://` before it or without.
    pub fn split(text: &str) -> Result<(String, String), String> {
        let text = text.strip_prefix("s3://").unwrap_or(text);
        let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
        if bucket.is_empty() {
            return Err("write BUCKET/PREFIX".to_owned());
        }
        Ok((bucket.to_owned(), prefix.trim_matches('/').to_owned()))
    }

    /// A client. It asks again so often, with waits that grow from the first to the longest.
    pub fn client(
        &self,
        signs: bool,
        attempts: usize,
        (first, longest): (Duration, Duration),
    ) -> object_store::Result<AmazonS3> {
        default_ciphers();
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&self.name)
            .with_region(self.region())
            .with_virtual_hosted_style_request(false)
            .with_skip_signature(!signs)
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: first,
                    max_backoff: longest,
                    base: 2.0,
                },
                max_retries: attempts.saturating_sub(1),
                retry_timeout: RETRY,
            });
        if let Some(endpoint) = &self.endpoint {
            builder = builder
                .with_endpoint(endpoint.as_str().trim_end_matches('/'))
                .with_allow_http(endpoint.scheme() == "http");
        }
        builder.build()
    }

    /// Its region: the one given, the environment's, or the usual one.
    pub fn region(&self) -> String {
        let given = self.region.clone();
        let given = given.or_else(|| env::var("AWS_REGION").ok());
        given
            .or_else(|| env::var("AWS_DEFAULT_REGION").ok())
            .unwrap_or_else(|| REGION.to_owned())
    }
}

impl Trouble {
    /// Reads an error. The crate keeps the answer in its words alone: a code, or else a status.
    pub fn of(error: &object_store::Error) -> Trouble {
        let said = error.to_string();
        let between = |before: &str, after: &str| said.split(before).nth(1)?.split(after).next();
        let status = between("status code: ", " ").unwrap_or_default();
        let code = between("<Code>", "</Code>").unwrap_or(status);
        match (code, status) {
            ("NoSuchBucket", _) | (_, "404") => Trouble::Missing(code.to_owned()),
            (_, "401" | "403") => Trouble::Denied(code.to_owned()),
            ("", _) => Trouble::Silent(root(error)),
            _ => Trouble::Other(code.to_owned()),
        }
    }
}

/// Whether the environment says who asks: by keys, or by one of the ways of Amazon's own clusters.
pub fn has_credentials() -> bool {
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
        let split = |text| Bucket::split(text).unwrap();
        assert_eq!(split("models"), ("models".to_owned(), String::new()));
        assert_eq!(
            split("s3://models/whisper/tiny/"),
            ("models".to_owned(), "whisper/tiny".to_owned())
        );
        assert!(Bucket::split("/tiny").is_err());
    }
}
