//! Queries on the files.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct FileRow {
    /// Its id.
    pub file_id: Uuid,
    /// Whose.
    pub owner: Uuid,
    /// `announced`, `stored` or `deleted`.
    pub state: String,
    /// Its name; none when it is erased or the file deleted.
    pub name: Option<String>,
    /// Its type.
    pub mime_type: String,
    /// Its size in bytes; as announced, until it is stored.
    pub size: i64,
    /// SHA-256 of its bytes in hexadecimal digits, once they are stored.
    pub sha256: Option<String>,
    /// Pixels across, when it is an image.
    pub width: Option<i32>,
    /// Pixels down, when it is an image.
    pub height: Option<i32>,
    /// The conversation it was sent in.
    pub conversation_id: Option<Uuid>,
    /// When it was announced, or stored without having been announced.
    pub created_at: DateTime<Utc>,
    /// Position of its last event.
    pub position: i64,
}

impl FileRow {
    /// Whether its bytes can be had.
    pub fn is_stored(&self) -> bool {
        self.state == "stored"
    }

    /// Whether it was deleted, by itself or with its conversation.
    pub fn is_deleted(&self) -> bool {
        self.state == "deleted"
    }
}

/// A file, whoever asks. The caller knows by other means that they may: a signed link, or the system itself.
///
/// # Errors
/// Those of the database.
pub async fn by_id(pool: impl PgExecutor<'_>, file: Uuid) -> Result<Option<FileRow>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM files WHERE file_id = $1").bind(file).fetch_optional(pool).await
}

/// Those of the files that this person brought and that are not deleted, in the order of `files`.
///
/// # Errors
/// Those of the database.
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

/// What somebody's files take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Usage {
    /// How many there are, announced ones included.
    pub files: i64,
    /// Their bytes, announced ones as announced.
    pub bytes: i64,
}

/// What the files of a person take, without one of them (which is about to be stored and was counted as announced).
///
/// # Errors
/// Those of the database.
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

/// Those of the files that there are rows of, in no particular order: what a sweep asks.
///
/// # Errors
/// Those of the database.
pub async fn known(pool: impl PgExecutor<'_>, files: &[Uuid]) -> Result<Vec<FileRow>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM files WHERE file_id = ANY($1)").bind(files).fetch_all(pool).await
}

/// A place among the deleted files, in the order of [`deleted_since`]: position and id.
pub type Deleted = (i64, Uuid);

/// At most `limit` files that were deleted after that place, oldest first: whose bytes are to go.
///
/// # Errors
/// Those of the database.
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

/// The place of the last deleted file; the beginning when there is none.
///
/// # Errors
/// Those of the database.
pub async fn last_deleted(pool: impl PgExecutor<'_>) -> Result<Deleted, sqlx::Error> {
    let last: Option<Deleted> = sqlx::query_as(
        "SELECT position, file_id FROM files WHERE state = 'deleted' ORDER BY position DESC, file_id DESC LIMIT 1",
    )
    .fetch_optional(pool)
    .await?;
    Ok(last.unwrap_or_default())
}

/// At most `limit` files that were announced before `before` and whose bytes have not come.
///
/// # Errors
/// Those of the database.
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
