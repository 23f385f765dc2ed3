//! Where a model goes: one lock, one rename. Nobody sees half a model, whoever is killed when.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::FetchError;
use crate::digest;

/// Where a model goes, and the names beside it on the same volume that getting it there needs.
pub(super) struct Place {
    /// The model's directory.
    pub(super) to: PathBuf,
    /// What a download has so far; it stays when the download is cut short.
    pub(super) download: PathBuf,
    parent: PathBuf,
    lock: PathBuf,
    partial: PathBuf,
    old: PathBuf,
}

impl Place {
    /// The place of a directory that may not exist yet; its parent does after this.
    pub(super) fn of(to: &Path) -> Result<Place, FetchError> {
        let named = to.file_name().zip(to.parent());
        let (name, parent) = named.ok_or_else(|| FetchError::Io(format!("{} has no name", to.display())))?;
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        fs::create_dir_all(parent).map_err(|e| FetchError::failed("create", parent, &e))?;
        let beside = |ending: &str| parent.join(format!(".{}.{ending}", name.to_string_lossy()));
        Ok(Place {
            to: to.to_owned(),
            parent: parent.to_owned(),
            lock: beside("lock"),
            download: beside("download"),
            partial: beside("partial"),
            old: beside("old"),
        })
    }

    /// Waits for other pods that fetch to the same place; the lock ends with the file's handle.
    pub(super) fn lock(&self) -> Result<File, FetchError> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.lock);
        let file = file.map_err(|e| FetchError::failed("open", &self.lock, &e))?;
        if file.try_lock().is_err() {
            tracing::info!(path = %self.to.display(), "another process brings the model here; waiting for it");
            file.lock()
                .map_err(|e| FetchError::failed("lock", &self.lock, &e))?;
        }
        Ok(file)
    }

    /// Copies a directory beside the place and renames the copy, once `check` finds it as it should be on the disk.
    pub(super) fn copy(
        &self,
        from: &Path,
        check: impl FnOnce(&Path) -> Result<(), FetchError>,
    ) -> Result<(), FetchError> {
        self.clear(); // of a run that was killed
        let files = digest::files(from).map_err(|e| FetchError::failed("read", from, &e))?;
        for file in files {
            let (source, target) = (from.join(&file), self.partial.join(&file));
            copy_file(&source, &target).map_err(|e| FetchError::failed("write", &target, &e))?;
        }
        check(&self.partial)?;
        self.put(&self.partial)
    }

    /// Makes a whole directory of the same volume, whose files are on the disk, the model.
    pub(super) fn put(&self, whole: &Path) -> Result<(), FetchError> {
        sync_folders(whole).map_err(|e| FetchError::failed("sync", whole, &e))?;
        let _ = fs::remove_dir_all(&self.old); // of a run that was killed
        if self.to.exists() {
            fs::rename(&self.to, &self.old).map_err(|e| FetchError::failed("move away", &self.to, &e))?;
        }
        fs::rename(whole, &self.to).map_err(|e| FetchError::failed("rename to", &self.to, &e))?;
        File::open(&self.parent)
            .and_then(|dir| dir.sync_all())
            .map_err(|e| FetchError::failed("sync", &self.parent, &e))?;
        self.clear();
        // Of this download, or of another source's that nobody goes on with.
        let _ = fs::remove_dir_all(&self.download);
        Ok(())
    }

    /// Removes the other models of this volume but those of these names, and what is left of getting them: they are where
    /// earlier sources went, and would leave no room for this one. Nothing else on the volume is touched.
    pub(super) fn make_room(&self, keep: &[String]) -> Result<(), FetchError> {
        let failed = |error: &std::io::Error| FetchError::failed("look for models in", &self.parent, error);
        for entry in fs::read_dir(&self.parent).map_err(|e| failed(&e))? {
            let path = entry.map_err(|e| failed(&e))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let model = model_of(&name);
            let stays = model.is_none_or(|model| {
                self.to.file_name().is_some_and(|to| to == model) || keep.iter().any(|kept| kept == model)
            });
            if !stays && path.is_dir() {
                tracing::info!(path = %path.display(), "removing a model that is no longer wanted");
                fs::remove_dir_all(&path).map_err(|e| FetchError::failed("remove", &path, &e))?;
            }
        }
        Ok(())
    }

    /// Removes what is half-written or replaced, but no download: the next one goes on with it. What cannot be removed now
    /// is removed by the next run.
    pub(super) fn clear(&self) {
        let _ = fs::remove_dir_all(&self.partial);
        let _ = fs::remove_dir_all(&self.old);
    }
}

/// The model that a folder is, or that one of the hidden folders beside it is for: `model`, or `model-` and hexadecimal digits.
fn model_of(name: &str) -> Option<&str> {
    let model = match name.strip_prefix('.') {
        Some(hidden) => hidden.rsplit_once('.')?.0,
        None => name,
    };
    let hash = model.strip_prefix("model")?;
    let ours = hash.is_empty()
        || hash.strip_prefix('-').is_some_and(|hash| {
            !hash.is_empty()
                && hash
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        });
    ours.then_some(model)
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
