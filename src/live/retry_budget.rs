//! How long a follower is kept while the database fails.
//!
//! A busy or restarting database is back within seconds. Disconnected clients would all reconnect at once and add load, so
//! failed queries are retried for a while.

use std::time::Duration;

use tokio::time::Instant;

/// How long read-model queries may keep failing before the client is disconnected and asked to retry.
pub const MAX_OUTAGE: Duration = Duration::from_secs(10);

/// Tracks since when queries have been failing.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    since: Option<Instant>,
}

impl RetryBudget {
    /// Records a failure; returns whether failures have lasted longer than [`MAX_OUTAGE`].
    pub(super) fn is_exhausted(&mut self) -> bool {
        self.since.get_or_insert_with(Instant::now).elapsed() > MAX_OUTAGE
    }

    /// Records a success.
    pub(super) fn reset(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests;
