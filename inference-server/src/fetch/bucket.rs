//! A bucket that speaks S3 in; the list of a model's files under a prefix, and signed addresses for them, out. Downloads
//! nothing itself: an object is downloaded as any other file is.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, aws::AmazonS3, path::Path as Key, signer::Signer};
use reqwest::{Method, Url};

use super::{
    FetchError,
    client::{Patience, Stop},
    listing::{Address, Listing, RemoteFile, is_inside, needed, shown},
};
use crate::{
    cause::root,
    kind::ModelFormat,
    model::Dtype,
    s3::{Bucket, Trouble, has_credentials},
};

/// How long a signature holds: a download that is still running when it ends goes on.
const SIGNATURE: Duration = Duration::from_secs(900);

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
        let waits = (patience.first_wait, patience.longest_wait);
        let client = self.held_by().client(signs, patience.attempts, waits);
        client.map_err(|e| FetchError::SourceUnreachable(format!("{} cannot be asked for: {e}", self.uri())))
    }

    fn held_by(&self) -> Bucket {
        Bucket {
            name: self.bucket.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
        }
    }

    /// Where an object is, for a bucket that is open to everybody and for messages.
    fn url(&self, key: &str) -> Result<Url, FetchError> {
        let amazon = || Url::parse(&format!("https://s3.{}.amazonaws.com", self.held_by().region()));
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

    /// What it means that the list did not come.
    fn unlisted(&self, error: &object_store::Error) -> FetchError {
        let uri = self.uri();
        match Trouble::of(error) {
            Trouble::Missing(code) => {
                FetchError::SourceNotFound(format!("there is no bucket {} ({code})", self.bucket))
            }
            Trouble::Denied(code) => FetchError::AccessDenied(format!("{uri} refuses access ({code})")),
            Trouble::Silent(why) => FetchError::SourceUnreachable(format!("{uri} cannot be reached: {why}")),
            Trouble::Other(code) => FetchError::SourceUnreachable(format!("{uri} cannot be listed ({code})")),
        }
    }
}

/// A signed address of an object.
pub(super) async fn signed(store: &AmazonS3, key: &Key) -> Result<Url, Stop> {
    let signed = store.signed_url(Method::GET, key, SIGNATURE).await;
    signed.map_err(|e| Stop::again(format!("{key} cannot be signed: {}", root(&e))))
}

#[cfg(test)]
mod tests {
    use super::*;

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
