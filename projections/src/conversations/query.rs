//! Queries on conversations.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, Row as _};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use event_store::{Batcher, FastPool};

/// A row of the conversation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationRow {
    /// Id of the conversation.
    pub conversation_id: Uuid,
    /// Owner's user id.
    pub owner: Uuid,
    /// Title; `None` if there is none or it was erased.
    pub title: Option<String>,
    /// Whether it is pinned.
    pub pinned: bool,
    /// Whether it is archived.
    pub archived: bool,
    /// Number of messages, including answers.
    pub message_count: i64,
    /// Excerpt of the last message.
    pub last_message: Option<String>,
    /// Time it was started.
    pub created_at: DateTime<Utc>,
    /// Time of the last message.
    pub updated_at: DateTime<Utc>,
    /// Last message that the owner has read.
    pub read_to: Option<Uuid>,
}

/// Reads columns by number, without a check of their types, which the statements fix: on a page both would take longer than
/// reading them.
impl<'r> FromRow<'r, PgRow> for ConversationRow {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            conversation_id: row.try_get_unchecked(0)?,
            owner: row.try_get_unchecked(1)?,
            title: row.try_get_unchecked(2)?,
            pinned: row.try_get_unchecked(3)?,
            archived: row.try_get_unchecked(4)?,
            message_count: row.try_get_unchecked(5)?,
            last_message: row.try_get_unchecked(6)?,
            created_at: row.try_get_unchecked(7)?,
            updated_at: row.try_get_unchecked(8)?,
            read_to: row.try_get_unchecked(9)?,
        })
    }
}

/// Statement of [`page`]: pinned conversations first, then the most recent, each with the total number.
pub const PAGE: &str = "SELECT conversation_id, owner, title, pinned, archived, message_count, last_message, created_at, updated_at, read_to,
         (SELECT count(*) FROM conversations WHERE owner = $1 AND archived = $2)
     FROM conversations WHERE owner = $1 AND archived = $2
     ORDER BY pinned DESC, updated_at DESC, conversation_id LIMIT $3 OFFSET $4";

/// Returns a page of a user's conversations and their total number.
///
/// # Errors
/// Fails if the database does.
pub async fn page(
    pool: impl PgExecutor<'_> + Copy,
    owner: Uuid,
    archived: bool,
    limit: i64,
    offset: i64,
) -> Result<(Vec<ConversationRow>, i64), sqlx::Error> {
    let rows = sqlx::query(PAGE).bind(owner).bind(archived).bind(limit).bind(offset).fetch_all(pool).await?;
    let total = match rows.first() {
        Some(row) => row.try_get(10)?,
        None if offset == 0 => 0,
        // Beyond the last page no row carries the total.
        None => {
            sqlx::query_scalar("SELECT count(*) FROM conversations WHERE owner = $1 AND archived = $2")
                .bind(owner)
                .bind(archived)
                .fetch_one(pool)
                .await?
        }
    };
    Ok((rows.iter().map(ConversationRow::from_row).collect::<Result<_, _>>()?, total))
}

/// Returns one conversation of this owner.
///
/// # Errors
/// Fails if the database does.
pub async fn by_id(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    conversation: Uuid,
) -> Result<Option<ConversationRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT conversation_id, owner, title, pinned, archived, message_count, last_message, created_at, updated_at, read_to
         FROM conversations WHERE conversation_id = $1 AND owner = $2",
    )
    .bind(conversation)
    .bind(owner)
    .fetch_optional(pool)
    .await
}

/// Read position of the owner in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct ReadMark {
    /// The conversation.
    pub conversation_id: Uuid,
    /// Last message read.
    #[sqlx(rename = "read_to")]
    pub message_id: Uuid,
    /// Position of the event.
    #[sqlx(rename = "read_position")]
    pub position: i64,
}

