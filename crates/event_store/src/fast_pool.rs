//! A pool whose connections are handed on without a question.
//!
//! sqlx asks a connection whether it is well whenever it leaves the pool and again whenever it comes back: two round
//! trips around each statement, which for a short one are most of its time. Here a connection whose statement has ended
//! well goes to the next caller as it is. One whose statement failed, or was dropped half-way, goes back through sqlx's
//! pool and its questions. When the failure was the connection's, it is closed, and the others that lie ready with it,
//! because the server has probably gone away under all of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Error, Execute, Executor, PgPool, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// How long a caller waits for the outcome of a statement in all, before its connection is given up: longer than the
/// server lets it work, so that only a server that has gone away without a word is met.
const LIMIT: Duration = Duration::from_millis(3500);
/// How long a caller waits for a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WarmPool {
    pool: PgPool,
    ready: Arc<Mutex<Vec<PoolConnection<Postgres>>>>,
    /// How many connections may be lent from here at once. None: nothing is kept ready.
    lanes: Option<Arc<Semaphore>>,
}

/// A pool that keeps nothing ready: every connection is asked each time, as sqlx does.
impl From<PgPool> for WarmPool {
    fn from(pool: PgPool) -> Self {
        Self { pool, ready: Arc::default(), lanes: None }
    }
}

/// A connection on loan.
struct Lent {
    connection: PoolConnection<Postgres>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl WarmPool {
    /// Lends at most `lanes` connections of `pool` at once, and keeps them ready. The pool has to be larger: what is
    /// kept ready here is not there for others.
    pub fn new(pool: PgPool, lanes: usize) -> Self {
        Self { pool, ready: Arc::default(), lanes: Some(Arc::new(Semaphore::new(lanes))) }
    }

    /// The pool behind it, for work that is rare or needs a transaction.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How many connections are open, how many of them do nothing, and how many there may be.
    pub fn standing(&self) -> (u32, usize, u32) {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).len();
        (self.pool.size(), self.pool.num_idle() + ready, self.pool.options().get_max_connections())
    }

    /// Gives every connection that lies ready back to the pool behind it, where each is asked, and closed if it does
    /// not answer.
    fn empty(&self) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Closes every connection, and waits for those that are lent.
    pub async fn close(&self) {
        // Marked as closed first: nothing is put back ready after it has been emptied.
        let closed = self.pool.close();
        self.empty();
        closed.await;
    }

    async fn lend(&self) -> Result<Lent, Error> {
        let permit = match &self.lanes {
            None => None,
            Some(lanes) => {
                let waiting = Arc::clone(lanes).acquire_owned();
                let permit =
                    tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| Error::PoolTimedOut)?;
                Some(permit.map_err(|_| Error::PoolClosed)?)
            }
        };
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match ready {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        Ok(Lent { connection, _permit: permit })
    }

    /// Takes a connection back after `outcome`.
    fn take_back<T>(&self, mut lent: Lent, outcome: &Result<T, Error>) {
        match outcome {
            Ok(_) => {
                let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
                // Looked at under the lock: see `close`.
                if self.lanes.is_some() && !self.pool.is_closed() {
                    ready.push(lent.connection);
                }
            }
            Err(error) if is_lost(error) => {
                // The server has gone away under all of them: no question, it might never be answered.
                lent.connection.close_on_drop();
                let ready = std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner));
                for mut connection in ready {
                    connection.close_on_drop();
                }
            }
            // Dropped: sqlx asks it, and closes it if it does not answer.
            Err(_) => {}
        }
    }

    /// Runs one statement and collects what it returns.
    async fn run<'q, E>(&self, query: E) -> Result<Vec<Either<PgQueryResult, PgRow>>, Error>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let end = Instant::now() + LIMIT;
        let mut lent = timeout_at(end, self.lend()).await.map_err(|_| Error::PoolTimedOut)??;
        let statement = (&mut *lent.connection).fetch_many(query).try_collect();
        let outcome = match timeout_at(end, statement).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(Error::Io(elapsed.into())),
        };
        self.take_back(lent, &outcome);
        outcome
    }
}

/// Whether an error is the connection's, not the statement's.
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
impl<'p> Executor<'p> for &'_ WarmPool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        // Collected first: our statements return bounded numbers of rows, and a slow reader must hold no connection.
        let pool = self.clone();
        stream::once(async move { pool.run(query).await })
            .map_ok(|items| stream::iter(items.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    // Without the streams that the default goes through: on a page they take longer than the rows.
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
