//! The API keys of a file, one a line, in; whether a request has one of them out. The file is read again when it changes, so keys
//! are rotated without a restart. Only digests of keys are kept, and compared: how long that takes tells nothing of a key.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use sha2::{Digest, Sha256};

use crate::status::Failure;

/// How long what was read is believed before the file is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What browsers, which cannot set a header for a WebSocket, put before the key in the protocol's name.
const IN_PROTOCOL: &str = "openai-insecure-api-key.";

/// The keys that are let in.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    digests: HashSet<[u8; 32]>,
    changed: Option<SystemTime>,
    looked: Instant,
}

impl Keys {
    /// Reads the file. Empty lines and lines that begin with # are no keys.
    pub fn open(path: &Path) -> io::Result<Self> {
        let read = Read {
            digests: read(path)?,
            changed: changed(path),
            looked: Instant::now(),
        };
        Ok(Keys {
            path: path.to_owned(),
            read: Mutex::new(read),
        })
    }

    /// Lets a request with a key in, by `authorization: Bearer KEY`, `x-api-key: KEY`, or the name of a WebSocket protocol.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let Some(key) = key_of(headers) else {
            return Err(Failure::Unauthenticated(
                "an API key is needed: send it as authorization: Bearer KEY",
            ));
        };
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let mut read = self
            .read
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.look_again(&mut read);
        if read.digests.contains(&digest) {
            Ok(())
        } else {
            Err(Failure::Unauthenticated(
                "the API key is not one of this server's",
            ))
        }
    }

    /// A file that cannot be read leaves the keys as they are: a mount that is being replaced locks nobody out.
    fn look_again(&self, read: &mut Read) {
        if read.looked.elapsed() < LOOK_EVERY {
            return;
        }
        read.looked = Instant::now();
        let now = changed(&self.path);
        if now == read.changed {
            return;
        }
        match self::read(&self.path) {
            Ok(digests) => {
                tracing::info!(keys = digests.len(), "the API keys were read again");
                (read.digests, read.changed) = (digests, now);
            }
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "the API keys cannot be read again")
            }
        }
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn read(path: &Path) -> io::Result<HashSet<[u8; 32]>> {
    let text = fs::read_to_string(path)?;
    let lines = text.lines().map(str::trim);
    let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(keys.map(|key| Sha256::digest(key.as_bytes()).into()).collect())
}

fn key_of(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let protocol = || {
        let offered = text("sec-websocket-protocol")?.split(',').map(str::trim);
        offered.filter_map(|name| name.strip_prefix(IN_PROTOCOL)).next()
    };
    bearer
        .or_else(|| text("x-api-key"))
        .or_else(protocol)
        .filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )])
    }

    #[test]
    fn keys_come_in_any_of_the_usual_headers_and_change_with_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "# ours\n first-key \n\nsecond\n").unwrap();
        let keys = Keys::open(file.path()).unwrap();
        for (name, value) in [
            ("authorization", "Bearer first-key"),
            ("authorization", "bearer second"),
            ("x-api-key", "second"),
            (
                "sec-websocket-protocol",
                "realtime, openai-insecure-api-key.first-key",
            ),
        ] {
            assert_eq!(keys.check(&with(name, value)), Ok(()), "{name}: {value}");
        }
        for (name, value) in [
            ("authorization", "Bearer third"),
            ("authorization", "Basic second"),
            ("authorization", "Bearer # ours"),
            ("x-api-key", ""),
            ("accept", "second"),
        ] {
            assert!(keys.check(&with(name, value)).is_err(), "{name}: {value}");
        }
        fs::write(file.path(), "third\n").unwrap();
        // As if the file had been looked at, and written, long ago.
        let mut read = keys.read.lock().unwrap();
        (read.looked, read.changed) = (Instant::now().checked_sub(LOOK_EVERY * 2).unwrap(), None);
        drop(read);
        assert_eq!(keys.check(&with("x-api-key", "third")), Ok(()));
        assert!(keys.check(&with("x-api-key", "second")).is_err());
    }
}