/// Returns at most `limit` read positions that this owner set after position `after`, up to `until`, in order. Omits those
/// that a later one of the same conversation has replaced.
///
/// # Errors
/// Fails if the database does.
pub async fn read_since(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<ReadMark>, sqlx::Error> {
    sqlx::query_as(
        "SELECT conversation_id, read_to, read_position FROM conversations
         WHERE owner = $1 AND read_position > $2 AND read_position <= $3 ORDER BY read_position LIMIT $4",
    )
    .bind(owner)
    .bind(after)
    .bind(until)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// Whether a conversation of this owner has changed its branch after position `after`. Only the last change is stored, so there
/// is no upper bound: a later change would hide an earlier one.
///
/// # Errors
/// Fails if the database does.
pub async fn rewound_since(pool: impl PgExecutor<'_>, owner: Uuid, after: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM conversations WHERE owner = $1 AND rewound_position > $2)")
        .bind(owner)
        .bind(after)
        .fetch_one(pool)
        .await
}

/// Loads conversations by id, batching concurrent calls into one statement. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ConversationLoader {
    pool: FastPool,
    batcher: Batcher<Key, Found>,
}

/// Owner and conversation.
type Key = (Uuid, Uuid);
/// `None` if the statement failed.
type Found = Option<Option<ConversationRow>>;

/// Limits of concurrent statements and of calls per statement.
const MAX_CONCURRENT_BATCHES: usize = 3;
const MAX_BATCH: usize = 64;
/// A call of a failed batch is retried alone if it has waited for less than this: another call may have caused the failure.
const RETRY_ALONE_WITHIN: Duration = Duration::from_secs(1);

impl ConversationLoader {
    /// Creates a loader over `pool`.
    pub fn new(pool: FastPool, tasks: TaskTracker) -> Self {
        Self { pool, batcher: Batcher::new(MAX_CONCURRENT_BATCHES, MAX_BATCH, tasks) }
    }

    /// Returns one conversation of this owner, at least as current as the start of the call.
    ///
    /// # Errors
    /// Fails if the database does.
    pub async fn by_id(
        &self,
        owner: Uuid,
        conversation: Uuid,
    ) -> Result<Option<ConversationRow>, sqlx::Error> {
        let flush = |keys| load_batch(self.pool.clone(), keys);
        let started = Instant::now();
        match self.batcher.run((owner, conversation), flush).await.flatten() {
            Some(found) => Ok(found),
            None if started.elapsed() < RETRY_ALONE_WITHIN => by_id(&self.pool, owner, conversation).await,
            None => Err(sqlx::Error::PoolTimedOut),
        }
    }
}

async fn load_batch(pool: FastPool, keys: Vec<Key>) -> Vec<Found> {
    if let [(owner, conversation)] = *keys.as_slice() {
        return vec![by_id(&pool, owner, conversation).await.ok()];
    }
    let conversations: Vec<Uuid> = keys.iter().map(|(_, conversation)| *conversation).collect();
    let rows = sqlx::query_as(
        "SELECT conversation_id, owner, title, pinned, archived, message_count, last_message, created_at, updated_at, read_to
         FROM conversations WHERE conversation_id = ANY($1)",
    )
    .bind(conversations)
    .fetch_all(&pool)
    .await;
    let Ok(rows) = rows else { return vec![None; keys.len()] };
    let rows: HashMap<Uuid, ConversationRow> =
        rows.into_iter().map(|row: ConversationRow| (row.conversation_id, row)).collect();
    keys.into_iter()
        .map(|(owner, conversation)| Some(rows.get(&conversation).filter(|row| row.owner == owner).cloned()))
        .collect()
}

/// Returns at most `limit` of a user's conversations that are not archived, ordered by their start, newest or
/// oldest first. `after` is the start and id of the conversation before the page.
///
/// # Errors
/// Fails if the database does.
pub async fn by_creation(
    pool: impl PgExecutor<'_>,
    owner: Uuid,
    newest_first: bool,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<ConversationRow>, sqlx::Error> {
    let statement = if newest_first {
        "SELECT conversation_id, owner, title, pinned, archived, message_count, last_message, created_at, updated_at, read_to
         FROM conversations WHERE owner = $1 AND NOT archived
             AND ($2::timestamptz IS NULL OR (created_at, conversation_id) < ($2, $3))
         ORDER BY created_at DESC, conversation_id DESC LIMIT $4"
    } else {
        "SELECT conversation_id, owner, title, pinned, archived, message_count, last_message, created_at, updated_at, read_to
         FROM conversations WHERE owner = $1 AND NOT archived
             AND ($2::timestamptz IS NULL OR (created_at, conversation_id) > ($2, $3))
         ORDER BY created_at, conversation_id LIMIT $4"
    };
    sqlx::query_as(statement)
        .bind(owner)
        .bind(after.map(|(at, _)| at))
        .bind(after.map(|(_, id)| id))
        .bind(limit)
        .fetch_all(pool)
        .await
}
