//! A bundled model or a directory in; a verified copy on the volume and a report out. The pod's init step.
//! Loads no graph; never leaves a half-written model behind.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::{
    bundled, digest,
    model::{Config, Files},
};

/// Where the model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A bundled model, by name.
    Bundled(String),
    /// A directory.
    Directory(PathBuf),
}

/// What `parlance-server fetch` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where the model comes from.
    pub source: Source,
    /// Where it goes; `None`: verify it in place.
    pub to: Option<PathBuf>,
    /// The digest that it must have, `sha256:<hex>`.
    pub digest: Option<String>,
    /// Where the outcome is written as JSON.
    pub report: Option<PathBuf>,
}

/// What a fetched model is; also the report's JSON.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetched {
    /// `sha256:<hex>`.
    pub digest: String,
    /// Bytes of all files.
    pub size_bytes: u64,
    /// Number of files.
    pub files: usize,
}

/// Why a model was not fetched; [`FetchError::reason`] is the word for status.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source is not there.
    #[error("{0}")]
    SourceNotFound(String),
    /// The bytes are not the ones asked for.
    #[error("the model's digest is {actual}, {expected} was asked for")]
    DigestMismatch {
        /// What was asked for.
        expected: String,
        /// What there is.
        actual: String,
    },
    /// The files are no model.
    #[error("{0}")]
    InvalidModel(String),
    /// The volume is full.
    #[error("{0}")]
    NoSpace(String),
    /// Anything else the file system says.
    #[error("{0}")]
    Io(String),
}

impl FetchError {
    /// The CamelCase word of the report.
    pub fn reason(&self) -> &'static str {
        match self {
            FetchError::SourceNotFound(_) => "SourceNotFound",
            FetchError::DigestMismatch { .. } => "DigestMismatch",
            FetchError::InvalidModel(_) => "InvalidModel",
            FetchError::NoSpace(_) => "NoSpace",
            FetchError::Io(_) => "Io",
        }
    }
}

/// Copies the model to where it is asked for (once; under a lock file; atomically) or verifies it in place, and writes
/// the report.
///
/// Nothing is copied when the place already holds a model of the digest asked for, or of the source's digest.
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
    let expected = request.digest.as_deref();
    let Some(to) = &request.to else {
        return verify(&source(request)?, expected);
    };
    let place = Place::of(to)?;
    let _lock = place.lock()?;
    if let Some(expected) = expected
        && let Ok(there) = verify(to, Some(expected))
    {
        return Ok(there); // the source may be gone by now
    }
    let from = source(request)?;
    let fetched = verify(&from, expected)?;
    if let Ok(there) = verify(to, Some(&fetched.digest)) {
        return Ok(there);
    }
    place.copy(&from, &fetched).inspect_err(|_| place.clear())?;
    Ok(fetched)
}

fn source(request: &Request) -> Result<PathBuf, FetchError> {
    match &request.source {
        Source::Bundled(name) => bundled::find(name).map_err(|e| FetchError::SourceNotFound(e.to_string())),
        Source::Directory(dir) if dir.is_dir() => Ok(dir.clone()),
        Source::Directory(dir) => Err(FetchError::SourceNotFound(format!(
            "{} is not a directory",
            dir.display()
        ))),
    }
}

/// Whether a directory is a model of our layout and of the digest expected, if one is.
fn verify(dir: &Path, expected: Option<&str>) -> Result<Fetched, FetchError> {
    let model = Files::find(dir, None).and_then(|files| Config::read(&files));
    model.map_err(|e| FetchError::InvalidModel(e.to_string()))?;
    let digest = digest::directory(dir).map_err(|e| failed("read", dir, &e))?;
    match expected {
        Some(expected) if expected != digest.digest => Err(FetchError::DigestMismatch {
            expected: expected.to_owned(),
            actual: digest.digest,
        }),
        _ => Ok(Fetched {
            digest: digest.digest,
            size_bytes: digest.size_bytes,
            files: digest.files,
        }),
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> FetchError {
    let said = format!("failed to {what} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FetchError::NoSpace(said),
        _ => FetchError::Io(said),
    }
}

/// Where a model goes, and the names beside it on the same volume that getting it there needs.
struct Place {
    to: PathBuf,
    parent: PathBuf,
    lock: PathBuf,
    partial: PathBuf,
    old: PathBuf,
}

impl Place {
    fn of(to: &Path) -> Result<Place, FetchError> {
        let named = to.file_name().zip(to.parent());
        let (name, parent) = named.ok_or_else(|| FetchError::Io(format!("{} has no name", to.display())))?;
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        fs::create_dir_all(parent).map_err(|e| failed("create", parent, &e))?;
        let beside = |ending: &str| parent.join(format!(".{}.{ending}", name.to_string_lossy()));
        Ok(Place {
            to: to.to_owned(),
            parent: parent.to_owned(),
            lock: beside("lock"),
            partial: beside("partial"),
            old: beside("old"),
        })
    }

    /// Waits for other pods that fetch to the same place; the lock ends with the file's handle.
    fn lock(&self) -> Result<File, FetchError> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.lock);
        let file = file.map_err(|e| failed("open", &self.lock, &e))?;
        file.lock().map_err(|e| failed("lock", &self.lock, &e))?;
        Ok(file)
    }

    /// Copies beside the place, makes sure that it is on the disk and the right bytes, and renames.
    fn copy(&self, from: &Path, fetched: &Fetched) -> Result<(), FetchError> {
        self.clear(); // of a run that was killed
        let files = digest::files(from).map_err(|e| failed("read", from, &e))?;
        for file in files {
            let (source, target) = (from.join(&file), self.partial.join(&file));
            copy_file(&source, &target).map_err(|e| failed("write", &target, &e))?;
        }
        verify(&self.partial, Some(&fetched.digest))?;
        sync_folders(&self.partial).map_err(|e| failed("sync", &self.partial, &e))?;
        if self.to.exists() {
            fs::rename(&self.to, &self.old).map_err(|e| failed("move away", &self.to, &e))?;
        }
        fs::rename(&self.partial, &self.to).map_err(|e| failed("rename to", &self.to, &e))?;
        File::open(&self.parent)
            .and_then(|dir| dir.sync_all())
            .map_err(|e| failed("sync", &self.parent, &e))?;
        self.clear();
        Ok(())
    }

    /// Removes what is half-written or replaced. What cannot be removed now is removed by the next run.
    fn clear(&self) {
        let _ = fs::remove_dir_all(&self.partial);
        let _ = fs::remove_dir_all(&self.old);
    }
}

fn copy_file(source: &Path, target: &Path) -> io::Result<()> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::create(target)?;
    io::copy(&mut File::open(source)?, &mut file)?;
    file.sync_all()
}

fn sync_folders(dir: &Path) -> io::Result<()> {
    for entry in walkdir::WalkDir::new(dir) {
        let entry = entry?;
        if entry.file_type().is_dir() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
