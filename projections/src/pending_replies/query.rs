//! Queries on what is owed.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A reply that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct PendingReplyRow {
    /// Its id.
    pub reply_id: Uuid,
    /// The conversation it belongs to.
    pub conversation_id: Uuid,
    /// Who asked.
    pub owner: Uuid,
    /// The message that asked.
    pub message_id: Uuid,
    /// Position of the request.
    pub position: i64,
    /// The model wished for.
    pub model: Option<String>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// Until when it must have ended.
    pub deadline: DateTime<Utc>,
    /// The last attempt begun; 0 when there was none.
    pub attempt: i32,
    /// Before when it shall not be tried again.
    pub not_before: Option<DateTime<Utc>>,
    /// Whether the asker can be asked back.
    pub interactive: bool,
}

/// The replies whose turn it is: the oldest of each conversation, not put off, within its deadline, and with no live
/// lease; oldest first.
///
/// # Errors
/// Those of the database.
pub async fn due(pool: impl PgExecutor<'_>, limit: i64) -> Result<Vec<PendingReplyRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT p.* FROM pending_replies p
         WHERE NOT EXISTS (SELECT FROM pending_replies o
                           WHERE o.conversation_id = p.conversation_id AND o.position < p.position)
           AND (p.not_before IS NULL OR p.not_before <= clock_timestamp())
           AND p.deadline > clock_timestamp()
           AND NOT EXISTS (SELECT FROM reply_leases l WHERE l.reply_id = p.reply_id AND l.until > clock_timestamp())
         ORDER BY p.position LIMIT $1",
    )
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// The oldest reply owed in a conversation: the one whose turn it is, or will be when it is no longer put off.
///
/// # Errors
/// Those of the database.
pub async fn next_of(
    pool: impl PgExecutor<'_>,
    conversation: Uuid,
) -> Result<Option<PendingReplyRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM pending_replies WHERE conversation_id = $1 AND deadline > clock_timestamp()
         ORDER BY position LIMIT 1",
    )
    .bind(conversation)
    .fetch_optional(pool)
    .await
}

/// One reply, if it is owed.
///
/// # Errors
/// Those of the database.
pub async fn by_id(pool: impl PgExecutor<'_>, reply: Uuid) -> Result<Option<PendingReplyRow>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM pending_replies WHERE reply_id = $1").bind(reply).fetch_optional(pool).await
}

/// The trace that the request at this position is part of.
///
/// # Errors
/// Those of the database.
pub async fn traceparent(pool: impl PgExecutor<'_>, position: i64) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT metadata ->> 'traceparent' FROM events WHERE position = $1")
        .bind(position)
        .fetch_optional(pool)
        .await
        .map(Option::flatten)
}

/// The replies whose deadline has passed, by the database's clock.
///
/// # Errors
/// Those of the database.
pub async fn overdue(pool: impl PgExecutor<'_>, limit: i64) -> Result<Vec<PendingReplyRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM pending_replies WHERE deadline <= clock_timestamp() ORDER BY position LIMIT $1",
    )
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// How many replies are owed, and for how many seconds the oldest of them has been, by the database's clock.
///
/// # Errors
/// Those of the database.
pub async fn backlog(pool: impl PgExecutor<'_>) -> Result<(i64, f64), sqlx::Error> {
    sqlx::query_as(
        "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(requested_at)), 0)::float8
         FROM pending_replies",
    )
    .fetch_one(pool)
    .await
}
