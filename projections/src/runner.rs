//! Keeps one read model in step with the log: rows and checkpoint in one transaction.
//!
//! Whoever holds the checkpoint's row lock owns the projection for that batch, so any number of processes may run the
//! same projection. The transaction commits asynchronously (`SET LOCAL` only, so that nothing leaks into an append):
//! after a crash of the database a model steps back together with its checkpoint, and catches up.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aggregates::Event;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tokio_util::sync::CancellationToken;

use crate::progress::Progress;
use event_store::{LogError, LogTail, RecordedEvent, error_chain};

/// How many events one transaction takes at most.
pub const BATCH: usize = 500;
/// How long a projection that failed waits before it tries again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a projection that met an event it cannot apply waits before it tries that event again.
const STOPPED_PAUSE: Duration = Duration::from_secs(10);

/// How long nothing must have come before the checkpoint is moved over events that did not concern the projection.
const IDLE: Duration = Duration::from_millis(250);
/// How many positions the checkpoint may be behind because of events that did not concern the projection.
const MAX_AHEAD: i64 = 1_000;

/// Every so many quiet times the checkpoint is looked at, although nothing has come.
const LOOK_EVERY: u32 = 4;

/// The future of [`Projection::apply`].
pub type Applied<'a> = Pin<Box<dyn Future<Output = Result<(), sqlx::Error>> + Send + 'a>>;

/// A read model: how events become rows. No clock, no random ids, no serials: a replay must give the same rows.
pub trait Projection: Send + Sync + 'static {
    /// Name of the projection and of its checkpoint.
    fn name(&self) -> &'static str;
    /// Whether it writes anything for this event. Those that it does not are passed without a transaction.
    fn concerns(&self, _event: &Event) -> bool {
        true
    }
    /// The tables it owns, which a rebuild empties.
    fn tables(&self) -> &'static [&'static str];
    /// Writes the rows of these events, in their order, within the transaction that is open on `connection`.
    fn apply<'a>(&'a self, connection: &'a mut PgConnection, events: &'a [Arc<RecordedEvent>])
    -> Applied<'a>;
}

/// Why a batch was not applied.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl RunError {
    /// Whether the same event would fail again however often it is tried.
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

/// Runs `projection` until `stop`, following `tail` over a connection of its own.
pub async fn run(
    projection: Arc<dyn Projection>,
    tail: LogTail,
    options: PgConnectOptions,
    progress: Progress,
    stop: CancellationToken,
) {
    let name = projection.name();
    // There from the start, so that an alert can see the first failure rise.
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
        let pause = if poison { STOPPED_PAUSE } else { PAUSE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What a projection that follows the log meets next.
enum Step {
    /// More events, or why they cannot be read.
    Events(Result<Vec<Arc<RecordedEvent>>, LogError>),
    /// The checkpoint stands elsewhere than this process thought.
    Moved(i64),
}

async fn follow(
    projection: &dyn Projection,
    tail: &LogTail,
    options: &PgConnectOptions,
    progress: &Progress,
) -> Result<std::convert::Infallible, RunError> {
    let name = projection.name();
    let mut connection = connect(options).await?;
    sqlx::query("INSERT INTO checkpoints (projection) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(name)
        .execute(&mut connection)
        .await?;
    let stands: i64 = sqlx::query_scalar("SELECT position FROM checkpoints WHERE projection = $1")
        .bind(name)
        .fetch_one(&mut connection)
        .await?;
    progress.set(name, stands);
    let mut subscription = tail.subscribe(stands);
    // What the checkpoint says, and how far this process has looked: events that do not concern the projection need no
    // transaction of their own. A crash in between means that they are looked at once more.
    let mut written = stands;
    let mut looked = stands;
    loop {
        // The read is never dropped for being slow: it would only begin again.
        let step = {
            let next = subscription.next(BATCH);
            tokio::pin!(next);
            let mut quiet: u32 = 0;
            loop {
                tokio::select! {
                    events = &mut next => break Step::Events(events),
                    () = tokio::time::sleep(IDLE) => {}
                }
                quiet = quiet.wrapping_add(1);
                let found = if looked > written {
                    move_checkpoint(name, &mut connection, written, looked).await?
                } else if quiet.is_multiple_of(LOOK_EVERY) {
                    // A database that crashed and came back has taken the model back with the checkpoint, and a dead
                    // connection says so only when it is used.
                    checkpoint(name, &mut connection).await?
                } else {
                    continue;
                };
                if found != looked {
                    break Step::Moved(found);
                }
                written = found;
            }
        };
        let events = match step {
            Step::Events(events) => events,
            Step::Moved(found) => {
                subscription.seek(found);
                (written, looked) = (found, found);
                progress.set(name, found);
                continue;
            }
        };
        let events = events?;
        let Some(last) = events.last().map(|event| event.position) else { continue };
        if last - written < MAX_AHEAD && !events.iter().any(|event| projection.concerns(&event.event)) {
            looked = last;
            advanced(name, progress, looked);
            continue;
        }
        let found = match apply_batch(projection, &mut connection, written, &events).await {
            Ok(found) => found,
            Err(error) => {
                let error = RunError::from(error);
                if !error.is_poison() || events.len() == 1 {
                    return Err(error);
                }
                // One event of many does not fit: apply the good ones before it, and stop exactly at it.
                connection = connect(options).await?;
                let mut at = written;
                for event in &events {
                    at = apply_batch(projection, &mut connection, at, std::slice::from_ref(event)).await?;
                    progress.set(name, at);
                    if at != event.position {
                        // Somebody else moved it: the next event of this batch need not be the next one for it.
                        break;
                    }
                }
                at
            }
        };
        if found != last {
            // Somebody else has moved this projection meanwhile: go on from where it stands.
            subscription.seek(found);
        }
        (written, looked) = (found, found);
        advanced(name, progress, found);
    }
}

/// A connection of the projection's own. Its statements are few and always alike: they are planned once.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    connection.execute("SET plan_cache_mode = force_generic_plan").await?;
    Ok(connection)
}

/// Tells that a projection has come to `position`, and that nothing holds it up.
fn advanced(name: &'static str, progress: &Progress, position: i64) {
    progress.set(name, position);
    progress.set_stopped(name, false);
    metrics::gauge!("verbatim_projection_position", "projection" => name).set(position as f64);
    metrics::gauge!("verbatim_projection_stopped", "projection" => name).set(0.0);
}

/// Moves the checkpoint over events that did not concern the projection, if it still stands at `expected`; returns where
/// it stands afterwards.
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

/// Where the checkpoint stands.
async fn checkpoint(name: &str, connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let found = format!("SELECT position FROM checkpoints WHERE projection = '{name}'");
    connection.fetch_one(found.as_str()).await?.try_get("position")
}

/// Begins a batch. A process that stands still in the middle of one holds the checkpoint's row: the server ends its
/// session soon, so that another process can go on.
const BEGIN: &str =
    "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL idle_in_transaction_session_timeout = '1s'";

/// Applies `events` if the projection still stands at `expected`; returns where it stands afterwards.
async fn apply_batch(
    projection: &dyn Projection,
    connection: &mut PgConnection,
    expected: i64,
    events: &[Arc<RecordedEvent>],
) -> Result<i64, sqlx::Error> {
    let name = projection.name();
    let Some(last) = events.last().map(|event| event.position) else { return Ok(expected) };
    // Strings go over the simple protocol, several statements in one round trip.
    connection.execute(BEGIN).await?;
    // The checkpoint first: its row's lock says whose turn it is.
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

/// Commits the checkpoint in a transaction of its own, where that fault is injected (test builds only).
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
