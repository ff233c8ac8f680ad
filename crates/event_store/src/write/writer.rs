//! Group commit: appends that arrive at the same moment share one transaction.
//!
//! Under load, a transaction's own cost (round trip, commit, fsync) is most of an append's; shared by ten it is a tenth.
//! No promise changes: all appends of a transaction are written or none is, and no caller gets an answer before the commit.
//! A failed append aborts the whole transaction; that is rare, and each append is then written alone.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::append::{AppendError, AppendOutcome, AppendRequest, append, append_all};
use crate::{Batcher, FastPool};

/// Further transactions that may overlap a slow one.
const MAX_OVERFLOW: usize = 3;
/// Most appends in one transaction.
const MAX_BATCH: usize = 64;

/// Writes appends. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    pool: FastPool,
    batcher: Batcher<Arc<AppendRequest>, Result<AppendOutcome, AppendError>>,
}

impl Writer {
    /// Creates a writer over `pool`. Started appends complete on `tasks`, even if their callers stop waiting.
    pub fn new(pool: FastPool, tasks: TaskTracker) -> Self {
        Self { pool, batcher: Batcher::new(MAX_OVERFLOW, MAX_BATCH, tasks) }
    }

    /// Writes one append; returns after its commit.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn write(&self, request: Arc<AppendRequest>) -> Result<AppendOutcome, AppendError> {
        if !request.writes.is_empty() {
            // Transactional writes are rare and may be slow: they run alone.
            return append(&self.pool, &request).await;
        }
        let flush = |requests| write_all(self.pool.clone(), requests);
        self.batcher
            .run(request, flush)
            .await
            .unwrap_or_else(|| Err(AppendError::Unavailable(Arc::new(sqlx::Error::WorkerCrashed))))
    }
}

async fn write_all(
    pool: FastPool,
    requests: Vec<Arc<AppendRequest>>,
) -> Vec<Result<AppendOutcome, AppendError>> {
    if let [request] = requests.as_slice() {
        return vec![append(&pool, request).await];
    }
    // Sorted by key, so that two transactions with the same keys cannot deadlock.
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by(|one, other| requests[*one].lock_order().cmp(&requests[*other].lock_order()));
    let sorted: Vec<_> = order.iter().map(|index| Arc::clone(&requests[*index])).collect();
    match append_all(&pool, &sorted).await {
        Ok(outcomes) => {
            let mut outcomes: Vec<_> = order.into_iter().zip(outcomes).collect();
            outcomes.sort_by_key(|(index, _)| *index);
            outcomes.into_iter().map(|(_, outcome)| outcome).collect()
        }
        // The outcome is unknown, so no append may be repeated here.
        Err(AppendError::Unavailable(error)) => {
            requests.iter().map(|_| Err(AppendError::Unavailable(Arc::clone(&error)))).collect()
        }
        Err(
            AppendError::Conflict
            | AppendError::ChargeRejected(_)
            | AppendError::ConditionFailed { .. }
            | AppendError::Rejected(_),
        ) => {
            metrics::counter!("verbatim_append_batches_split_total").increment(1);
            let each = requests.iter().map(|request| append(&pool, request));
            futures::future::join_all(each).await
        }
    }
}
