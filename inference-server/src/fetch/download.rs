//! One file of a source in; the same file on the volume out, its bytes checked. Goes on where an earlier run ended.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::StreamExt;
use reqwest::{
    Response, StatusCode, Url,
    header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_NONE_MATCH, IF_RANGE, RANGE},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    FetchError, bucket,
    client::{Asker, Stop, answered, unanswered},
    listing::{Address, RemoteFile, shown},
    progress::Progress,
    space::Space,
};
use crate::cause::root;

/// What all files of a download share.
pub(super) struct Shared {
    /// Asks.
    pub(super) asker: Asker,
    /// Room on the volume.
    pub(super) space: Space,
    /// How far it is.
    pub(super) progress: Arc<Progress>,
    /// The model's directory to be.
    pub(super) files: PathBuf,
    /// What is known of each file so far, for the next run.
    pub(super) notes: PathBuf,
}

/// What is known of a file that is there in part or whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// Which file it is: its address, version and checksum.
    of: String,
    /// The ETag under which its bytes came, unless it is a weak one.
    etag: Option<String>,
    /// Its bytes, once it is whole.
    whole: Option<u64>,
}

/// Downloads a file, or finds that it is there.
pub(super) async fn download(shared: Arc<Shared>, file: RemoteFile) -> Result<(), FetchError> {
    let announced = file.size.unwrap_or_else(|| left(&shared, &file));
    let job = Job {
        announced: AtomicU64::new(announced),
        target: shared.files.join(&file.path),
        note: shared.notes.join(format!("{}.json", file.path)),
        of: identity(&file),
        shared,
        file,
    };
    for folder in [job.target.parent(), job.note.parent()].into_iter().flatten() {
        fs::create_dir_all(folder).map_err(|e| FetchError::failed("create", folder, &e))?;
    }
    job.shared.asker.persist(|| job.attempt()).await
}

/// Bytes of a file that an earlier run left and that count. What is of another file is removed.
pub(super) fn left(shared: &Shared, file: &RemoteFile) -> u64 {
    let (target, note) = (
        shared.files.join(&file.path),
        shared.notes.join(format!("{}.json", file.path)),
    );
    let length = fs::metadata(&target).map_or(0, |metadata| metadata.len());
    let same = |note: &Note| note.of == identity(file) && note.whole.is_none_or(|whole| whole == length);
    let too_long = file.size.is_some_and(|size| length > size);
    if read_note(&note).as_ref().is_some_and(same) && !too_long {
        return length;
    }
    let _ = fs::remove_file(&target);
    let _ = fs::remove_file(&note);
    0
}

/// Removes a file that nobody vouches for by a checksum, so that the next run asks for it anew.
pub(super) fn forget_unchecked(shared: &Shared, file: &RemoteFile) {
    if file.sha256.is_none() {
        let _ = fs::remove_file(shared.notes.join(format!("{}.json", file.path)));
    }
}

/// The same for the same bytes, and without what may be secret.
fn identity(file: &RemoteFile) -> String {
    match &file.sha256 {
        Some(sha256) => format!("sha256:{sha256}"),
        None => format!("{} {}", shown(file.address.url()), file.version),
    }
}

