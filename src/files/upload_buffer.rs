//! Buffers an upload outside of memory while it is counted and hashed.
//!
//! Uploads are spooled to an unlinked temp file, so the space is reclaimed however the upload ends.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use aws_lc_rs::digest;
use bytes::Bytes;

use super::store::StoreError;
use crate::telemetry::panics::join_error;

/// Size up to which chunks are collected in memory before they are written, in bytes.
const MAX_CHUNK_BYTES: usize = 256 * 1024;

/// Why an upload cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The upload exceeds the limit.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The temp file cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The part of an upload received so far.
#[derive(Debug)]
pub struct UploadBuffer {
    file: Option<std::fs::File>,
    chunks: Vec<u8>,
    size: u64,
    limit: u64,
}

/// A complete upload.
#[derive(Debug, Clone)]
pub struct ReceivedBytes {
    /// Content of the file.
    pub bytes: Bytes,
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: String,
}

impl UploadBuffer {
    /// Creates a buffer for at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { file: None, chunks: Vec::new(), size: 0, limit }
    }

    /// Returns how many bytes have been received.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a chunk. Uploads larger than one chunk are spooled in `folder`, or in the system's temp folder for `None`.
    ///
    /// # Errors
    /// If the limit is exceeded, or the disk is full.
    pub async fn push(&mut self, folder: Option<&Path>, chunk: &[u8]) -> Result<(), UploadError> {
        self.size = self.size.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if self.size > self.limit {
            return Err(UploadError::TooLarge { limit: self.limit });
        }
        self.chunks.extend_from_slice(chunk);
        if self.chunks.len() >= MAX_CHUNK_BYTES {
            let chunks = std::mem::take(&mut self.chunks);
            let (file, folder) = (self.file.take(), folder.map(Path::to_owned));
            let put_down = move || {
                let mut file = match file {
                    Some(file) => file,
                    None => unlinked_file(folder.as_deref())?,
                };
                file.write_all(&chunks)?;
                Ok(file)
            };
            self.file = Some(blocking(put_down).await?);
        }
        Ok(())
    }

    /// Returns the complete upload.
    ///
    /// # Errors
    /// If the temp file cannot be read.
    pub async fn finish(self) -> Result<ReceivedBytes, StoreError> {
        blocking(move || {
            let bytes = match self.file {
                None => self.chunks,
                Some(mut file) => {
                    let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or_default());
                    file.seek(SeekFrom::Start(0))?;
                    file.read_to_end(&mut bytes)?;
                    bytes.extend_from_slice(&self.chunks);
                    bytes
                }
            };
            let sha256 = hex(digest::digest(&digest::SHA256, &bytes).as_ref());
            Ok(ReceivedBytes { bytes: bytes.into(), sha256 })
        })
        .await
    }
}

/// Opens an unlinked temp file.
fn unlinked_file(folder: Option<&Path>) -> io::Result<std::fs::File> {
    match folder {
        Some(folder) if folder.is_dir() => tempfile::tempfile_in(folder),
        Some(_) | None => tempfile::tempfile(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done =
        tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Failed(join_error(&error)))?;
    Ok(done?)
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests;
