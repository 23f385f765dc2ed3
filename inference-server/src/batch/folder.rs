//! A folder, such as a mounted claim: its files in and out. Follows links; passes over what is hidden.

use std::{
    fs::{self, File, Permissions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use axum::body::Bytes;
use futures::{StreamExt, stream::BoxStream};
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_stream::wrappers::ReceiverStream;
use walkdir::{DirEntry, WalkDir};

use super::{
    place::{Fault, Listed, Version, too_large},
    plan::Entry,
};
use crate::digest::LOST_AND_FOUND;

/// What a file is called while it is written.
const PREFIX: &str = ".parlance-";
/// Entries of the list that wait to be taken.
const AHEAD: usize = 1000;

/// A folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// One that must be there.
    pub(super) fn existing(path: &Path) -> Result<Folder, String> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Ok(Folder(path.to_owned())),
            Ok(_) => Err(format!("{} is not a folder", path.display())),
            Err(error) => Err(format!("failed to read {}: {error}", path.display())),
        }
    }

    /// One that is made if it is not there.
    pub(super) fn made(path: &Path) -> Result<Folder, String> {
        let made = fs::create_dir_all(path);
        made.map_err(|error| format!("failed to make {}: {error}", path.display()))?;
        Folder::existing(path)
    }

    /// See [`super::place::Store::list`].
    pub(super) fn list(&self) -> BoxStream<'static, Result<Listed, String>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let root = self.0.clone();
        spawn_blocking(move || {
            let seen = |entry: &DirEntry| entry.depth() == 0 || !passed_over(entry);
            let walk = WalkDir::new(&root).follow_links(true);
            for found in walk.into_iter().filter_entry(seen) {
                // Nobody takes the rest of the list: there is no more to do.
                if let Some(listed) = listed(&root, found)
                    && sender.blocking_send(listed).is_err()
                {
                    return;
                }
            }
        });
        ReceiverStream::new(receiver).boxed()
    }

    /// See [`super::place::Store::read`].
    pub(super) async fn read(&self, name: &str, most: u64) -> Result<(Bytes, Version), Fault> {
        let path = self.0.join(name);
        aside(move || {
            let mut file = File::open(&path).map_err(unread)?;
            let version = version(&file.metadata().map_err(unread)?).map_err(unread)?;
            if version.size > most {
                return Err(too_large(version.size, most));
            }
            let mut bytes = Vec::with_capacity(usize::try_from(version.size).unwrap_or(0));
            let mut file = (&mut file).take(most.saturating_add(1));
            file.read_to_end(&mut bytes).map_err(unread)?;
            Ok((Bytes::from(bytes), version))
        })
        .await
    }

    /// See [`super::place::Store::version`].
    pub(super) async fn version(&self, name: &str) -> Result<Version, Fault> {
        let path = self.0.join(name);
        aside(move || {
            fs::metadata(&path)
                .and_then(|found| version(&found))
                .map_err(unread)
        })
        .await
    }

    /// See [`super::place::Store::write`]. It is on the disk when this returns.
    pub(super) async fn write(&self, name: &str, text: String) -> Result<(), Fault> {
        let path = self.0.join(name);
        aside(move || write(&path, text.as_bytes()).map_err(|error| unwritten(&path, &error))).await
    }

    /// See [`super::place::Store::remove`].
    pub(super) async fn remove(&self, name: &str) -> Result<(), Fault> {
        let path = self.0.join(name);
        aside(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(unwritten(&path, &error)),
            _ => Ok(()),
        })
        .await
    }
}

/// File systems make their callers wait.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        Err(Fault::Now(
            "it was read or written by a thread that panicked".to_owned(),
        ))
    })
}

fn passed_over(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    name.starts_with('.') || name == LOST_AND_FOUND
}

/// What is told of an entry; nothing of folders, and of links that lead nowhere.
fn listed(root: &Path, found: walkdir::Result<DirEntry>) -> Option<Result<Listed, String>> {
    let strange = |path: &Path, why: String| {
        let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
        Some(Ok(Listed::Strange { name, why }))
    };
    let entry = match found {
        Ok(entry) if entry.file_type().is_file() => entry,
        Ok(_) => return None,
        Err(error) => {
            let gone = error
                .io_error()
                .is_some_and(|error| error.kind() == ErrorKind::NotFound);
            let path = error.path().unwrap_or(root);
            return match (gone, error.depth()) {
                (_, 0) => Some(Err(format!("failed to read {}: {error}", root.display()))),
                (true, _) => None,
                (false, _) => strange(path, error.to_string()),
            };
        }
    };
    let path = entry.path();
    let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) else {
        return strange(path, "its name is not UTF-8".to_owned());
    };
    match entry
        .metadata()
        .map_err(io::Error::from)
        .and_then(|found| found.modified())
    {
        Ok(changed) => Some(Ok(Listed::File(Entry {
            name: name.to_owned(),
            changed,
        }))),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => strange(path, error.to_string()),
    }
}

fn version(found: &fs::Metadata) -> io::Result<Version> {
    let changed: SystemTime = found.modified()?;
    Ok(Version {
        size: found.len(),
        changed,
        tag: None,
    })
}

