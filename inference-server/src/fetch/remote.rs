//! A source elsewhere in; its model on the volume out, downloaded once. A volume that holds what was asked for before needs
//! no network: a restarted pod serves while the source is down.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use super::{
    FetchError, Fetched, Request, bucket,
    client::Asker,
    download::{self, Shared},
    hub, links,
    listing::{self, Listing, RemoteFile},
    place::Place,
    progress::Progress,
    space::{Space, human},
    verify,
};
use crate::kind::ModelFormat;

/// Files that come at a time.
const PARALLEL: usize = 4;

/// The hidden file, outside the digest, in which a model says where it came from.
const ORIGIN: &str = ".source.json";

/// A source that is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// Hugging Face's hub, or a mirror of it.
    HuggingFace(hub::Repository),
    /// Files by their URLs, each as `path=PATH[,sha256=HEX],url=URL`.
    Http(Vec<String>),
    /// A bucket.
    S3(bucket::Prefix),
}

/// Where a model on a volume came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    /// sha256 of what was asked for.
    asked_for: String,
    source: String,
    revision: Option<String>,
    digest: String,
}

/// Downloads the model unless it is there; all under the lock of its place.
pub(super) fn fetch(remote: &Remote, place: &Place, request: &Request) -> Result<Fetched, FetchError> {
    let expected = request.digest.as_deref();
    let asked_for = remote.asked_for();
    if let Some(there) = there(&place.to, request.format, &asked_for, expected) {
        return Ok(there);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(PARALLEL)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|e| FetchError::Io(format!("failed to start threads: {e}")))?;
    let result = runtime.block_on(async {
        let mut ends = signal(SignalKind::terminate())
            .map_err(|e| FetchError::Io(format!("failed to listen for signals: {e}")))?;
        // As the first process of a container it would not hear it otherwise.
        tokio::select! {
            result = bring(remote, place, request) => result,
            _ = ends.recv() => Err(FetchError::Stopped),
        }
    });
    let (listing, shared) = result?;
    let fetched = verify(&shared.files, request.format, expected).inspect_err(|_| {
        for file in &listing.files {
            download::forget_unchecked(&shared, file);
        }
    })?;
    let origin = Origin {
        asked_for,
        source: listing.source,
        revision: listing.revision,
        digest: fetched.model.digest.clone(),
    };
    origin.write(&shared.files)?;
    place.put(&shared.files)?;
    Ok(origin.known(fetched))
}

/// What the place holds, when that is what is asked for.
fn there(to: &Path, format: ModelFormat, asked_for: &str, expected: Option<&str>) -> Option<Fetched> {
    let origin = Origin::read(to);
    let same = origin.as_ref().filter(|origin| origin.asked_for == asked_for);
    let digest = expected.or(same.map(|origin| origin.digest.as_str()))?;
    let fetched = verify(to, format, Some(digest)).ok()?;
    Some(match origin {
        Some(origin) => origin.known(fetched),
        None => fetched,
    })
}

/// Puts all files of the source beside the place.
async fn bring(
    remote: &Remote,
    place: &Place,
    request: &Request,
) -> Result<(Listing, Arc<Shared>), FetchError> {
    let patience = &request.patience;
    let asker = Asker::new(patience.clone())?;
    let listing = match remote {
        Remote::HuggingFace(repository) => repository.list(&asker, request.format).await?,
        Remote::Http(links) => links::list(&links::read(links)?)?,
        Remote::S3(prefix) => prefix.list(patience, request.format).await?,
    };
    listing::check(&listing, request.format)?;
    let (files, notes) = (place.download.join("files"), place.download.join("notes"));
    for folder in [&files, &notes] {
        fs::create_dir_all(folder).map_err(|e| FetchError::failed("create", folder, &e))?;
    }
    remove_others(&files, &listing.files)?;
    let mut shared = Shared {
        asker,
        space: Space::of(&place.download),
        progress: Arc::new(Progress::new(0, 0)),
        files,
        notes,
    };
    let left: u64 = listing
        .files
        .iter()
        .map(|file| download::left(&shared, file))
        .sum();
    let sizes = listing
        .files
        .iter()
        .map(|file| (file.size, download::left(&shared, file)));
    let total: u64 = sizes.map(|(size, left)| size.unwrap_or(left)).sum();
    shared.space.reserve(total.saturating_sub(left))?;
    shared.progress = Arc::new(Progress::new(left, total));
    let (count, source) = (listing.files.len(), &listing.source);
    tracing::info!(%source, "downloading {count} files; {} of {} are here", human(left), human(total));
    let shared = Arc::new(shared);
    let progress = shared.progress.clone();
    tokio::select! {
        result = all(&shared, &listing.files) => result?,
        () = progress.log() => {}
        () = progress.serve(request.progress) => {}
    }
    Ok((listing, shared))
}

/// Downloads the files, some at a time. The first that fails ends the others.
async fn all(shared: &Arc<Shared>, files: &[RemoteFile]) -> Result<(), FetchError> {
    let (mut waiting, mut running) = (files.iter(), JoinSet::new());
    loop {
        while running.len() < PARALLEL
            && let Some(file) = waiting.next()
        {
            running.spawn(download::download(shared.clone(), file.clone()));
        }
        match running.join_next().await {
            None => return Ok(()),
            Some(ended) => ended.map_err(|e| FetchError::Io(format!("a download crashed: {e}")))??,
        }
    }
}

/// Files of an earlier download that are no part of this one.
fn remove_others(dir: &Path, files: &[RemoteFile]) -> Result<(), FetchError> {
    let wanted: Vec<PathBuf> = files.iter().map(|file| dir.join(&file.path)).collect();
    for entry in walkdir::WalkDir::new(dir) {
        let entry = entry.map_err(|e| FetchError::failed("read", dir, &e.into()))?;
        let path = entry.path();
        if !entry.file_type().is_dir() && !wanted.iter().any(|wanted| wanted == path) {
            fs::remove_file(path).map_err(|e| FetchError::failed("remove", path, &e))?;
        }
    }
    Ok(())
}

impl Remote {
    /// sha256 over what is asked for: the same for the same, and telling nothing.
    fn asked_for(&self) -> String {
        let line = match self {
            Remote::HuggingFace(repository) => repository.asked_for(),
            Remote::Http(links) => format!("http {}", links.join(" ")),
            Remote::S3(prefix) => prefix.asked_for(),
        };
        let hash = Sha256::digest(line.as_bytes());
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Origin {
    fn read(dir: &Path) -> Option<Origin> {
        serde_json::from_slice(&fs::read(dir.join(ORIGIN)).ok()?).ok()
    }

    fn write(&self, dir: &Path) -> Result<(), FetchError> {
        let path = dir.join(ORIGIN);
        let written = fs::write(&path, serde_json::json!(self).to_string());
        let written = written.and_then(|()| fs::File::open(&path)?.sync_all());
        written.map_err(|e| FetchError::failed("write", &path, &e))
    }

    fn known(self, fetched: Fetched) -> Fetched {
        Fetched {
            source: Some(self.source),
            resolved_revision: self.revision,
            ..fetched
        }
    }
}
