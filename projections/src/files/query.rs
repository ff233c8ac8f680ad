//! Queries on files.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct FileRow {
    /// Id of the file.
    pub file_id: Uuid,
    /// Owner's user id.
    pub owner: Uuid,
    /// `announced`, `stored` or `deleted`.
    pub state: String,
    /// Name; `None` if erased or the file is deleted.
    pub name: Option<String>,
    /// Media type.
    pub mime_type: String,
    /// Size in bytes; as announced until it is stored.
    pub size: i64,
    /// SHA-256 of its bytes in hexadecimal digits, once they are stored.
    pub sha256: Option<String>,
    /// Width in pixels, if it is an image.
    pub width: Option<i32>,
    /// Height in pixels, if it is an image.
    pub height: Option<i32>,
    /// Conversation it was sent in.
    pub conversation_id: Option<Uuid>,
    /// Time of the announcement, or of the upload if it was not announced.
    pub created_at: DateTime<Utc>,
    /// Position of its last event.
    pub position: i64,
}

impl FileRow {
    /// Whether its bytes are available.
    pub fn is_stored(&self) -> bool {
        self.state == "stored"
    }

    /// Whether it was deleted, by itself or with its conversation.
    pub fn is_deleted(&self) -> bool {
        self.state == "deleted"
    }
}

/// Returns a file of any owner. The caller has checked access by other means, such as a signed link.
///
/// # Errors
/// Fails if the database does.
pub async fn by_id(pool: impl PgExecutor<'_>, file: Uuid) -> Result<Option<FileRow>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM files WHERE file_id = $1").bind(file).fetch_optional(pool).await
}

/// Returns those of `files` that the user owns and that are not deleted, in the same order.
///
/// # Errors
/// Fails if the database does.
pub async fn owned(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    files: &[Uuid],
) -> Result<Vec<FileRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT f.* FROM unnest($2::uuid[]) WITH ORDINALITY AS wanted(id, place)
         JOIN files AS f ON f.file_id = wanted.id
         WHERE f.owner = $1 AND f.state <> 'deleted' ORDER BY wanted.place",
    )
    .bind(owner)
    .bind(files)
    .fetch_all(pool)
    .await
}

/// Storage used by a user's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Usage {
    /// Number of files, including announced ones.
    pub files: i64,
    /// Total bytes; announced files count with their announced size.
    pub bytes: i64,
}

/// Returns the storage used by a user's files, without one of them (which is about to be stored and was counted as announced).
///
/// # Errors
/// Fails if the database does.
pub async fn usage(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    without: Option<Uuid>,
) -> Result<Usage, sqlx::Error> {
    sqlx::query_as(
        "SELECT count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes FROM files
         WHERE owner = $1 AND state <> 'deleted' AND file_id IS DISTINCT FROM $2",
    )
    .bind(owner)
    .bind(without)
    .fetch_one(pool)
    .await
}

/// Returns the rows of those files that have one, in any order. Used by the sweep.
///
/// # Errors
/// Fails if the database does.
pub async fn known(pool: impl PgExecutor<'_>, files: &[Uuid]) -> Result<Vec<FileRow>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM files WHERE file_id = ANY($1)").bind(files).fetch_all(pool).await
}

/// Cursor of [`deleted_since`]: position and id.
pub type Deleted = (i64, Uuid);

/// Returns at most `limit` files deleted after the cursor, oldest first. Their bytes can be removed.
///
/// # Errors
/// Fails if the database does.
pub async fn deleted_since(
    pool: impl PgExecutor<'_>,
    (position, file): Deleted,
    limit: i64,
) -> Result<Vec<FileRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM files WHERE state = 'deleted' AND (position, file_id) > ($1, $2)
         ORDER BY position, file_id LIMIT $3",
    )
    .bind(position)
    .bind(file)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// Returns the cursor of the last deleted file; the start if there is none.
///
/// # Errors
/// Fails if the database does.
pub async fn last_deleted(pool: impl PgExecutor<'_>) -> Result<Deleted, sqlx::Error> {
    let last: Option<Deleted> = sqlx::query_as(
        "SELECT position, file_id FROM files WHERE state = 'deleted' ORDER BY position DESC, file_id DESC LIMIT 1",
    )
    .fetch_optional(pool)
    .await?;
    Ok(last.unwrap_or_default())
}

/// Returns at most `limit` files that were announced before `before` and not uploaded.
///
/// # Errors
/// Fails if the database does.
pub async fn overdue(
    pool: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<FileRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM files WHERE state = 'announced' AND created_at < $1 ORDER BY created_at LIMIT $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(pool)
    .await
}
