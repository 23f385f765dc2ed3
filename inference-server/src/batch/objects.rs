//! What is under a prefix of a bucket: its objects in and out.

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream::BoxStream};
use object_store::{
    Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, aws::AmazonS3, path::Path as Key,
};

use super::{
    place::{Fault, Listed, Server, Version, too_large},
    plan::Entry,
};
use crate::s3::{Bucket, Trouble, has_credentials};

/// How often the bucket is asked the same.
const ATTEMPTS: usize = 8;
/// The first and the longest wait between.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A prefix of a bucket.
#[derive(Clone, Debug)]
pub struct Objects {
    client: Arc<AmazonS3>,
    /// `s3://BUCKET/PREFIX`.
    uri: String,
    prefix: Key,
}

impl Objects {
    /// Asks nothing yet.
    pub(super) fn open(bucket: &str, prefix: &str, server: &Server) -> Result<Objects, String> {
        let uri = format!("s3://{bucket}/{prefix}");
        let Server { endpoint, region } = server.clone();
        let name = bucket.to_owned();
        let bucket = Bucket {
            name,
            endpoint,
            region,
        };
        let client = bucket.client(has_credentials(), ATTEMPTS, WAITS);
        let client = client.map_err(|error| format!("{uri} cannot be asked for: {error}"))?;
        let prefix = Key::parse(prefix).map_err(|error| format!("{uri} cannot be asked for: {error}"))?;
        Ok(Objects {
            client: Arc::new(client),
            uri,
            prefix,
        })
    }

    /// See [`super::place::Store::list`].
    pub(super) fn list(&self) -> BoxStream<'static, Result<Listed, String>> {
        let (all, prefix, uri) = (self.clone(), self.prefix.clone(), self.uri.clone());
        let listed = self.client.list(Some(&self.prefix));
        let named = listed.try_filter_map(move |object| {
            let below = object.location.as_ref().strip_prefix(prefix.as_ref());
            let name = below.map(|name| name.trim_start_matches('/').to_owned());
            let file = name.filter(|name| !name.is_empty()).map(|name| {
                Listed::File(Entry {
                    name,
                    changed: object.last_modified.into(),
                })
            });
            future::ok(file)
        });
        let told = named.map_err(move |error| match error {
            Error::InvalidPath { source } => format!("{uri} cannot be listed: {source}"),
            error => all.unanswered(&error),
        });
        told.boxed()
    }

    /// See [`super::place::Store::read`].
    pub(super) async fn read(&self, name: &str, most: u64) -> Result<(Bytes, Version), Fault> {
        let found = self.client.get(&self.key(name)?).await;
        let found = found.map_err(|error| self.unread(&error))?;
        let version = version(&found.meta);
        if version.size > most {
            return Err(too_large(version.size, most));
        }
        let bytes = found.bytes().await;
        let broke_off = |error: Error| Fault::Now(self.unanswered(&error));
        Ok((bytes.map_err(broke_off)?, version))
    }

    /// See [`super::place::Store::version`].
    pub(super) async fn version(&self, name: &str) -> Result<Version, Fault> {
        let found = self.client.head(&self.key(name)?).await;
        found
            .map(|meta| version(&meta))
            .map_err(|error| self.unread(&error))
    }

    /// See [`super::place::Store::write`].
    pub(super) async fn write(&self, name: &str, text: String) -> Result<(), Fault> {
        let written = self.client.put(&self.key(name)?, PutPayload::from(text)).await;
        written
            .map(drop)
            .map_err(|error| Fault::Place(self.unanswered(&error)))
    }

    /// See [`super::place::Store::remove`].
    pub(super) async fn remove(&self, name: &str) -> Result<(), Fault> {
        match self.client.delete(&self.key(name)?).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Fault::Place(self.unanswered(&error))),
        }
    }

    fn key(&self, name: &str) -> Result<Key, Fault> {
        let key = Key::parse(format!("{}/{name}", self.prefix));
        key.map_err(|error| Fault::File(format!("no object can have this name: {error}")))
    }

    fn unread(&self, error: &Error) -> Fault {
        if matches!(error, Error::NotFound { .. }) {
            return Fault::Gone;
        }
        let said = self.unanswered(error);
        match Trouble::of(error) {
            Trouble::Denied(_) => Fault::File(said),
            Trouble::Silent(_) => Fault::Place(said),
            Trouble::Missing(_) | Trouble::Other(_) => Fault::Now(said),
        }
    }

    fn unanswered(&self, error: &Error) -> String {
        let uri = &self.uri;
        match Trouble::of(error) {
            Trouble::Missing(code) => format!("there is no such bucket as that of {uri} ({code})"),
            Trouble::Denied(code) => format!("{uri} refuses access ({code})"),
            Trouble::Silent(why) => format!("{uri} cannot be reached: {why}"),
            Trouble::Other(code) => format!("{uri} does not do as asked ({code})"),
        }
    }
}

fn version(meta: &ObjectMeta) -> Version {
    Version {
        size: meta.size,
        changed: meta.last_modified.into(),
        tag: meta.e_tag.clone(),
    }
}
