//! The file of a form as it arrives in; a [`Source`] out: in memory while it is small, in a file without a name when it is
//! large, so that many uploads at a time cost disk and not memory.

use std::io::Write;

use axum::extract::multipart::{Field, MultipartError};
use tempfile::SpooledTempFile;
use tokio::task::spawn_blocking;
use tokio_util::bytes::BytesMut;

use crate::{audio::Source, status::Failure};

/// The largest upload that is kept in memory.
const IN_MEMORY: usize = 1 << 20;
/// So much is written at once.
const AT_ONCE: usize = 256 << 10;

/// An uploaded file.
#[derive(Debug)]
pub(super) struct Upload(SpooledTempFile);

impl Default for Upload {
    fn default() -> Self {
        Upload(SpooledTempFile::new(IN_MEMORY))
    }
}

impl Upload {
    /// Reads a field to its end.
    pub(super) async fn read(
        mut field: Field<'_>,
        broken: impl Fn(MultipartError) -> Failure,
    ) -> Result<Self, Failure> {
        let mut upload = Upload::default();
        let mut piece = BytesMut::new();
        while let Some(chunk) = field.chunk().await.map_err(&broken)? {
            piece.extend_from_slice(&chunk);
            if piece.len() >= AT_ONCE {
                upload = upload.write(piece.split()).await?;
            }
        }
        upload.write(piece).await
    }

    /// Disks block, so not on a thread that serves others.
    async fn write(self, piece: BytesMut) -> Result<Self, Failure> {
        let mut file = self.0;
        let written = spawn_blocking(move || file.write_all(&piece).map(|()| file)).await;
        match written {
            Ok(Ok(file)) => Ok(Upload(file)),
            Ok(Err(error)) => Err(Failure::Internal(format!(
                "an upload cannot be kept in {}: {error}",
                std::env::temp_dir().display()
            ))),
            Err(panicked) => Err(Failure::Internal(format!("a worker panicked: {panicked}"))),
        }
    }

    /// Its bytes, from the start.
    pub(super) fn into_source(self) -> Source {
        match self.0.into_inner() {
            tempfile::SpooledData::InMemory(bytes) => Source::Memory(bytes.into_inner().into()),
            tempfile::SpooledData::OnDisk(file) => Source::file(file),
        }
    }
}
