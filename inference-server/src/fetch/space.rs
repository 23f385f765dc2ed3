//! Bytes to come in; whether the volume has room for them out. Writes nothing.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use super::FetchError;

/// The room on a volume, less what downloads in progress are going to write.
pub(super) struct Space {
    dir: PathBuf,
    promised: Mutex<u64>,
}

impl Space {
    /// The room of the volume that holds `dir`.
    pub(super) fn of(dir: &Path) -> Space {
        Space {
            dir: dir.to_owned(),
            promised: Mutex::new(0),
        }
    }

    /// Sets aside room for so many bytes, or says how many are missing.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), FetchError> {
        let free = free(&self.dir)?;
        let mut promised = self.promised();
        let needed = promised.saturating_add(bytes);
        if needed > free {
            return Err(FetchError::NoSpace(format!(
                "the model needs {} more on its volume, which has {} left",
                human(needed),
                human(free)
            )));
        }
        *promised = needed;
        Ok(())
    }

    /// So many of the bytes set aside are on the volume now.
    pub(super) fn written(&self, bytes: u64) {
        let mut promised = self.promised();
        *promised = promised.saturating_sub(bytes);
    }

    fn promised(&self) -> std::sync::MutexGuard<'_, u64> {
        self.promised
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Bytes that the volume of a directory has left.
pub(super) fn free(dir: &Path) -> Result<u64, FetchError> {
    let volume = rustix::fs::statvfs(dir).map_err(|e| FetchError::failed("look at", dir, &e.into()))?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
}

/// Bytes as people read them, rounded up.
pub(super) fn human(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        1_000_000..10_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{} GB", bytes.div_ceil(1_000_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_is_not_given_twice() {
        let dir = tempfile::tempdir().unwrap();
        let all = free(dir.path()).unwrap();
        let space = Space::of(dir.path());
        // Less than all: others write to this disk too.
        space.reserve(all / 2).unwrap();
        let error = space.reserve(all).unwrap_err();
        assert_eq!(error.reason(), "NoSpace");
        assert!(error.to_string().starts_with("the model needs "), "{error}");
        space.written(all / 2);
        space.reserve(all / 2).unwrap();
    }

    #[test]
    fn bytes_are_written_as_people_read_them() {
        assert_eq!(human(1), "1 kB");
        assert_eq!(human(480_100_000), "481 MB");
        assert_eq!(human(12_000_000_001), "13 GB");
    }
}
