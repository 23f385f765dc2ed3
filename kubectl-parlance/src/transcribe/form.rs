//! A recording and what is asked of it in; the multipart form of the OpenAI API out, read from the file as it is sent.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use crate::error::Error;
use crate::forward::Body;

/// Bytes that are read from the file at a time.
const PIECE: usize = 64 * 1024;

/// A form that is about to be sent.
pub struct Form {
    /// What stands in `Content-Type`.
    pub content_type: String,
    /// Its length in bytes.
    pub length: u64,
    /// Bytes of the file in it.
    pub file_size: u64,
    /// Its bytes.
    pub body: Body,
}

/// The form with the fields and the file; `sent` hears of every piece of the file as it goes.
///
/// # Errors
/// [`Error::File`] when it cannot be opened.
pub async fn form(
    path: &Path,
    fields: &[(&str, String)],
    sent: impl Fn(u64) + Send + Sync + 'static,
) -> Result<Form, Error> {
    let failed = |source| Error::File {
        doing: "read",
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).await.map_err(failed)?;
    let size = file.metadata().await.map_err(failed)?.len();
    let boundary = boundary();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (head, tail) = (head(&boundary, fields, &name), format!("\r\n--{boundary}--\r\n"));
    let length = head.len() as u64 + size + tail.len() as u64;
    let pieces = ReaderStream::with_capacity(file, PIECE).inspect_ok(move |piece| sent(piece.len() as u64));
    let whole = |text: String| stream::iter([Ok(Bytes::from(text))]);
    let all = whole(head).chain(pieces).chain(whole(tail));
    Ok(Form {
        content_type: format!("multipart/form-data; boundary={boundary}"),
        length,
        file_size: size,
        body: BodyExt::boxed(StreamBody::new(all.map_ok(Frame::data))),
    })
}

fn head(boundary: &str, fields: &[(&str, String)], file: &str) -> String {
    let mut head = String::new();
    for (name, value) in fields {
        head.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    // As browsers escape names, by the HTML standard.
    let file = file.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
    head.push_str(&format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    ));
    head
}

/// 128 bits that no recording holds by chance.
fn boundary() -> String {
    let half = || RandomState::new().hash_one(0);
    format!("parlance-{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_form_has_its_fields_its_file_and_the_length_that_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a \"b\".wav");
        let audio = vec![7_u8; PIECE + 5];
        std::fs::write(&path, &audio).unwrap();
        let heard = Arc::new(AtomicU64::new(0));
        let hears = heard.clone();
        let fields = [("language", "en".to_owned()), ("prompt", "a\r\nb".to_owned())];
        let form = form(&path, &fields, move |bytes| {
            hears.fetch_add(bytes, Ordering::Relaxed);
        })
        .await
        .unwrap();
        let boundary = form.content_type.split_once("boundary=").unwrap().1.to_owned();
        let bytes = form.body.collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len() as u64, form.length);
        assert_eq!(heard.load(Ordering::Relaxed), audio.len() as u64);
        let text = String::from_utf8_lossy(&bytes);
        let parts: Vec<&str> = text.split(&format!("--{boundary}")).collect();
        assert_eq!(parts.len(), 5);
        assert_eq!(
            parts[2],
            "\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na\r\nb\r\n"
        );
        assert!(
            parts[3].contains("filename=\"a %22b%22.wav\""),
            "{}",
            &parts[3][..120]
        );
        assert_eq!(parts[4], "--\r\n");
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_named() {
        let error = form(Path::new("/no/such.wav"), &[], |_| ()).await.err().unwrap();
        assert!(
            error.to_string().starts_with("failed to read /no/such.wav: "),
            "{error}"
        );
    }
}
