//! Rebuilds a read model from the log and reports whether the old rows were the same. Used by the command line.
//!
//! A rebuild is one transaction. It locks the projection's checkpoint, so that no runner of any process works on the
//! model meanwhile; runners then continue from the new checkpoint. The rows are removed by DELETE,
//! not by TRUNCATE: readers see the old rows until the commit, and are never locked out.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::runner::{MAX_BATCH, Projection};
use event_store::{LogError, LogReader, RecordedEvent};

/// Delay before reading again while an open append holds back events.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Digest of a table's content, independent of the order of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDigest {
    /// Name of the table.
    pub table: &'static str,
    /// Number of rows.
    pub rows: i64,
    /// Sum of the hashes of the rows' text forms, in decimal.
    pub sum: String,
}

/// Result of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildReport {
    /// Number of events replayed.
    pub events: u64,
    /// Position of the model before; `before` and `after` are both taken there.
    pub position_before: i64,
    /// Position of the model now.
    pub position_after: i64,
    /// Digests of the old rows.
    pub before: Vec<TableDigest>,
    /// Digests of the replayed rows at the same position.
    pub after: Vec<TableDigest>,
    /// Whether both are equal. They may differ if text was erased since the old rows were written, or if
    /// the projection's code has changed.
    pub equal: bool,
}

/// Reason why a rebuild failed.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// An event could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The database failed, or an event does not fit into the model.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The model has applied an event that is not in the log: it was built from another log.
    #[error("the model is at position {position}, but the log has no event there")]
    OtherLog {
        /// Position of the model.
        position: i64,
    },
}

/// Empties the tables of `projection` and replays the log into them, on its own connection. `on_progress` gets
/// the position reached and the target, once per batch.
///
/// # Errors
/// See [`RebuildError`]; the old rows and the old checkpoint are kept then.
pub async fn rebuild(
    options: &PgConnectOptions,
    reader: &LogReader,
    projection: &dyn Projection,
    on_progress: impl FnMut(i64, i64),
) -> Result<RebuildReport, RebuildError> {
    let mut connection = PgConnection::connect_with(options).await?;
    let mut transaction = connection.begin().await?;
    // Like the runner: a crash that loses the commit loses rows and checkpoint together.
    sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *transaction).await?;
    let position_before = lock_checkpoint(&mut transaction, projection.name()).await?;
    let before = digests(&mut transaction, projection.tables()).await?;
    for table in projection.tables() {
        sqlx::query(&format!("DELETE FROM {table}")).execute(&mut *transaction).await?;
    }

    let mut replay = Replay { reader, projection, position: 0, events: 0, read: Vec::new(), on_progress };
    let head = reader.last_position().await?;
    replay.to(&mut transaction, position_before, head.max(position_before)).await?;
    let after = digests(&mut transaction, projection.tables()).await?;
    let head = reader.last_position().await?;
    replay.to(&mut transaction, head, head).await?;

    let (events, position_after) = (replay.events, replay.position);
    sqlx::query("UPDATE checkpoints SET position = $2 WHERE projection = $1")
        .bind(projection.name())
        .bind(position_after)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    connection.close().await?;
    Ok(RebuildReport { events, position_before, position_after, equal: before == after, before, after })
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
        // A sum does not depend on the order of rows, so no large table is sorted.
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
    /// Applies every event up to `end`, which is the position of an event (or 0, or already reached).
    async fn to(&mut self, connection: &mut PgConnection, end: i64, head: i64) -> Result<(), RebuildError> {
        while self.position < end {
            if self.read.is_empty() {
                self.read = self
                    .reader
                    .read_after(self.position, i32::try_from(MAX_BATCH).unwrap_or(i32::MAX))
                    .await?;
            }
            let batch = self.read.iter().take_while(|event| event.position <= end).count();
            if batch == 0 {
                self.held_back(connection, end).await?;
                tokio::time::sleep(RETRY_INTERVAL).await;
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

    /// Called when no event up to `end` is readable although the projection has applied one: an open append that was slow to
    /// take its lock holds it back. Fails if the log has no such event at all.
    async fn held_back(&self, connection: &mut PgConnection, end: i64) -> Result<(), RebuildError> {
        let there: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM events WHERE position > $1 AND position <= $2)")
                .bind(self.position)
                .bind(end)
                .fetch_one(connection)
                .await?;
        if there { Ok(()) } else { Err(RebuildError::OtherLog { position: end }) }
    }
}
