//! A connection pool that skips sqlx's health checks.
//!
//! sqlx pings a connection when it leaves the pool and again when it returns: two round trips around each statement,
//! which for a short statement are most of its time. This pool hands a connection whose statement succeeded to the next
//! caller unchecked. A connection whose statement failed, or was cancelled, goes back through sqlx's pool and its checks.
//! If the failure was the connection's own, it is closed together with all idle ones, because the server has probably
//! gone away.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Error, Execute, Executor, PgPool, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// How long a statement may take in all before its connection is dropped. Longer than the server's statement timeout, so
/// it fires only if the server has gone away silently.
const STATEMENT_TIMEOUT: Duration = Duration::from_millis(3500);
/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection pool that skips sqlx's health checks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FastPool {
    pool: PgPool,
    idle: Arc<Mutex<Vec<PoolConnection<Postgres>>>>,
    /// Permits of leases. `None`: no connection is kept, each is checked by sqlx.
    leases: Option<Arc<Semaphore>>,
}

/// Wraps a pool without keeping connections: sqlx checks each connection as usual.
impl From<PgPool> for FastPool {
    fn from(pool: PgPool) -> Self {
        Self { pool, idle: Arc::default(), leases: None }
    }
}

/// Usage of a pool's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStats {
    /// Open connections.
    pub open: u32,
    /// Open connections that are not in use.
    pub idle: usize,
    /// Most connections that may be open.
    pub max: u32,
}

/// A connection in use.
struct Lease {
    connection: PoolConnection<Postgres>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl FastPool {
    /// Leases at most `max_leased` connections of `pool` at once and keeps them open in between. `pool` must be larger:
    /// connections kept here are not available to its other users.
    pub fn new(pool: PgPool, max_leased: usize) -> Self {
        Self { pool, idle: Arc::default(), leases: Some(Arc::new(Semaphore::new(max_leased))) }
    }

    /// Returns the underlying pool, for rare work and for transactions.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Returns how many connections are open, idle and allowed.
    pub fn stats(&self) -> PoolStats {
        PoolStats {
            open: self.pool.size(),
            idle: self.pool.num_idle() + self.idle.lock().len(),
            max: self.pool.options().get_max_connections(),
        }
    }

    /// Returns every idle connection to the underlying pool, which checks it and closes it if it is dead.
    fn release_idle(&self) {
        self.idle.lock().clear();
    }

    /// Closes every connection and waits for those in use.
    pub async fn close(&self) {
        // Marks the pool as closed first, so that no connection is kept after `release_idle`.
        let closed = self.pool.close();
        self.release_idle();
        closed.await;
    }

    async fn lease(&self) -> Result<Lease, Error> {
        let permit = match &self.leases {
            None => None,
            Some(leases) => {
                let acquired = Arc::clone(leases).acquire_owned();
                let permit =
                    tokio::time::timeout(ACQUIRE_TIMEOUT, acquired).await.map_err(|_| Error::PoolTimedOut)?;
                Some(permit.map_err(|_| Error::PoolClosed)?)
            }
        };
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        Ok(Lease { connection, _permit: permit })
    }

    /// Ends a lease after a statement with this outcome.
    fn release<T>(&self, mut lease: Lease, outcome: &Result<T, Error>) {
        match outcome {
            Ok(_) => {
                let mut idle = self.idle.lock();
                // Checked while the lock is held: see `close`.
                if self.leases.is_some() && !self.pool.is_closed() {
                    idle.push(lease.connection);
                }
            }
            Err(error) if is_lost(error) => {
                // Close all without a ping, which a dead server might never answer.
                lease.connection.close_on_drop();
                let idle = std::mem::take(&mut *self.idle.lock());
                for mut connection in idle {
                    connection.close_on_drop();
                }
            }
            // Dropping the lease makes sqlx check the connection.
            Err(_) => {}
        }
    }

    /// Runs one statement and collects its results.
    async fn run<'q, E>(&self, query: E) -> Result<Vec<Either<PgQueryResult, PgRow>>, Error>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let end = Instant::now() + STATEMENT_TIMEOUT;
        let mut lease = timeout_at(end, self.lease()).await.map_err(|_| Error::PoolTimedOut)??;
        let statement = (&mut *lease.connection).fetch_many(query).try_collect();
        let outcome = match timeout_at(end, statement).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(Error::Io(elapsed.into())),
        };
        self.release(lease, &outcome);
        outcome
    }
}

/// Returns whether an error is the connection's rather than the statement's.
fn is_lost(error: &Error) -> bool {
    if matches!(error, Error::Io(_) | Error::Protocol(_) | Error::Tls(_) | Error::WorkerCrashed) {
        return true;
    }
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| {
        // 57P: the server ends the session or goes down; 08: the connection failed; 25006: it is a replica now.
        code.starts_with("57P") || code.starts_with("08") || code == "25006"
    })
}

/// Every statement runs by itself, on whichever connection is free.
impl<'p> Executor<'p> for &'_ FastPool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        // Collect first: statements return a bounded number of rows, and a slow consumer must not hold a connection.
        let pool = self.clone();
        stream::once(async move { pool.run(query).await })
            .map_ok(|items| stream::iter(items.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    // The default implementation goes through streams, which on a page of rows cost more than the rows.
    fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Vec<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        Box::pin(async move { Ok(pool.run(query).await?.into_iter().filter_map(Either::right).collect()) })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        Box::pin(async move { Ok(pool.run(query).await?.into_iter().find_map(Either::right)) })
    }

    fn prepare_with<'e, 'q: 'e>(
        self,
        sql: &'q str,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement<'q>, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move { (&pool.pool).prepare_with(sql, parameters).await })
    }

    fn describe<'e, 'q: 'e>(self, sql: &'q str) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move { (&pool.pool).describe(sql).await })
    }
}
