//! Queries on the conversations.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, Row as _};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use event_store::{Batcher, FastPool};

/// A conversation as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The last message that its owner has read.
    pub read_to: Option<Uuid>,
}

/// Columns by number and without a check of their types, which the statements fix: on a page both take longer than
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

/// The statement behind [`page`]: pinned ones first, then the most recent, each with the number of all.
pub const PAGE: &str = "SELECT conversation_id, owner, title, pinned, archived, message_count, last_message, created_at, updated_at, read_to,
         (SELECT count(*) FROM conversations WHERE owner = $1 AND archived = $2)
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
    let rows = sqlx::query(PAGE).bind(owner).bind(archived).bind(limit).bind(offset).fetch_all(pool).await?;
    let total = match rows.first() {
        Some(row) => row.try_get(10)?,
        None if offset == 0 => 0,
        // Beyond the last page there is no row that could carry the number.
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
        "SELECT conversation_id, owner, title, pinned, archived, message_count, last_message, created_at, updated_at, read_to
         FROM conversations WHERE conversation_id = $1 AND owner = $2",
    )
    .bind(conversation)
    .bind(owner)
    .fetch_optional(pool)
    .await
}

/// How far the owner has read a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct ReadMark {
    /// The conversation.
    pub conversation_id: Uuid,
    /// The last message read.
    #[sqlx(rename = "read_to")]
    pub message_id: Uuid,
    /// Position of the event that says so.
    #[sqlx(rename = "read_position")]
    pub position: i64,
}

/// At most `limit` marks that this owner has set after the position `after`, up to `until`, in their order. A mark that another one of the
/// same conversation has replaced is not among them.
///
/// # Errors
/// Those of the database.
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

/// Whether a conversation of this owner has gone to another branch after the position `after`. Only the last time is kept, so what
/// happened up to another position cannot be asked for: a later one would hide it.
///
/// # Errors
/// Those of the database.
pub async fn rewound_since(pool: impl PgExecutor<'_>, owner: Uuid, after: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM conversations WHERE owner = $1 AND rewound_position > $2)")
        .bind(owner)
        .bind(after)
        .fetch_one(pool)
        .await
}

/// Reads single conversations, those that are wanted at the same moment in one statement. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Single {
    pool: FastPool,
    batcher: Batcher<Wanted, Found>,
}

/// Owner and conversation.
type Wanted = (Uuid, Uuid);
/// None: the statement failed.
type Found = Option<Option<ConversationRow>>;

/// Statements of several readers beside a slow one, and how many readers share one at most.
const BESIDE: usize = 3;
const MOST: usize = 64;
/// Who has waited for less than this is asked for once more alone: the others' trouble need not be theirs.
const AGAIN: Duration = Duration::from_secs(1);

impl Single {
    /// A reader over `pool`.
    pub fn new(pool: FastPool, tasks: TaskTracker) -> Self {
        Self { pool, batcher: Batcher::new(BESIDE, MOST, tasks) }
    }

    /// One conversation of this owner, as it stands after this call began.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn by_id(
        &self,
        owner: Uuid,
        conversation: Uuid,
    ) -> Result<Option<ConversationRow>, sqlx::Error> {
        let go = |wanted| several(self.pool.clone(), wanted);
        let begun = Instant::now();
        match self.batcher.run((owner, conversation), go).await.flatten() {
            Some(found) => Ok(found),
            None if begun.elapsed() < AGAIN => by_id(&self.pool, owner, conversation).await,
            None => Err(sqlx::Error::PoolTimedOut),
        }
    }
}

async fn several(pool: FastPool, wanted: Vec<Wanted>) -> Vec<Found> {
    if let [(owner, conversation)] = *wanted.as_slice() {
        return vec![by_id(&pool, owner, conversation).await.ok()];
    }
    let conversations: Vec<Uuid> = wanted.iter().map(|(_, conversation)| *conversation).collect();
    let rows = sqlx::query_as(
        "SELECT conversation_id, owner, title, pinned, archived, message_count, last_message, created_at, updated_at, read_to
         FROM conversations WHERE conversation_id = ANY($1)",
    )
    .bind(conversations)
    .fetch_all(&pool)
    .await;
    let Ok(rows) = rows else { return vec![None; wanted.len()] };
    let rows: HashMap<Uuid, ConversationRow> =
        rows.into_iter().map(|row: ConversationRow| (row.conversation_id, row)).collect();
    wanted
        .into_iter()
        .map(|(owner, conversation)| Some(rows.get(&conversation).filter(|row| row.owner == owner).cloned()))
        .collect()
}

/// At most `limit` of a user's conversations that are not in the archive, by when they were begun: the newest first, or the
/// oldest. `after` is when one was begun and its id; those beyond it come.
///
/// # Errors
/// Those of the database.
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
