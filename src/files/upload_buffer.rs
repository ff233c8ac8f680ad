//! A file that is on its way in: gathered outside of memory, counted and hashed as it comes.
//!
//! What has come lies in a file without a name: whatever ends the upload, the system takes its room back.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use aws_lc_rs::digest;
use bytes::Bytes;

use super::store::StoreError;
use crate::telemetry::panics::broken_off;

/// Below this, pieces are gathered before they are written, in bytes.
const PIECE: usize = 256 * 1024;

/// Why more is not taken.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// There is more than is allowed.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The most that is allowed, in bytes.
        limit: u64,
    },
    /// It cannot be put down.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What has come so far.
#[derive(Debug)]
pub struct Incoming {
    file: Option<std::fs::File>,
    pieces: Vec<u8>,
    size: u64,
    limit: u64,
}

/// A file that has come whole.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Its bytes.
    pub bytes: Bytes,
    /// Their SHA-256, in hexadecimal digits.
    pub sha256: String,
}

impl Incoming {
    /// Takes at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { file: None, pieces: Vec::new(), size: 0, limit }
    }

    /// How many bytes have come.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes one more piece. Uploads are gathered in `folder` (none: where the system has room for such) once they are
    /// larger than a piece.
    ///
    /// # Errors
    /// It is too much, or there is no room.
    pub async fn push(&mut self, folder: Option<&Path>, piece: &[u8]) -> Result<(), IncomingError> {
        self.size = self.size.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if self.size > self.limit {
            return Err(IncomingError::TooLarge { limit: self.limit });
        }
        self.pieces.extend_from_slice(piece);
        if self.pieces.len() >= PIECE {
            let pieces = std::mem::take(&mut self.pieces);
            let (file, folder) = (self.file.take(), folder.map(Path::to_owned));
            let put_down = move || {
                let mut file = match file {
                    Some(file) => file,
                    None => unnamed(folder.as_deref())?,
                };
                file.write_all(&pieces)?;
                Ok(file)
            };
            self.file = Some(blocking(put_down).await?);
        }
        Ok(())
    }

    /// All of it.
    ///
    /// # Errors
    /// It cannot be read again.
    pub async fn whole(self) -> Result<Arrived, StoreError> {
        blocking(move || {
            let bytes = match self.file {
                None => self.pieces,
                Some(mut file) => {
                    let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or_default());
                    file.seek(SeekFrom::Start(0))?;
                    file.read_to_end(&mut bytes)?;
                    bytes.extend_from_slice(&self.pieces);
                    bytes
                }
            };
            let sha256 = hex(digest::digest(&digest::SHA256, &bytes).as_ref());
            Ok(Arrived { bytes: bytes.into(), sha256 })
        })
        .await
    }
}

/// A file that nobody can open by name.
fn unnamed(folder: Option<&Path>) -> io::Result<std::fs::File> {
    match folder {
        Some(folder) if folder.is_dir() => tempfile::tempfile_in(folder),
        Some(_) | None => tempfile::tempfile(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done =
        tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Failed(broken_off(&error)))?;
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
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_come_together_in_memory_and_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        for (piece, count) in [(10, 3), (100_000, 7), (PIECE, 2), (PIECE + 1, 1)] {
            let mut incoming = Incoming::new(1_000_000);
            let mut expected = Vec::new();
            for n in 0..count {
                let bytes = vec![u8::try_from(n).unwrap(); piece];
                incoming.push(Some(folder.path()), &bytes).await.unwrap();
                expected.extend(bytes);
            }
            assert_eq!(incoming.size(), u64::try_from(expected.len()).unwrap());
            assert_eq!(incoming.whole().await.unwrap().bytes, expected);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing has a name");
    }

    #[tokio::test]
    async fn the_hash_is_that_of_the_bytes() {
        let mut incoming = Incoming::new(3);
        incoming.push(None, b"abc").await.unwrap();
        assert_eq!(
            incoming.whole().await.unwrap().sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[tokio::test]
    async fn one_byte_too_many_is_refused() {
        let mut incoming = Incoming::new(4);
        incoming.push(None, b"abcd").await.unwrap();
        assert!(matches!(incoming.push(None, b"e").await, Err(IncomingError::TooLarge { limit: 4 })));
    }
}
