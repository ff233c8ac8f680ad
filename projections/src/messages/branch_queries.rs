//! Queries on the branches of conversations.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor};
use uuid::Uuid;

use super::branches::number;
use super::query::MessageRow;
use super::visibility::on_path;

/// Length of the excerpt of a message, in characters.
const EXCERPT: i32 = 200;

/// A branch of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct BranchRow {
    /// Number of the branch; the first is 0.
    pub branch: i32,
    /// Branch that it forks from.
    pub parent: Option<i32>,
    /// Last message or item that it shares with its parent, if any.
    pub forked_after: Option<Uuid>,
    /// Message at which it forks.
    pub message_id: Option<Uuid>,
    /// Whether another message replaces that message.
    pub edited: bool,
    /// First message or answer of its own.
    pub first_id: Option<Uuid>,
    /// Role of that message: `user` or `assistant`.
    pub first_role: Option<String>,
    /// Reply that the message asked for, or that it answers.
    pub first_reply_id: Option<Uuid>,
    /// Excerpt of the newest message or answer on its path.
    pub last_message: Option<String>,
    /// Number of messages and answers on its path.
    pub message_count: i64,
    /// Time it began; `None` for the first.
    pub created_at: Option<DateTime<Utc>>,
    /// Whether it is the active branch.
    pub active: bool,
}

/// Returns the branches of a conversation, oldest first; at least one. The caller has checked the owner.
///
/// # Errors
/// Fails if the database does.
pub async fn branches(pool: impl PgExecutor<'_>, conversation: Uuid) -> Result<Vec<BranchRow>, sqlx::Error> {
    // Two partial indexes cover a conversation's rows, so each query uses both. A row's own reply is the one on the active path.
    sqlx::query_as(
        "WITH own AS (
             SELECT branch, count(*), min(position) AS first, max(position) AS last FROM (
                 SELECT branch, position FROM messages WHERE conversation_id = $1 AND is_active
                 UNION ALL
                 SELECT branch, position FROM messages WHERE conversation_id = $1 AND NOT is_active) AS all_of_it
             GROUP BY branch
         ), known AS (
             SELECT branch, parent, forked_after, message_id, edited, shared, created_at, active
             FROM branches WHERE conversation_id = $1
             UNION ALL
             SELECT 0, NULL, NULL, NULL, false, 0, NULL, true
             WHERE NOT EXISTS (SELECT FROM branches WHERE conversation_id = $1)
         )
         SELECT b.branch, b.parent, b.forked_after, b.message_id, b.edited, f.message_id AS first_id, f.role AS first_role,
                coalesce((SELECT a.reply_id FROM reply_requests AS a
                          WHERE a.message_id = f.message_id AND a.branch = b.branch ORDER BY a.position DESC LIMIT 1),
                         f.reply_id) AS first_reply_id, left(coalesce(l.text, s.text), $2) AS last_message,
                b.shared + coalesce(own.count, 0) AS message_count, b.created_at, b.active
         FROM known AS b LEFT JOIN own USING (branch)
             LEFT JOIN LATERAL (
                 SELECT message_id, role, reply_id FROM messages
                 WHERE conversation_id = $1 AND position = own.first AND is_active
                 UNION ALL
                 SELECT message_id, role, reply_id FROM messages
                 WHERE conversation_id = $1 AND branch = b.branch AND position = own.first AND NOT is_active) AS f ON true
             LEFT JOIN LATERAL (
                 SELECT text FROM messages WHERE conversation_id = $1 AND position = own.last AND is_active
                 UNION ALL
                 SELECT text FROM messages WHERE conversation_id = $1 AND branch = b.branch AND position = own.last AND NOT is_active) AS l
                 ON true
             LEFT JOIN messages AS s ON own.last IS NULL AND s.message_id = b.forked_after
         ORDER BY b.branch",
    )
    .bind(conversation)
    .bind(EXCERPT)
    .fetch_all(pool)
    .await
}