fn read_note(path: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

struct Job {
    shared: Arc<Shared>,
    file: RemoteFile,
    target: PathBuf,
    note: PathBuf,
    of: String,
    /// Bytes of it for which there is room, and which the progress counts on.
    announced: AtomicU64,
}

impl Job {
    /// One request, or none where the file is whole already.
    async fn attempt(&self) -> Result<(), Stop> {
        let had = left(&self.shared, &self.file);
        let note = read_note(&self.note).unwrap_or_default();
        let whole = note.whole.is_some() || self.file.size.is_some_and(|size| size == had && had > 0);
        let vouched = self.file.sha256.is_some() || !self.file.version.is_empty();
        if whole && vouched {
            return self.finish(&note, self.hashed(had)?, had, true);
        }
        // What nobody can tell from another version is asked for from its beginning.
        let goes_on = !whole && had > 0 && (note.etag.is_some() || self.file.sha256.is_some());
        let offset = if goes_on { had } else { 0 };
        let condition = match note.etag.as_deref().filter(|_| had > 0) {
            Some(etag) if whole => Some((IF_NONE_MATCH, etag)),
            Some(etag) => Some((IF_RANGE, etag)),
            None => None,
        };
        let response = self.ask(offset, condition).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return self.finish(&note, self.hashed(had)?, had, true);
        }
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            self.forget();
            return Err(Stop::again(format!("{} is shorter now", self.shown())));
        }
        // Not every server knows If-Range.
        let another = |etag: &String| note.etag.as_ref().is_some_and(|known| known != etag);
        let start = match response.status() {
            StatusCode::PARTIAL_CONTENT if strong_etag(response.headers()).as_ref().is_some_and(another) => {
                None
            }
            StatusCode::PARTIAL_CONTENT => starts_at(response.headers()).filter(|start| *start == offset),
            _ => Some(0),
        };
        let Some(start) = start else {
            self.forget();
            return Err(Stop::again(format!(
                "{} sends another part than asked for",
                self.shown()
            )));
        };
        self.receive(response, start).await
    }

    async fn ask(&self, offset: u64, condition: Option<(HeaderName, &str)>) -> Result<Response, Stop> {
        let client = &self.shared.asker.client;
        let request = match &self.file.address {
            Address::Open(url) => client.get(url.clone()),
            Address::Bearer(url, token) => client.get(url.clone()).bearer_auth(token.reveal()),
            Address::Signed(store, key, _) => client.get(bucket::signed(store, key).await?),
        };
        // Compressed bytes have no ranges of the file's own.
        let mut request = request.header(ACCEPT_ENCODING, "identity");
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        if let Some((name, etag)) = condition {
            request = request.header(name, etag);
        }
        let response = request.send().await.map_err(|e| unanswered(self.url(), &e))?;
        answered(self.url(), response, &format!("{} does not exist", self.shown()))
    }

    /// Writes what comes behind what is there.
    async fn receive(&self, response: Response, start: u64) -> Result<(), Stop> {
        let length = response.content_length().map(|length| start + length);
        if let (Some(length), Some(size)) = (length, self.file.size)
            && length != size
        {
            self.forget();
            return Err(Stop::Final(
                self.mismatch(format!("{size} bytes"), format!("{length} bytes")),
            ));
        }
        let note = Note {
            of: self.of.clone(),
            etag: strong_etag(response.headers()),
            whole: None,
        };
        let mut hash = self.hashed(start)?;
        let mut file = self.open(start).map_err(|e| self.failed("write", &e))?;
        self.write_note(&note)?;
        let total = length.unwrap_or(start);
        let more = total.saturating_sub(self.announced.fetch_max(total, Ordering::Relaxed));
        self.shared.space.reserve(more)?;
        self.shared.progress.expect(more);
        let (mut at, mut body) = (start, response.bytes_stream());
        while let Some(piece) = body.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return Err(self.broken(&root(&error), at > start)),
            };
            file.write_all(&piece).map_err(|e| self.failed("write", &e))?;
            hash.update(&piece);
            at += piece.len() as u64;
            self.shared.space.written(piece.len() as u64);
            self.shared.progress.came(piece.len() as u64);
        }
        if length.or(self.file.size).is_some_and(|length| at < length) {
            return Err(self.broken("the connection was cut", at > start));
        }
        file.sync_all().map_err(|e| self.failed("sync", &e))?;
        self.finish(&note, hash, at, start > 0)
    }

    /// Checks the whole file. One that was put together from parts, and is wrong, is asked for once more.
    fn finish(&self, note: &Note, hash: Sha256, length: u64, in_parts: bool) -> Result<(), Stop> {
        let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let wrong = match (&self.file.sha256, self.file.size) {
            (Some(expected), _) if *expected != found => {
                Some(self.mismatch(format!("sha256 {expected}"), format!("sha256 {found}")))
            }
            (_, Some(size)) if size != length => {
                Some(self.mismatch(format!("{size} bytes"), format!("{length} bytes")))
            }
            _ => None,
        };
        if let Some(error) = wrong {
            self.forget();
            return Err(match in_parts {
                true => Stop::Again {
                    error,
                    after: None,
                    progressed: false,
                },
                false => Stop::Final(error),
            });
        }
        if note.whole.is_none() {
            let whole = Note {
                whole: Some(length),
                ..note.clone()
            };
            self.write_note(&whole)?;
        }
        Ok(())
    }

    /// The hash of the first bytes of what is there.
    fn hashed(&self, length: u64) -> Result<Sha256, FetchError> {
        let mut hash = Sha256::new();
        if length == 0 {
            return Ok(hash);
        }
        let mut read = || -> io::Result<()> {
            let (mut file, mut piece) = (File::open(&self.target)?.take(length), vec![0; 1 << 16]);
            loop {
                match file.read(&mut piece)? {
                    0 => return Ok(()),
                    n => hash.update(&piece[..n]),
                }
            }
        };
        read().map_err(|e| self.failed("read", &e))?;
        Ok(hash)
    }

    /// The file, cut to its first `length` bytes and ready for more.
    fn open(&self, length: u64) -> io::Result<File> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.target)?;
        let had = file.metadata()?.len();
        if had > length {
            file.set_len(length)?;
            self.lost(had - length);
        }
        file.seek(SeekFrom::Start(length))?;
        Ok(file)
    }

    /// A note that is there is whole, too.
    fn write_note(&self, note: &Note) -> Result<(), FetchError> {
        let beside = self.note.with_extension("new");
        let text = serde_json::json!(note).to_string();
        let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, &self.note));
        written.map_err(|e| FetchError::failed("write", &self.note, &e))
    }

    fn forget(&self) {
        let had = fs::metadata(&self.target).map_or(0, |metadata| metadata.len());
        let _ = fs::remove_file(&self.note);
        let _ = fs::remove_file(&self.target);
        self.lost(had);
    }

    /// These bytes come again; the room that they took was given back just now.
    fn lost(&self, bytes: u64) {
        self.shared.progress.lost(bytes);
        let _ = self.shared.space.reserve(bytes);
    }

    fn broken(&self, cause: &str, progressed: bool) -> Stop {
        Stop::Again {
            error: FetchError::SourceUnreachable(format!("{} broke off: {cause}", self.shown())),
            after: None,
            progressed,
        }
    }

    fn mismatch(&self, expected: String, found: String) -> FetchError {
        FetchError::ChecksumMismatch {
            file: self.file.path.clone(),
            expected,
            found,
        }
    }

    fn failed(&self, what: &str, error: &io::Error) -> FetchError {
        FetchError::failed(what, &self.target, error)
    }

    fn url(&self) -> &Url {
        self.file.address.url()
    }

    fn shown(&self) -> String {
        shown(self.url())
    }
}

/// Where a part begins, by its header `bytes 7-9/10`.
fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    value
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .trim()
        .parse()
        .ok()
}

/// Two files with the same weak ETag may differ in their bytes.
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    let etag = headers.get(ETAG)?.to_str().ok()?;
    etag.starts_with('"').then(|| etag.to_owned())
}
