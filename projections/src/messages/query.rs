//! Queries on messages.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, Row as _};
use uuid::Uuid;

/// A message or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Id of the message.
    pub message_id: Uuid,
    /// Conversation it belongs to.
    pub conversation_id: Uuid,
    /// Position of its event; the cursor of pages.
    pub position: i64,
    /// `user` or `assistant`.
    pub role: String,
    /// `complete`; `cancelled` or `failed` for a partial answer.
    pub status: String,
    /// Text; `None` if erased.
    pub text: Option<String>,
    /// Reply that it asked for, or that it answers.
    pub reply_id: Option<Uuid>,
    /// Message that it answers.
    pub in_reply_to: Option<Uuid>,
    /// Model that answered.
    pub model: Option<String>,
    /// Time of the event (UTC).
    pub created_at: DateTime<Utc>,
}

/// Reads columns by number, without a check of their types, which the statements fix: on a page both would take longer than
/// reading them.
impl<'r> FromRow<'r, PgRow> for MessageRow {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            message_id: row.try_get_unchecked(0)?,
            conversation_id: row.try_get_unchecked(1)?,
            position: row.try_get_unchecked(2)?,
            role: row.try_get_unchecked(3)?,
            status: row.try_get_unchecked(4)?,
            text: row.try_get_unchecked(5)?,
            reply_id: row.try_get_unchecked(6)?,
            in_reply_to: row.try_get_unchecked(7)?,
            model: row.try_get_unchecked(8)?,
            created_at: row.try_get_unchecked(9)?,
        })
    }
}

/// Statement of [`page`]: the newest messages before a position, newest first, if the conversation is the owner's.
pub const PAGE: &str = "SELECT message_id, conversation_id, position, role, status, text, reply_id, in_reply_to, model, created_at
     FROM messages WHERE conversation_id = $1 AND position < $2 AND is_active
         AND EXISTS (SELECT FROM conversations WHERE conversation_id = $1 AND owner = $4)
     ORDER BY position DESC LIMIT $3";

/// Returns at most `limit` messages of this owner's conversation before `position`, newest first. Empty if the
/// conversation is unknown or another user's, or has no message there.
///
/// # Errors
/// Fails if the database does.
pub async fn page(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    conversation: Uuid,
    position: i64,
    limit: i64,
) -> Result<Vec<MessageRow>, sqlx::Error> {
    let rows =
        sqlx::query(PAGE).bind(conversation).bind(position).bind(limit).bind(owner).fetch_all(pool).await?;
    rows.iter().map(MessageRow::from_row).collect()
}

/// Statement of [`before`]: the newest messages before a position, newest first.
const BEFORE: &str = "SELECT message_id, conversation_id, position, role, status, text, reply_id, in_reply_to, model, created_at
     FROM messages WHERE conversation_id = $1 AND position < $2 AND is_active ORDER BY position DESC LIMIT $3";

/// Returns at most `limit` messages before `position`, newest first. Pass `i64::MAX` for the newest.
///
/// # Errors
/// Fails if the database does.
pub async fn before(
    pool: impl PgExecutor<'_>,
    conversation: Uuid,
    position: i64,
    limit: i64,
) -> Result<Vec<MessageRow>, sqlx::Error> {
    sqlx::query_as(BEFORE).bind(conversation).bind(position).bind(limit).fetch_all(pool).await
}

/// Result of [`since`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// Up to where the model was when it was read: rows of events after that are not among these.
    pub min_position: i64,
    /// The messages, oldest first.
    pub rows: Vec<MessageRow>,
}

/// Returns at most `limit` messages in all conversations of this owner after position `after`, up to `until`, and at most about
/// `bytes` of text, but at least one message. One statement reads them with the checkpoints: after a crash of the
/// database these may be lower than this process remembers.
///
/// # Errors
/// Fails if the database does.
pub async fn since(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    (after, until): (i64, i64),
    (limit, bytes): (i64, i64),
) -> Result<Since, sqlx::Error> {
    // By conversation: the index has each one's messages in order, so only the new ones are read.
    let rows = sqlx::query(
        "SELECT m.message_id, m.conversation_id, m.position, m.role, m.status, m.text, m.reply_id, m.in_reply_to, m.model,
                m.created_at, s.min_position
         FROM (SELECT coalesce(min(position), 0) AS min_position FROM checkpoints
               WHERE projection IN ('messages', 'conversations')) AS s
         LEFT JOIN (
             SELECT *, sum(octet_length(text)) OVER (ORDER BY position) - octet_length(text) AS before FROM (
                 SELECT m.* FROM conversations AS c CROSS JOIN LATERAL (
                     SELECT * FROM messages
                     WHERE conversation_id = c.conversation_id AND position > $2 AND position <= $3 AND is_active
                     ORDER BY position LIMIT $4) AS m
                 WHERE c.owner = $1 ORDER BY m.position LIMIT $4) AS m) AS m
             ON coalesce(m.before, 0) < $5
         ORDER BY m.position",
    )
    .bind(owner)
    .bind(after)
    .bind(until)
    .bind(limit)
    .bind(bytes)
    .fetch_all(pool)
    .await?;
    let min_position = rows.first().map_or(Ok(0), |row| row.try_get(10))?;
    // Without a message there is still one row, with the checkpoints.
    let found = rows.iter().filter(|row| row.try_get::<Option<Uuid>, _>(0).is_ok_and(|id| id.is_some()));
    Ok(Since { min_position, rows: found.map(MessageRow::from_row).collect::<Result<_, _>>()? })
}

/// Counts this owner's messages and read positions after position `after`, up to `until`; stops at `most`.
///
/// # Errors
/// Fails if the database does.
pub async fn count_since(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    after: i64,
    until: i64,
    most: i64,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT sum(count)::bigint FROM (
         SELECT count(*) FROM (
             SELECT FROM conversations AS c CROSS JOIN LATERAL (
                 SELECT FROM messages WHERE conversation_id = c.conversation_id AND position > $2 AND position <= $3 AND is_active
                 LIMIT $4) AS m
             WHERE c.owner = $1 LIMIT $4) AS missed
         UNION ALL
         SELECT count(*) FROM conversations WHERE owner = $1 AND read_position > $2 AND read_position <= $3) AS counted",
    )
    .bind(owner)
    .bind(after)
    .bind(until)
    .bind(most)
    .fetch_one(pool)
    .await
}

/// Returns one message of this owner.
///
/// # Errors
/// Fails if the database does.
pub async fn of_owner(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    conversation: Uuid,
    message: Uuid,
) -> Result<Option<MessageRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT message_id, conversation_id, position, role, status, text, reply_id, in_reply_to, model, created_at
         FROM messages WHERE message_id = $1 AND conversation_id = $2 AND is_active
             AND EXISTS (SELECT FROM conversations WHERE conversation_id = $2 AND owner = $3)",
    )
    .bind(message)
    .bind(conversation)
    .bind(owner)
    .fetch_optional(pool)
    .await
}

/// Returns one message of a conversation.
///
/// # Errors
/// Fails if the database does.
pub async fn by_id(pool: impl PgExecutor<'_>, message: Uuid) -> Result<Option<MessageRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT message_id, conversation_id, position, role, status, text, reply_id, in_reply_to, model, created_at
         FROM messages WHERE message_id = $1",
    )
    .bind(message)
    .fetch_optional(pool)
    .await
}
