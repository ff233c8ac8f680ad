//! What of files goes into a prompt: the beginning of texts, and what is known of images and PDFs before they are read.

use aggregates::ids::{FileId, UserId};
use bytes::Bytes;
use event_store::FastPool;
use futures::StreamExt as _;
use projections::files::query::{self, FileRow};

use super::kind::FileKind;
use super::store::{FileStore, Key, StoreError};

/// A file as a prompt can have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// Which file.
    pub file_id: FileId,
    /// Its name; none when it is erased.
    pub name: Option<String>,
    /// Its type.
    pub mime_type: String,
    /// SHA-256 of its bytes, for the provenance of what is made of it.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text {
        /// The text, or its beginning.
        text: String,
        /// Whether the text goes on.
        cut: bool,
    },
    /// An image; [`bytes()`] reads it.
    Image {
        /// How many pixels across and down, where that is known.
        pixels: Option<(u32, u32)>,
    },
    /// A PDF document; [`bytes()`] reads it.
    Pdf,
    /// A text of which nothing more may be taken.
    TooMuch,
}

/// Why contents cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// Not from the database.
    #[error("the files cannot be looked up")]
    Database(#[from] sqlx::Error),
    /// Not from the file store.
    #[error("the file store does not give the files")]
    Store(#[from] StoreError),
}

/// How many characters of texts may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Of one text; what is longer is cut.
    pub each: usize,
    /// Of all texts; the first files come first.
    pub all: usize,
}

/// What is in those of the files that are this person's and stored, in the order of `files`; of texts as much as `budget`
/// allows. Files that are gone, or were never there, are left out.
///
/// # Errors
/// The database or the store does not answer.
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

/// All bytes of a file; none when they are not there.
///
/// # Errors
/// The store does not answer.
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
    tracing::error!(file.id = %file, "the bytes of a stored file are not there");
}

/// Takes a text as far as the budget goes.
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

/// So many bytes of a text that `chars` characters are among them, and one more where it goes on.
async fn head(store: &FileStore, key: &Key, chars: usize) -> Result<Vec<u8>, StoreError> {
    // A character has four bytes at most; a mark at the beginning is none.
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
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_says_so() {
        let text = |text: &str, cut| Content::Text { text: text.to_owned(), cut };
        assert_eq!(beginning("Grüße".as_bytes(), 3), text("Grü", true));
        assert_eq!(beginning("Grüße".as_bytes(), 5), text("Grüße", false));
        assert_eq!(beginning("\u{feff}Grüße".as_bytes(), 9), text("Grüße", false));
        assert_eq!(beginning(b"", 0), text("", false));
        assert_eq!(beginning(b"x", 0), text("", true));
    }
}
