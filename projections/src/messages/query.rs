//! Queries on the messages.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A message, or the answer to one.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct MessageRow {
    /// Its id.
    pub message_id: Uuid,
    /// The conversation it stands in.
    pub conversation_id: Uuid,
    /// Position of the event that made it; the cursor of pages.
    pub position: i64,
    /// `user` or `assistant`.
    pub role: String,
    /// `complete`, or for an answer that was not finished `cancelled` or `failed`.
    pub status: String,
    /// The text; none when erased.
    pub text: Option<String>,
    /// The reply it asked for, or is.
    pub reply_id: Option<Uuid>,
    /// The message it answers.
    pub in_reply_to: Option<Uuid>,
    /// The model that wrote it.
    pub model: Option<String>,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// The statement behind [`before`]: the newest messages before a position, newest first.
pub const BEFORE: &str = "SELECT message_id, conversation_id, position, role, status, text, reply_id, in_reply_to, model, created_at
     FROM messages WHERE conversation_id = $1 AND position < $2 ORDER BY position DESC LIMIT $3";

/// At most `limit` messages before `position`, newest first. For the newest of all give `i64::MAX`.
///
/// # Errors
/// Those of the database.
pub async fn before(
    pool: impl PgExecutor<'_>,
    conversation: Uuid,
    position: i64,
    limit: i64,
) -> Result<Vec<MessageRow>, sqlx::Error> {
    sqlx::query_as(BEFORE).bind(conversation).bind(position).bind(limit).fetch_all(pool).await
}

/// At most `limit` messages after `position`, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn after(
    pool: impl PgExecutor<'_>,
    conversation: Uuid,
    position: i64,
    limit: i64,
) -> Result<Vec<MessageRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT message_id, conversation_id, position, role, status, text, reply_id, in_reply_to, model, created_at
         FROM messages WHERE conversation_id = $1 AND position > $2 ORDER BY position LIMIT $3",
    )
    .bind(conversation)
    .bind(position)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// One message of a conversation.
///
/// # Errors
/// Those of the database.
pub async fn by_id(pool: impl PgExecutor<'_>, message: Uuid) -> Result<Option<MessageRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT message_id, conversation_id, position, role, status, text, reply_id, in_reply_to, model, created_at
         FROM messages WHERE message_id = $1",
    )
    .bind(message)
    .fetch_optional(pool)
    .await
}
