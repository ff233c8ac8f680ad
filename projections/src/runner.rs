//! Applies the log to one read model: rows and checkpoint in one transaction.
//!
//! The holder of the checkpoint's row lock owns the projection for that batch, so any number of processes may run the
//! same projection. The transaction commits asynchronously (`SET LOCAL` only, so that nothing leaks into an append):
//! after a crash of the database a model steps back together with its checkpoint, and catches up.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aggregates::Event;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tokio_util::sync::CancellationToken;

use crate::progress::ProjectionProgress;
use event_store::{LogError, LogTail, RecordedEvent, error_chain};

/// Maximum number of events per transaction.
pub const MAX_BATCH: usize = 500;
/// Delay before a failed projection retries.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Delay before a projection retries an event that it cannot apply.
const POISON_RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Idle time after which the checkpoint moves past events that the projection does not handle.
const IDLE_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum number of positions that the checkpoint may lag because of events that the projection does not handle.
const MAX_UNSAVED_POSITIONS: i64 = 1_000;

/// Number of idle intervals between two reads of the checkpoint.
const IDLE_INTERVALS_PER_READ: u32 = 4;

/// Future of [`Projection::apply`].
pub type ApplyFuture<'a> = Pin<Box<dyn Future<Output = Result<(), sqlx::Error>> + Send + 'a>>;

/// Projects events to the rows of a read model. No clock, random ids or serials: a replay must yield the same rows.
pub trait Projection: Send + Sync + 'static {
    /// Name of the projection and of its checkpoint.
    fn name(&self) -> &'static str;
    /// Whether the projection writes rows for this event. Other events need no transaction.
    fn handles(&self, _event: &Event) -> bool {
        true
    }
    /// Tables that it owns and that a rebuild empties.
    fn tables(&self) -> &'static [&'static str];
    /// Applies these events in order, in the transaction that is open on `connection`.
    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        events: &'a [Arc<RecordedEvent>],
    ) -> ApplyFuture<'a>;
}

/// Reason why a batch was not applied.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl RunError {
    /// Whether retrying the event cannot help.
    fn is_poison(&self) -> bool {
        match self {
            Self::Log(LogError::Undecodable { .. } | LogError::Undecryptable { .. }) => true,
            Self::Log(LogError::Database(_)) => false,
            Self::Database(error) => error.as_database_error().is_some_and(|error| {
                // Class 22 (data exception), 23 (constraint) and 54 (limit exceeded): the event itself does not fit.
                error
                    .code()
                    .is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
            }),
        }
    }
}

