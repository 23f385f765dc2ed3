//! Where recordings are and where transcripts go: a folder or a bucket. What both have in common; knows neither names' meaning nor
//! the service.

use std::{path::PathBuf, str::FromStr, time::SystemTime};

use axum::body::Bytes;
use futures::stream::BoxStream;
use reqwest::Url;

use super::{folder::Folder, objects::Objects, plan::Entry};
use crate::s3::Bucket;

/// A place as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder, such as a mounted claim.
    Folder(PathBuf),
    /// What is under a prefix of a bucket: both.
    Bucket(String, String),
}

/// `s3://BUCKET/PREFIX`, or a folder.
impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("://") {
            Some(("s3", _)) => {
                let (bucket, prefix) =
                    Bucket::split(text).map_err(|_| "write s3://BUCKET/PREFIX".to_owned())?;
                Ok(Place::Bucket(bucket, prefix))
            }
            Some((scheme, _)) => Err(format!(
                "{scheme}:// is not known: write a folder or s3://BUCKET/PREFIX"
            )),
            None if text.is_empty() => Err("write a folder or s3://BUCKET/PREFIX".to_owned()),
            None => Ok(Place::Folder(PathBuf::from(text))),
        }
    }
}

/// Where buckets are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Another server than Amazon's.
    pub endpoint: Option<Url>,
    /// Its region.
    pub region: Option<String>,
}

/// A place that can be asked.
#[derive(Clone, Debug)]
pub enum Store {
    /// On a volume.
    Folder(Folder),
    /// In a bucket.
    Bucket(Objects),
}

/// What a list holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// A file.
    File(Entry),
    /// Something that cannot be named or looked into, and what is wrong with it.
    Strange {
        /// Its name, as far as it can be written.
        name: String,
        /// Why.
        why: String,
    },
}

/// By what a change of a file shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its bytes.
    pub size: u64,
    /// When it was written.
    pub changed: SystemTime,
    /// What the bucket calls it.
    pub tag: Option<String>,
}

/// Why a file was not read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not there any more.
    Gone,
    /// It cannot be done with this file.
    File(String),
    /// It cannot be done with this file now.
    Now(String),
    /// It cannot be done with any.
    Place(String),
}

impl Store {
    /// The place that recordings are read from: it must be there.
    pub fn of_recordings(place: &Place, server: &Server) -> Result<Store, String> {
        match place {
            Place::Folder(path) => Folder::existing(path).map(Store::Folder),
            Place::Bucket(bucket, prefix) => Objects::open(bucket, prefix, server).map(Store::Bucket),
        }
    }

    /// The place that transcripts are written to: a folder is made.
    pub fn of_transcripts(place: &Place, server: &Server) -> Result<Store, String> {
        match place {
            Place::Folder(path) => Folder::made(path).map(Store::Folder),
            Place::Bucket(bucket, prefix) => Objects::open(bucket, prefix, server).map(Store::Bucket),
        }
    }

    /// Everything there, in no order. What is strange does not end the list; an error does.
    pub fn list(&self) -> BoxStream<'static, Result<Listed, String>> {
        match self {
            Store::Folder(folder) => folder.list(),
            Store::Bucket(objects) => objects.list(),
        }
    }

    /// A whole file, unless it is larger than `most` bytes.
    pub async fn read(&self, name: &str, most: u64) -> Result<(Bytes, Version), Fault> {
        match self {
            Store::Folder(folder) => folder.read(name, most).await,
            Store::Bucket(objects) => objects.read(name, most).await,
        }
    }

    /// What the file is now.
    pub async fn version(&self, name: &str) -> Result<Version, Fault> {
        match self {
            Store::Folder(folder) => folder.version(name).await,
            Store::Bucket(objects) => objects.version(name).await,
        }
    }

    /// Writes a file at once: it is there whole, or as it was before.
    pub async fn write(&self, name: &str, text: String) -> Result<(), Fault> {
        match self {
            Store::Folder(folder) => folder.write(name, text).await,
            Store::Bucket(objects) => objects.write(name, text).await,
        }
    }

    /// Removes a file, if it is there.
    pub async fn remove(&self, name: &str) -> Result<(), Fault> {
        match self {
            Store::Folder(folder) => folder.remove(name).await,
            Store::Bucket(objects) => objects.remove(name).await,
        }
    }
}

/// What is wrong with a file of so many bytes.
pub(super) fn too_large(size: u64, most: u64) -> Fault {
    Fault::File(format!(
        "it has {size} bytes, more than the {most} that are sent to the service (--max-message-size)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_a_bucket() {
        let bucket = |name: &str, prefix: &str| Ok(Place::Bucket(name.to_owned(), prefix.to_owned()));
        assert_eq!("s3://calls/2026/11/".parse(), bucket("calls", "2026/11"));
        assert_eq!("s3://calls".parse(), bucket("calls", ""));
        assert_eq!("/data/calls".parse(), Ok(Place::Folder("/data/calls".into())));
        for bad in ["s3://", "gs://calls", "https://calls", ""] {
            let error = bad.parse::<Place>().unwrap_err();
            assert!(error.contains("s3://BUCKET/PREFIX"), "{bad}: {error}");
        }
    }
}