/// Returns at most `limit` messages on the path of a branch before `position`, newest first. Empty if the conversation is not
/// the owner's or has no such branch.
///
/// # Errors
/// Fails if the database does.
pub async fn page(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    (conversation, branch): (Uuid, u32),
    position: i64,
    limit: i64,
) -> Result<Vec<MessageRow>, sqlx::Error> {
    let rows = sqlx::query(on_path!(
        "SELECT m.message_id, m.conversation_id, m.position, m.role, m.status, m.text,
                coalesce((SELECT a.reply_id FROM reply_requests AS a JOIN path AS p ON p.branch = a.branch AND a.position <= p.upto
                          WHERE a.message_id = m.message_id ORDER BY a.position DESC LIMIT 1),
                         m.reply_id) AS reply_id, m.in_reply_to, m.model, m.created_at
         FROM path CROSS JOIN LATERAL (
             (SELECT * FROM messages WHERE conversation_id = $1 AND position < $3 AND is_active
                  AND branch = path.branch AND position > path.since AND position <= path.upto
                  ORDER BY position DESC LIMIT $4)
             UNION ALL
             (SELECT * FROM messages WHERE conversation_id = $1 AND position < $3 AND NOT is_active
                  AND branch = path.branch AND position > path.since AND position <= path.upto
                  ORDER BY position DESC LIMIT $4)) AS m
         WHERE EXISTS (SELECT FROM conversations WHERE conversation_id = $1 AND owner = $5)
         ORDER BY m.position DESC LIMIT $4"
    ))
    .bind(conversation)
    .bind(number(branch))
    .bind(position)
    .bind(limit)
    .bind(owner)
    .fetch_all(pool)
    .await?;
    rows.iter().map(MessageRow::from_row).collect()
}

/// Whether a branch is active. Branch 0 is if there is no other.
///
/// # Errors
/// Fails if the database does.
pub async fn is_active(
    pool: impl PgExecutor<'_>,
    conversation: Uuid,
    branch: u32,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT coalesce((SELECT branch FROM branches WHERE conversation_id = $1 AND active), 0) = $2",
    )
    .bind(conversation)
    .bind(number(branch))
    .fetch_one(pool)
    .await
}

/// Whether a conversation has a branch. It always has branch 0.
///
/// # Errors
/// Fails if the database does.
pub async fn is_known(
    pool: impl PgExecutor<'_>,
    conversation: Uuid,
    branch: u32,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT $2 = 0 OR EXISTS (SELECT FROM branches WHERE conversation_id = $1 AND branch = $2)",
    )
    .bind(conversation)
    .bind(number(branch))
    .fetch_one(pool)
    .await
}

/// Returns the position of a message on the active path and the number of messages and answers before it; `None` if it is not
/// on that path.
///
/// # Errors
/// Fails if the database does.
pub async fn place(
    pool: impl PgExecutor<'_>,
    conversation: Uuid,
    message: Uuid,
) -> Result<Option<(i64, i64)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT m.position, (SELECT count(*) FROM messages AS b
                             WHERE b.conversation_id = $1 AND b.position < m.position AND b.is_active)
         FROM messages AS m WHERE m.message_id = $2 AND m.conversation_id = $1 AND m.is_active",
    )
    .bind(conversation)
    .bind(message)
    .fetch_optional(pool)
    .await
}

/// Whether a message, or an item that is not a note, is on an inactive branch of the conversation.
///
/// # Errors
/// Fails if the database does.
pub async fn is_on_inactive_branch(
    pool: impl PgExecutor<'_>,
    conversation: Uuid,
    id: Uuid,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM messages WHERE message_id = $2 AND conversation_id = $1 AND NOT is_active)
             OR EXISTS (SELECT FROM items WHERE item_id = $2 AND conversation_id = $1 AND NOT is_active
                                              AND kind <> 'note')",
    )
    .bind(conversation)
    .bind(id)
    .fetch_one(pool)
    .await
}
