//! A model directory in; its digest, size and number of files out.
//! Reads files in pieces; changes nothing.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use rayon::{
    ThreadPool, ThreadPoolBuilder,
    iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::available_threads;

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Digest {
    /// `sha256:<hex>`.
    pub digest: String,
    /// Bytes of all files.
    pub size_bytes: u64,
    /// Number of files.
    pub files: usize,
}

/// The digest of a model directory: sha256 over the lines `<hex>  <relative path>\n`, sorted by the path's bytes.
///
/// Hidden files do not count; links count as what they point to. Without links, the same as
/// `find . -type f ! -name '.*' -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum` in the directory.
pub fn directory(dir: &Path) -> io::Result<Digest> {
    let (mut lines, mut size_bytes) = (Sha256::new(), 0);
    let files = files(dir)?;
    for (file, hash) in files.iter().zip(hashes(dir, &files)?) {
        let (hash, bytes) = hash?;
        size_bytes += bytes;
        lines.update(hash.as_bytes());
        lines.update(b"  ");
        lines.update(file.as_os_str().as_bytes());
        lines.update(b"\n");
    }
    Ok(Digest {
        digest: format!("sha256:{}", hex(&lines.finalize())),
        size_bytes,
        files: files.len(),
    })
}

/// A file as a look at its directory shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    path: String,
    size_bytes: u64,
    /// Time of its last change: seconds since 1970, and nanoseconds.
    modified: (i64, i64),
}

/// The files that a digest is of, without reading them.
pub(crate) fn seen(dir: &Path) -> io::Result<Vec<Seen>> {
    let see = |path: PathBuf| {
        let metadata = dir.join(&path).metadata()?;
        Ok(Seen {
            path: path.to_string_lossy().into_owned(),
            size_bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    };
    files(dir)?.into_iter().map(see).collect()
}

/// The BLAKE3 hash of bytes in memory, found by several threads.
pub(crate) fn blake3(bytes: &[u8]) -> io::Result<blake3::Hash> {
    let mut hash = blake3::Hasher::new();
    pool()?.install(|| {
        hash.update_rayon(bytes);
    });
    Ok(hash.finalize())
}

/// Files that are read at a time: a disk may be slower than a processor.
const AT_A_TIME: usize = 4;

/// The digest and bytes of each file.
fn hashes(dir: &Path, files: &[PathBuf]) -> io::Result<Vec<io::Result<(String, u64)>>> {
    let hashes = || {
        files
            .par_iter()
            .with_max_len(1)
            .map(|file| hash(&dir.join(file)))
            .collect()
    };
    Ok(pool()?.install(hashes))
}

fn pool() -> io::Result<ThreadPool> {
    let pool = ThreadPoolBuilder::new().num_threads(AT_A_TIME.min(available_threads()));
    pool.build().map_err(io::Error::other)
}

/// What a file system keeps at the root of a volume, readable by root alone.
pub const LOST_AND_FOUND: &str = "lost+found";

/// The regular files of a directory whose names do not begin with a dot, relative to it, sorted by their paths' bytes.
/// A volume's `lost+found` is no part of a model.
pub fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let walk = walkdir::WalkDir::new(dir).follow_links(true).into_iter();
    for entry in walk.filter_entry(|entry| entry.file_name() != LOST_AND_FOUND) {
        let entry = entry?;
        if entry.file_type().is_file() && !entry.file_name().as_bytes().starts_with(b".") {
            files.push(
                entry
                    .path()
                    .strip_prefix(dir)
                    .map_err(io::Error::other)?
                    .to_owned(),
            );
        }
    }
    files.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    Ok(files)
}

fn hash(path: &Path) -> io::Result<(String, u64)> {
    let (mut file, mut hash, mut total) = (File::open(path)?, Sha256::new(), 0);
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((hex(&hash.finalize()), total)),
            n => {
                hash.update(&piece[..n]);
                total += n as u64;
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figure was computed by the shell pipeline of [`directory`].
    #[test]
    fn equals_sha256sum_over_the_sorted_list() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("b.txt", "beta\n");
        write("a/c.txt", "gamma\n");
        write("a-b.txt", "alpha\n");
        write(".hidden", "x");
        let digest = directory(dir.path()).unwrap();
        assert_eq!((digest.size_bytes, digest.files), (17, 3));
        assert_eq!(
            digest.digest,
            "sha256:aabe112190769da5152dac9fa5c9c55343330554e73171123d4038310429722c"
        );
        write(".hidden", "y");
        assert_eq!(directory(dir.path()).unwrap(), digest);
        write("lost+found/1", "z");
        assert_eq!(directory(dir.path()).unwrap(), digest);
        write("b.txt", "Beta\n");
        assert_ne!(directory(dir.path()).unwrap().digest, digest.digest);
    }
}
