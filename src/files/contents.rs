//! File contents for a prompt: the beginning of texts, and metadata of images and PDFs before their bytes are read.

use aggregates::ids::{FileId, UserId};
use bytes::Bytes;
use event_store::FastPool;
use futures::StreamExt as _;
use projections::files::query::{self, FileRow};

use super::kind::FileKind;
use super::store::{FileStore, Key, StoreError};

/// A file as a prompt may include it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// The file's id.
    pub file_id: FileId,
    /// File name; `None` when erased.
    pub name: Option<String>,
    /// Type of the file.
    pub mime_type: String,
    /// SHA-256 of the bytes, recorded as provenance of the reply.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
    /// The content, as far as it has been read.
    pub content: Content,
}

/// Content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A text file.
    Text {
        /// The text, or its beginning.
        text: String,
        /// Whether the text is cut.
        cut: bool,
    },
    /// An image; read its bytes with [`bytes()`].
    Image {
        /// Width and height in pixels, if known.
        pixels: Option<(u32, u32)>,
    },
    /// A PDF document; read its bytes with [`bytes()`].
    Pdf,
    /// A text for which the budget has no room left.
    TooMuch,
}

/// Why contents could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// The database query failed.
    #[error("failed to query the files")]
    Database(#[from] sqlx::Error),
    /// The file store failed.
    #[error("failed to read from the file store")]
    Store(#[from] StoreError),
}

/// How many characters of text may be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Limit per text; longer texts are cut.
    pub each: usize,
    /// Limit of all texts; earlier files take precedence.
    pub all: usize,
}

/// Returns the contents of the user's stored files, in the order of `files`; texts as far as `budget` allows. Deleted and
/// unknown files are left out.
///
/// # Errors
/// If the database or the store fails.
pub async fn contents(
    pool: &FastPool,
    store: &FileStore,
    owner: UserId,
    files: &[FileId],
    mut budget: Budget,
) -> Result<Vec<FileContent>, ContentsError> {
    let ids: Vec<uuid::Uuid> = files.iter().map(|file| file.uuid()).collect();
    let mut contents = Vec::new();
    if ids.is_empty() {
        return Ok(contents);
    }
    for row in query::owned(pool, owner.uuid(), &ids).await? {
        let FileRow { file_id, name, mime_type, size, sha256: Some(sha256), width, height, .. } = row else {
            continue;
        };
        let Some(kind) = FileKind::of_mime(&mime_type) else { continue };
        let file_id = FileId::new(file_id);
        let content = if kind == FileKind::Pdf {
            Content::Pdf
        } else if kind.is_image() {
            let side = |side: Option<i32>| side.and_then(|side| u32::try_from(side).ok());
            Content::Image { pixels: side(width).zip(side(height)) }
        } else {
            match text(store, &Key::bytes(file_id, &sha256), &mut budget).await {
                Ok(content) => content,
                Err(StoreError::Missing) => {
                    missing(file_id);
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let size = u64::try_from(size).unwrap_or_default();
        contents.push(FileContent { file_id, name, mime_type, sha256, size, content });
    }
    Ok(contents)
}

/// Returns all bytes of a file, or `None` if the store does not have them.
///
/// # Errors
/// If the store fails.
pub async fn bytes(store: &FileStore, file: &FileContent) -> Result<Option<Bytes>, StoreError> {
    match store.get(&Key::bytes(file.file_id, &file.sha256)).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StoreError::Missing) => {
            missing(file.file_id);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn missing(file: FileId) {
    tracing::error!(file.id = %file, "bytes of a stored file are missing");
}

/// Reads a text as far as the budget allows.
async fn text(store: &FileStore, key: &Key, budget: &mut Budget) -> Result<Content, StoreError> {
    let chars = budget.each.min(budget.all);
    if chars == 0 {
        return Ok(Content::TooMuch);
    }
    let content = beginning(&head(store, key, chars).await?, chars);
    if let Content::Text { text, .. } = &content {
        budget.all = budget.all.saturating_sub(text.chars().count());
    }
    Ok(content)
}

/// Reads enough bytes for `chars` characters, and one more if the text continues.
async fn head(store: &FileStore, key: &Key, chars: usize) -> Result<Vec<u8>, StoreError> {
    // A character has at most four bytes; a byte order mark does not count.
    let enough = chars.saturating_add(2).saturating_mul(4);
    let mut pieces = store.stream(key).await?;
    let mut head = Vec::new();
    while head.len() < enough {
        let Some(piece) = pieces.next().await else { break };
        head.extend_from_slice(&piece?);
    }
    Ok(head)
}

fn beginning(bytes: &[u8], chars: usize) -> Content {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let end = text.char_indices().nth(chars).map(|(at, _)| at);
    Content::Text { text: text[..end.unwrap_or(text.len())].to_owned(), cut: end.is_some() }
}

#[cfg(test)]
mod tests;