/// Beside its place, and renamed: both are on the disk then.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(PREFIX)
        // As any program's files: less what the process's umask takes away.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

fn unread(error: io::Error) -> Fault {
    match error.kind() {
        ErrorKind::NotFound => Fault::Gone,
        ErrorKind::PermissionDenied => Fault::File(format!("it cannot be read: {error}")),
        _ => Fault::Now(format!("it cannot be read: {error}")),
    }
}

/// A name that the file system does not take is this file's trouble, a full disk everybody's.
fn unwritten(path: &Path, error: &io::Error) -> Fault {
    let said = format!("failed to write {}: {error}", path.display());
    match error.kind() {
        ErrorKind::InvalidFilename
        | ErrorKind::InvalidInput
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::AlreadyExists
        | ErrorKind::DirectoryNotEmpty => Fault::File(said),
        _ => Fault::Place(said),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        os::unix::{ffi::OsStrExt, fs::symlink},
    };

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::made(&dir.path().join("a/b")).unwrap();
        (dir, folder)
    }

    async fn names(folder: &Folder) -> (Vec<String>, Vec<String>) {
        let (mut files, mut strange) = (Vec::new(), Vec::new());
        let mut list = folder.list();
        while let Some(listed) = list.next().await {
            match listed.unwrap() {
                Listed::File(entry) => files.push(entry.name),
                Listed::Strange { name, why } => strange.push(format!("{name}: {why}")),
            }
        }
        files.sort();
        (files, strange)
    }

    #[tokio::test]
    async fn a_list_goes_on_after_what_is_strange_and_passes_over_what_is_hidden() {
        let (_dir, folder) = folder();
        for name in [
            "x.wav",
            "deep/er/y.wav",
            ".hidden/z.wav",
            ".z.wav",
            "lost+found/z.wav",
        ] {
            folder.write(name, "audio".to_owned()).await.unwrap();
        }
        let within = |name: &str| folder.0.join(name);
        fs::write(folder.0.join(OsStr::from_bytes(b"caf\xe9.wav")), "audio").unwrap();
        symlink(within("x.wav"), within("link.wav")).unwrap();
        symlink(within("nowhere"), within("broken.wav")).unwrap();
        symlink(&folder.0, within("deep/loop")).unwrap();
        let (files, mut strange) = names(&folder).await;
        assert_eq!(files, ["deep/er/y.wav", "link.wav", "x.wav"]);
        strange.sort();
        assert_eq!(strange.len(), 2, "{strange:?}");
        assert_eq!(strange[0], "caf\u{fffd}.wav: its name is not UTF-8");
        assert!(strange[1].starts_with("deep/loop: "), "{strange:?}");
    }

    #[tokio::test]
    async fn a_file_is_read_up_to_so_many_bytes_and_shows_when_it_changes() {
        let (_dir, folder) = folder();
        folder.write("x.wav", "12345".to_owned()).await.unwrap();
        let (bytes, version) = folder.read("x.wav", 5).await.unwrap();
        assert_eq!((&bytes[..], version.size), (&b"12345"[..], 5));
        assert_eq!(folder.version("x.wav").await.unwrap(), version);
        assert!(matches!(folder.read("x.wav", 4).await, Err(Fault::File(said)) if said.contains("5 bytes")));
        folder.write("x.wav", "123456".to_owned()).await.unwrap();
        assert_ne!(folder.version("x.wav").await.unwrap(), version);
        folder.remove("x.wav").await.unwrap();
        folder.remove("x.wav").await.unwrap();
        assert_eq!(folder.read("x.wav", 5).await, Err(Fault::Gone));
    }

    #[tokio::test]
    async fn what_is_written_replaces_what_was_there_and_leaves_nothing_beside_it() {
        let (dir, folder) = folder();
        for text in ["first", "second"] {
            folder.write("deep/x.txt", text.to_owned()).await.unwrap();
            assert_eq!(
                fs::read_to_string(dir.path().join("a/b/deep/x.txt")).unwrap(),
                text
            );
        }
        assert_eq!(fs::read_dir(dir.path().join("a/b/deep")).unwrap().count(), 1);
        let mode = fs::metadata(dir.path().join("a/b/deep/x.txt"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o400, 0o400);
        assert_ne!(
            mode & 0o777,
            0o600,
            "others may read it, as far as the umask lets them"
        );
        let long = format!("{}.wav.txt", "x".repeat(250));
        assert!(matches!(
            folder.write(&long, String::new()).await,
            Err(Fault::File(_))
        ));
        let within = folder.write("deep/x.txt/y.txt", String::new()).await;
        assert!(matches!(within, Err(Fault::File(_))), "{within:?}");
        let over = folder.write("deep", String::new()).await;
        assert!(matches!(over, Err(Fault::File(_))), "{over:?}");
    }

    #[test]
    fn recordings_must_be_in_a_folder_that_is_there() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(
            Folder::existing(file.path())
                .unwrap_err()
                .ends_with("is not a folder")
        );
        assert!(
            Folder::existing(Path::new("/no/such"))
                .unwrap_err()
                .contains("/no/such")
        );
        assert!(
            Folder::made(&file.path().join("x"))
                .unwrap_err()
                .contains("failed to make")
        );
    }
}
