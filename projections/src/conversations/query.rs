//! Queries on the conversations.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A conversation as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ConversationRow {
    /// Its id.
    pub conversation_id: Uuid,
    /// Whose it is.
    pub owner: Uuid,
    /// Its title; none when it has none, or when it is erased.
    pub title: Option<String>,
    /// Whether it stands on top of the list.
    pub pinned: bool,
    /// Whether it is in the archive.
    pub archived: bool,
    /// How many messages it has, answers included.
    pub message_count: i64,
    /// The beginning of its last message.
    pub last_message: Option<String>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When its last message came.
    pub updated_at: DateTime<Utc>,
}

/// The statement behind [`page`]: pinned ones first, then the most recent.
pub const PAGE: &str = "SELECT conversation_id, owner, title, pinned, archived, message_count, last_message, created_at, updated_at
     FROM conversations WHERE owner = $1 AND archived = $2
     ORDER BY pinned DESC, updated_at DESC, conversation_id LIMIT $3 OFFSET $4";

/// A page of a user's conversations, and how many there are in all.
///
/// # Errors
/// Those of the database.
pub async fn page(
    pool: impl PgExecutor<'_> + Copy,
    owner: Uuid,
    archived: bool,
    limit: i64,
    offset: i64,
) -> Result<(Vec<ConversationRow>, i64), sqlx::Error> {
    let rows: Vec<ConversationRow> =
        sqlx::query_as(PAGE).bind(owner).bind(archived).bind(limit).bind(offset).fetch_all(pool).await?;
    let shown = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let total = if shown < limit && (shown > 0 || offset == 0) {
        // The last page: the total is known without counting.
        offset + shown
    } else {
        sqlx::query_scalar("SELECT count(*) FROM conversations WHERE owner = $1 AND archived = $2")
            .bind(owner)
            .bind(archived)
            .fetch_one(pool)
            .await?
    };
    Ok((rows, total))
}

/// One conversation of this owner.
///
/// # Errors
/// Those of the database.
pub async fn by_id(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    conversation: Uuid,
) -> Result<Option<ConversationRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT conversation_id, owner, title, pinned, archived, message_count, last_message, created_at, updated_at
         FROM conversations WHERE conversation_id = $1 AND owner = $2",
    )
    .bind(conversation)
    .bind(owner)
    .fetch_optional(pool)
    .await
}
