//! Where a model comes from in; a verified copy on the volume and a report out. The pod's init step.
//! Loads no graph; never leaves a half-written model behind.
//!
//! ```text
//! bundled, directory            -copy--------------------------------------------.
//! hub, links, bucket -> Listing -download-> files beside the place -verify-> Place -> model
//! ```
//!
//! `listing` says which files a model needs, `client` how a source is asked, `download` brings one file, `remote` all of
//! them, `space` and `progress` count bytes, and `place` makes it a model at once.

mod bucket;
mod client;
mod download;
mod error;
mod hub;
mod links;
mod listing;
mod place;
mod prepack;
mod progress;
mod remote;
mod secret;
mod space;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub use bucket::Prefix;
pub use client::Patience;
pub use error::FetchError;
pub use hub::{HUB, Repository};
pub use links::address;
pub use remote::Remote;
pub use secret::Secret;

use crate::{
    bundled,
    digest::{self, Digest},
    kind::ModelFormat,
    model::{Config, Files, Precision},
    tensors::OnnxFiles,
};
use place::Place;

/// Where the model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A bundled model, by name.
    Bundled(String),
    /// A directory.
    Directory(PathBuf),
    /// Elsewhere.
    Remote(Remote),
}

/// What `parlance-server fetch` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where the model comes from.
    pub source: Source,
    /// What it is.
    pub format: ModelFormat,
    /// Where it goes; `None`: verify it in place.
    pub to: Option<PathBuf>,
    /// Models beside that place that stay there; all others go first. Empty: nothing goes.
    pub keep: Vec<String>,
    /// The digest that it must have, `sha256:<hex>`.
    pub digest: Option<String>,
    /// Also puts its weights in order for a server of this precision on this machine.
    pub prepack: Option<Precision>,
    /// Where the outcome is written as JSON.
    pub report: Option<PathBuf>,
    /// How long a source elsewhere may take to answer.
    pub patience: Patience,
    /// Where a download says how far it is, at `/progress`.
    pub progress: Option<SocketAddr>,
}

/// What a fetched model is; also the report's JSON.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetched {
    /// What its folder holds.
    #[serde(flatten)]
    pub model: Digest,
    /// The URI of a source that is elsewhere, without user and query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The commit that the revision was, where the source has such a thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_revision: Option<String>,
}

/// Copies or downloads the model to where it is asked for (once; under a lock file; atomically) or verifies it in place,
/// and writes the report.
///
/// Nothing is copied when the place already holds a model of the digest asked for, or of the source's digest; nothing is
/// downloaded when it holds what the same source brought before.
pub fn run(request: &Request) -> Result<Fetched, FetchError> {
    let outcome = fetch(request);
    let report = match &outcome {
        Ok(fetched) => serde_json::json!(fetched),
        Err(error) => serde_json::json!({ "reason": error.reason(), "message": error.to_string() }),
    };
    if let Some(path) = &request.report {
        let written = fs::write(path, report.to_string());
        let written = written.map_err(|e| FetchError::Io(format!("failed to write {}: {e}", path.display())));
        return outcome.and_then(|fetched| written.map(|()| fetched));
    }
    outcome
}

fn fetch(request: &Request) -> Result<Fetched, FetchError> {
    let Some(to) = &request.to else {
        let dir = local(&request.source)?;
        let fetched = verify(&dir, request.format, request.digest.as_deref())?;
        return Ok(prepacked(request, &dir, fetched));
    };
    let place = Place::of(to)?;
    let _lock = place.lock()?;
    let fetched = bring(request, &place)?;
    Ok(prepacked(request, to, fetched))
}

/// Puts the model in its place, unless it is there.
fn bring(request: &Request, place: &Place) -> Result<Fetched, FetchError> {
    let (to, expected) = (&place.to, request.digest.as_deref());
    if !request.keep.is_empty() {
        place.make_room(&request.keep)?;
    }
    if let Source::Remote(remote) = &request.source {
        return remote::fetch(remote, place, request);
    }
    if let Some(expected) = expected
        && let Ok(there) = verify(to, request.format, Some(expected))
    {
        return Ok(there); // the source may be gone by now
    }
    let from = local(&request.source)?;
    let fetched = verify(&from, request.format, expected)?;
    if let Ok(there) = verify(to, request.format, Some(&fetched.model.digest)) {
        return Ok(there);
    }
    let same = |copy: &Path| verify(copy, request.format, Some(&fetched.model.digest)).map(drop);
    place.copy(&from, same).inspect_err(|_| place.clear())?;
    Ok(fetched)
}

/// The directory of a source on this machine.
fn local(source: &Source) -> Result<PathBuf, FetchError> {
    match source {
        Source::Bundled(name) => bundled::find(name).map_err(|e| FetchError::SourceNotFound(e.to_string())),
        Source::Directory(dir) if dir.is_dir() => Ok(dir.clone()),
        Source::Directory(dir) => {
            let said = format!("{} is not a directory", dir.display());
            Err(FetchError::SourceNotFound(said))
        }
        Source::Remote(_) => Err(FetchError::Io("a download needs a place to go to".to_owned())),
    }
}

/// Puts the weights of a model in order, where that is asked for.
fn prepacked(request: &Request, dir: &Path, fetched: Fetched) -> Fetched {
    match (request.prepack, request.format) {
        (Some(precision), ModelFormat::Whisper) => prepack::prepack(dir, precision, &fetched.model),
        (Some(_), ModelFormat::Onnx) => {
            tracing::warn!(
                "only a Whisper's weights are prepacked: --prepack does nothing with --format onnx"
            )
        }
        (None, _) => {}
    }
    fetched
}

/// Whether a directory is a model of this format and of the digest expected, if one is.
fn verify(dir: &Path, format: ModelFormat, expected: Option<&str>) -> Result<Fetched, FetchError> {
    let model = match format {
        ModelFormat::Whisper => Files::find(dir, None)
            .and_then(|files| Config::read(&files))
            .map(drop),
        ModelFormat::Onnx => OnnxFiles::find(dir, None).map(drop),
    };
    model.map_err(|e| FetchError::InvalidModel(e.to_string()))?;
    let digest = digest::directory(dir).map_err(|e| FetchError::failed("read", dir, &e))?;
    match expected {
        Some(expected) if expected != digest.digest => Err(FetchError::DigestMismatch {
            expected: expected.to_owned(),
            actual: digest.digest,
        }),
        _ => Ok(Fetched {
            model: digest,
            source: None,
            resolved_revision: None,
        }),
    }
}

#[cfg(test)]
mod tests;
