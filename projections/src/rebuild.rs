//! Makes a read model anew from the log, and tells whether the old rows were the same. Called by the command line.
//!
//! All of it is one transaction. It holds the projection's checkpoint, so that no runner of any process works on the
//! model meanwhile; runners find the checkpoint moved afterwards and go on from there. The rows are removed by DELETE,
//! not by TRUNCATE: readers keep seeing the old ones until the commit, and are never locked out.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::runner::{BATCH, Projection};
use event_store::{LogError, LogReader, RecordedEvent};

/// How long to wait before asking again for settled events that an open append holds back.
const RETRY: Duration = Duration::from_millis(20);

/// The content of one table, whatever the order of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDigest {
    /// Which table.
    pub table: &'static str,
    /// How many rows it has.
    pub rows: i64,
    /// The sum of the hashes of the rows' texts, in decimal.
    pub sum: String,
}

/// What a rebuild found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildReport {
    /// How many events were replayed.
    pub events: u64,
    /// The position at which the model stood before; `before` and `after` are both taken there.
    pub stood: i64,
    /// The position at which it stands now.
    pub stands: i64,
    /// The tables as the runner had made them.
    pub before: Vec<TableDigest>,
    /// The tables as the replay made them, at the same position.
    pub after: Vec<TableDigest>,
    /// Whether both are the same. They rightly differ when text was erased since the old rows were written, or when
    /// the projection's code has changed.
    pub equal: bool,
}

/// Why a model was left as it was.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// An event could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The database failed, or an event does not fit into the model.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The model has applied an event that the log does not have: it was made from another log.
    #[error("the model stands at position {stood}, but the log has no event there")]
    OtherLog {
        /// Where the model stands.
        stood: i64,
    },
}

/// Empties the tables of `projection` and replays the log into them, over a connection of its own. `on_progress` gets
/// the position reached and the one aimed at, once a batch.
///
/// # Errors
/// See [`RebuildError`]; the old rows and the old checkpoint are still there then.
pub async fn rebuild(
    options: &PgConnectOptions,
    reader: &LogReader,
    projection: &dyn Projection,
    on_progress: impl FnMut(i64, i64),
) -> Result<RebuildReport, RebuildError> {
    let mut connection = PgConnection::connect_with(options).await?;
    let mut transaction = connection.begin().await?;
    // Like the runner: a crash that takes the commit back takes rows and checkpoint back together.
    sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *transaction).await?;
    let stood = lock_checkpoint(&mut transaction, projection.name()).await?;
    let before = digests(&mut transaction, projection.tables()).await?;
    for table in projection.tables() {
        sqlx::query(&format!("DELETE FROM {table}")).execute(&mut *transaction).await?;
    }

    let mut replay = Replay { reader, projection, position: 0, events: 0, read: Vec::new(), on_progress };
    let head = reader.last_position().await?;
    replay.to(&mut transaction, stood, head.max(stood)).await?;
    let after = digests(&mut transaction, projection.tables()).await?;
    let head = reader.last_position().await?;
    replay.to(&mut transaction, head, head).await?;

    let (events, stands) = (replay.events, replay.position);
    sqlx::query("UPDATE checkpoints SET position = $2 WHERE projection = $1")
        .bind(projection.name())
        .bind(stands)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    connection.close().await?;
    Ok(RebuildReport { events, stood, stands, equal: before == after, before, after })
}

async fn lock_checkpoint(connection: &mut PgConnection, name: &str) -> Result<i64, sqlx::Error> {
    sqlx::query("INSERT INTO checkpoints (projection) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(name)
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar("SELECT position FROM checkpoints WHERE projection = $1 FOR UPDATE")
        .bind(name)
        .fetch_one(connection)
        .await
}

async fn digests(
    connection: &mut PgConnection,
    tables: &[&'static str],
) -> Result<Vec<TableDigest>, sqlx::Error> {
    let mut digests = Vec::with_capacity(tables.len());
    for table in tables {
        // A sum does not depend on the order of the rows, and needs no sorting of a large table.
        let (rows, sum): (i64, String) = sqlx::query_as(&format!(
            "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {table} t"
        ))
        .fetch_one(&mut *connection)
        .await?;
        digests.push(TableDigest { table, rows, sum });
    }
    Ok(digests)
}

struct Replay<'a, F> {
    reader: &'a LogReader,
    projection: &'a dyn Projection,
    /// Position of the last event applied.
    position: i64,
    events: u64,
    /// Events read but not applied yet.
    read: Vec<Arc<RecordedEvent>>,
    on_progress: F,
}

impl<F: FnMut(i64, i64)> Replay<'_, F> {
    /// Applies every event up to `end`, which is the position of an event (or 0, or where the replay stands already).
    async fn to(&mut self, connection: &mut PgConnection, end: i64, head: i64) -> Result<(), RebuildError> {
        while self.position < end {
            if self.read.is_empty() {
                self.read =
                    self.reader.read_after(self.position, i32::try_from(BATCH).unwrap_or(i32::MAX)).await?;
            }
            let batch = self.read.iter().take_while(|event| event.position <= end).count();
            if batch == 0 {
                self.held_back(connection, end).await?;
                tokio::time::sleep(RETRY).await;
                continue;
            }
            let batch: Vec<_> = self.read.drain(..batch).collect();
            self.projection.apply(connection, &batch).await?;
            self.position = batch.last().map_or(self.position, |event| event.position);
            self.events += batch.len() as u64;
            (self.on_progress)(self.position, head);
        }
        Ok(())
    }

    /// Nothing up to `end` was given, although somebody has read it before: an append that was slow to announce itself
    /// holds it back while it is open. Not so when there is nothing at all, settled or not.
    async fn held_back(&self, connection: &mut PgConnection, end: i64) -> Result<(), RebuildError> {
        let there: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM events WHERE position > $1 AND position <= $2)")
                .bind(self.position)
                .bind(end)
                .fetch_one(connection)
                .await?;
        if there { Ok(()) } else { Err(RebuildError::OtherLog { stood: end }) }
    }
}
