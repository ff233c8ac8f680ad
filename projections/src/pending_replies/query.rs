//! Queries on pending replies.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A reply that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct PendingReplyRow {
    /// Id of the reply.
    pub reply_id: Uuid,
    /// Conversation of the reply.
    pub conversation_id: Uuid,
    /// User who asked.
    pub owner: Uuid,
    /// Message that asked for the reply.
    pub message_id: Uuid,
    /// Position of the request.
    pub position: i64,
    /// Requested model.
    pub model: Option<String>,
    /// Time of the request.
    pub requested_at: DateTime<Utc>,
    /// Time by which it must have ended.
    pub deadline: DateTime<Utc>,
    /// Last attempt begun; 0 if there was none.
    pub attempt: i32,
    /// Earliest time of the next attempt.
    pub not_before: Option<DateTime<Utc>>,
    /// Whether the client can run tools, answer questions and show widgets.
    pub interactive: bool,
}

/// Returns the replies that are due: the oldest of each conversation, not backing off, within its deadline, and without a live
/// lease; oldest first.
///
/// # Errors
/// Fails if the database does.
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

/// Returns the oldest pending reply of a conversation, also while it backs off.
///
/// # Errors
/// Fails if the database does.
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

/// Returns one reply if it is pending.
///
/// # Errors
/// Fails if the database does.
pub async fn by_id(pool: impl PgExecutor<'_>, reply: Uuid) -> Result<Option<PendingReplyRow>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM pending_replies WHERE reply_id = $1").bind(reply).fetch_optional(pool).await
}

/// Returns the trace context of the request at this position.
///
/// # Errors
/// Fails if the database does.
pub async fn traceparent(pool: impl PgExecutor<'_>, position: i64) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT metadata ->> 'traceparent' FROM events WHERE position = $1")
        .bind(position)
        .fetch_optional(pool)
        .await
        .map(Option::flatten)
}

/// Returns the replies whose deadline has passed, by the database's clock.
///
/// # Errors
/// Fails if the database does.
pub async fn overdue(pool: impl PgExecutor<'_>, limit: i64) -> Result<Vec<PendingReplyRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT * FROM pending_replies WHERE deadline <= clock_timestamp() ORDER BY position LIMIT $1",
    )
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// Returns the number of pending replies and the age of the oldest in seconds, by the database's clock.
///
/// # Errors
/// Fails if the database does.
pub async fn backlog(pool: impl PgExecutor<'_>) -> Result<(i64, f64), sqlx::Error> {
    sqlx::query_as(
        "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(requested_at)), 0)::float8
         FROM pending_replies",
    )
    .fetch_one(pool)
    .await
}