/// Runs `projection` until `stop`, following `tail` on its own connection.
pub async fn run(
    projection: Arc<dyn Projection>,
    tail: LogTail,
    options: PgConnectOptions,
    progress: ProjectionProgress,
    stop: CancellationToken,
) {
    let name = projection.name();
    // Registered from the start, so that an alert sees the first increase.
    metrics::counter!("verbatim_projection_failures_total", "projection" => name).increment(0);
    while !stop.is_cancelled() {
        let outcome = tokio::select! {
            outcome = follow(projection.as_ref(), &tail, &options, &progress) => outcome,
            () = stop.cancelled() => return,
        };
        let Err(error) = outcome;
        let poison = error.is_poison();
        progress.set_stopped(name, poison);
        metrics::gauge!("verbatim_projection_stopped", "projection" => name).set(f64::from(u8::from(poison)));
        metrics::counter!("verbatim_projection_failures_total", "projection" => name).increment(1);
        tracing::error!(projection = name, poison, error = %error, cause = error_chain(&error), "projection failed");
        let pause = if poison { POISON_RETRY_INTERVAL } else { RETRY_INTERVAL };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Next step of a projection.
enum Step {
    /// More events, or the reason why they cannot be read.
    Events(Result<Vec<Arc<RecordedEvent>>, LogError>),
    /// The checkpoint is not at the position that this process expected.
    Moved(i64),
}

async fn follow(
    projection: &dyn Projection,
    tail: &LogTail,
    options: &PgConnectOptions,
    progress: &ProjectionProgress,
) -> Result<std::convert::Infallible, RunError> {
    let name = projection.name();
    let mut connection = connect(options).await?;
    sqlx::query("INSERT INTO checkpoints (projection) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(name)
        .execute(&mut connection)
        .await?;
    let checkpoint_position: i64 =
        sqlx::query_scalar("SELECT position FROM checkpoints WHERE projection = $1")
            .bind(name)
            .fetch_one(&mut connection)
            .await?;
    progress.set(name, checkpoint_position);
    let mut subscription = tail.subscribe(checkpoint_position);
    // The stored checkpoint, and the position seen by this process: events that the projection does not handle need no
    // transaction. After a crash in between they are read once more.
    let mut written = checkpoint_position;
    let mut seen = checkpoint_position;
    loop {
        // A slow read is never cancelled: it would only start over.
        let step = {
            let next = subscription.next(MAX_BATCH);
            tokio::pin!(next);
            let mut idle: u32 = 0;
            loop {
                tokio::select! {
                    events = &mut next => break Step::Events(events),
                    () = tokio::time::sleep(IDLE_INTERVAL) => {}
                }
                idle = idle.wrapping_add(1);
                let found = if seen > written {
                    move_checkpoint(name, &mut connection, written, seen).await?
                } else if idle.is_multiple_of(IDLE_INTERVALS_PER_READ) {
                    // A crash of the database moves the model back with the checkpoint, and a dead
                    // connection is noticed only when it is used.
                    checkpoint(name, &mut connection).await?
                } else {
                    continue;
                };
                if found != seen {
                    break Step::Moved(found);
                }
                written = found;
            }
        };
        let events = match step {
            Step::Events(events) => events,
            Step::Moved(found) => {
                subscription.seek(found);
                (written, seen) = (found, found);
                progress.set(name, found);
                continue;
            }
        };
        let events = events?;
        let Some(last) = events.last().map(|event| event.position) else { continue };
        if last - written < MAX_UNSAVED_POSITIONS
            && !events.iter().any(|event| projection.handles(&event.event))
        {
            seen = last;
            record_position(name, progress, seen);
            continue;
        }
        let found = match apply_batch(projection, &mut connection, written, &events).await {
            Ok(found) => found,
            Err(error) => {
                let error = RunError::from(error);
                if !error.is_poison() || events.len() == 1 {
                    return Err(error);
                }
                // One event of the batch cannot be applied: apply those before it, and stop exactly at it.
                connection = connect(options).await?;
                let mut at = written;
                for event in &events {
                    at = apply_batch(projection, &mut connection, at, std::slice::from_ref(event)).await?;
                    progress.set(name, at);
                    if at != event.position {
                        // Another process moved the checkpoint: the next event of this batch may not be the next one.
                        break;
                    }
                }
                at
            }
        };
        if found != last {
            // Another process has moved the checkpoint: continue from there.
            subscription.seek(found);
        }
        (written, seen) = (found, found);
        record_position(name, progress, found);
    }
}

/// Opens the projection's connection. Its few statements never change, so they are planned once.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    connection.execute("SET plan_cache_mode = force_generic_plan").await?;
    Ok(connection)
}

/// Records that a projection has reached `position` and is not stopped.
fn record_position(name: &'static str, progress: &ProjectionProgress, position: i64) {
    progress.set(name, position);
    progress.set_stopped(name, false);
    metrics::gauge!("verbatim_projection_position", "projection" => name).set(position as f64);
    metrics::gauge!("verbatim_projection_stopped", "projection" => name).set(0.0);
}

/// Moves the checkpoint past events that the projection does not handle, if it is still at `expected`; returns the
/// checkpoint afterwards.
async fn move_checkpoint(
    name: &str,
    connection: &mut PgConnection,
    expected: i64,
    position: i64,
) -> Result<i64, sqlx::Error> {
    let moved = format!(
        "BEGIN; SET LOCAL synchronous_commit = off; \
         UPDATE checkpoints SET position = {position} WHERE projection = '{name}' AND position = {expected}; COMMIT"
    );
    connection.execute(moved.as_str()).await?;
    checkpoint(name, connection).await
}

/// Reads the checkpoint.
async fn checkpoint(name: &str, connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let found = format!("SELECT position FROM checkpoints WHERE projection = '{name}'");
    connection.fetch_one(found.as_str()).await?.try_get("position")
}

/// Begins a batch. A process that hangs in the middle of one holds the checkpoint's row: the server ends its
/// session soon, so that another process can go on.
const BEGIN: &str =
    "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL idle_in_transaction_session_timeout = '1s'";

/// Applies `events` if the checkpoint is still at `expected`; returns the checkpoint afterwards.
async fn apply_batch(
    projection: &dyn Projection,
    connection: &mut PgConnection,
    expected: i64,
    events: &[Arc<RecordedEvent>],
) -> Result<i64, sqlx::Error> {
    let name = projection.name();
    let Some(last) = events.last().map(|event| event.position) else { return Ok(expected) };
    // The simple protocol runs several statements in one round trip.
    connection.execute(BEGIN).await?;
    // The checkpoint first: its row lock makes this process the owner of the batch.
    let moved = sqlx::query("UPDATE checkpoints SET position = $2 WHERE projection = $1 AND position = $3")
        .bind(name)
        .bind(last)
        .bind(expected)
        .execute(&mut *connection)
        .await?;
    if moved.rows_affected() == 0 {
        connection.execute("COMMIT").await?;
        return checkpoint(name, connection).await;
    }
    #[cfg(feature = "fault-injection")]
    commit_checkpoint_apart(connection).await?;
    projection.apply(&mut *connection, events).await?;
    event_store::crash_point!("projected");
    connection.execute("COMMIT").await?;
    Ok(last)
}

/// A projection's checkpoint commits in a transaction of its own, before its rows (test builds only).
#[cfg(feature = "fault-injection")]
pub const CHECKPOINT_APART: event_store::fault_injection::Fault =
    event_store::fault_injection::Fault::new("checkpoint-apart");

/// Commits the checkpoint in a separate transaction if that fault is injected (test builds only).
#[cfg(feature = "fault-injection")]
async fn commit_checkpoint_apart(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    // Longer than the rest of a batch takes on a busy machine, so that most kills fall in between.
    const GAP: Duration = Duration::from_millis(100);

    if event_store::fault_injection::is_injected(CHECKPOINT_APART) {
        // On disk: a server that ends with its parent would lose the checkpoint too, and with it the inconsistency.
        connection.execute("SET LOCAL synchronous_commit = on; COMMIT").await?;
        tokio::time::sleep(GAP).await;
        connection.execute("BEGIN; SET LOCAL synchronous_commit = off").await?;
    }
    Ok(())
}
