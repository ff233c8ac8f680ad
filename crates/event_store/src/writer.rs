//! Where appends go: those that come at the same moment go together, in one transaction.
//!
//! Under load a transaction's own cost (round trip, commit, fsync) is most of an append's; shared by ten it is a tenth.
//! All of them are written or none is, and nobody is answered before the commit: no promise changes. One that is
//! refused takes the others' transaction with it, which is rare, and then each is written by itself.

use std::sync::Arc;

use crate::batcher::Together;
use crate::fast_pool::WarmPool;
use tokio_util::task::TaskTracker;

use super::append::{AppendError, Appended, Appending, append, append_together};

/// Transactions of several appends beside a slow one.
const BESIDE: usize = 3;
/// How many appends share a transaction at most.
const MOST: usize = 64;

/// Writes appends. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    pool: WarmPool,
    together: Together<Arc<Appending>, Result<Appended, AppendError>>,
}

impl Writer {
    /// A writer over `pool`, which finishes on `tasks` what it has begun.
    pub fn new(pool: WarmPool, tasks: TaskTracker) -> Self {
        Self { pool, together: Together::new(BESIDE, MOST, tasks) }
    }

    /// Writes one append; returns when it has been committed.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn write(&self, appending: Arc<Appending>) -> Result<Appended, AppendError> {
        if !appending.beside.is_empty() {
            // Rare, and sometimes slow.
            return append(&self.pool, &appending).await;
        }
        let go = |appendings| write_all(self.pool.clone(), appendings);
        self.together
            .run(appending, go)
            .await
            .unwrap_or_else(|| Err(AppendError::Unavailable(Arc::new(sqlx::Error::WorkerCrashed))))
    }
}

async fn write_all(pool: WarmPool, appendings: Vec<Arc<Appending>>) -> Vec<Result<Appended, AppendError>> {
    if let [only] = appendings.as_slice() {
        return vec![append(&pool, only).await];
    }
    // Two transactions that hold the same keys must not wait for each other.
    let mut order: Vec<usize> = (0..appendings.len()).collect();
    order.sort_by(|one, other| appendings[*one].order().cmp(&appendings[*other].order()));
    let sorted: Vec<_> = order.iter().map(|index| Arc::clone(&appendings[*index])).collect();
    match append_together(&pool, &sorted).await {
        Ok(outcomes) => {
            let mut outcomes: Vec<_> = order.into_iter().zip(outcomes).collect();
            outcomes.sort_by_key(|(index, _)| *index);
            outcomes.into_iter().map(|(_, outcome)| outcome).collect()
        }
        // Whether they were written is unknown, so none may be tried again here.
        Err(AppendError::Unavailable(error)) => {
            appendings.iter().map(|_| Err(AppendError::Unavailable(Arc::clone(&error)))).collect()
        }
        Err(
            AppendError::Conflict
            | AppendError::CredentialChanged
            | AppendError::Overdrawn(_)
            | AppendError::Condition(_)
            | AppendError::Rejected(_),
        ) => {
            metrics::counter!("verbatim_appends_parted_total").increment(1);
            let each = appendings.iter().map(|appending| append(&pool, appending));
            futures::future::join_all(each).await
        }
    }
}
