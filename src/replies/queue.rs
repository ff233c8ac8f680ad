//! The queue in the database: polls the read model `pending_replies` for replies that are due.
//!
//! Without NATS, new events wake it. With NATS, [`super::wakeups`] offers replies sooner, and the queue polls slowly for those
//! that no message announced: correctness relies on this polling only.

use std::time::Duration;

use event_store::{LogTail, Subscription};
use projections::pending_replies::query;
use projections::progress::ProjectionProgress;

use super::may_make_reply_due;
use super::worker_pool::ReplyWorkerPool;
use crate::nats::Nats;

/// Poll interval without NATS.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Poll interval while NATS is connected.
const FALLBACK_POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Number of events that are checked for a wake-up at a time.
const WAKEUP_BATCH: usize = 500;

/// The queue of one process.
pub struct ReplyQueue {
    workers: ReplyWorkerPool,
    progress: ProjectionProgress,
    tail: LogTail,
    /// The head of the log when the process started; later events wake the queue.
    start: i64,
    /// While it is connected, NATS wakes the workers.
    nats: Option<Nats>,
}

impl ReplyQueue {
    /// Creates a queue that offers replies to `workers`, woken by events of `tail` after `start` unless `nats` is connected.
    pub fn new(
        workers: ReplyWorkerPool,
        progress: ProjectionProgress,
        tail: LogTail,
        start: i64,
        nats: Option<Nats>,
    ) -> Self {
        Self { workers, progress, tail, start, nats }
    }

    /// Runs until the shutdown begins.
    pub async fn run(self) {
        let stopping = self.workers.signals().stop_accepting.clone();
        let mut log = self.tail.subscribe(self.start);
        while !stopping.is_cancelled() {
            if let Err(error) = self.take().await {
                tracing::warn!(%error, "failed to query pending replies");
            }
            let told = self.nats.as_ref().is_some_and(Nats::is_connected);
            tokio::select! {
                () = self.news(&mut log), if !told => {}
                () = self.workers.slot_released(), if !told => {}
                () = tokio::time::sleep(if told { FALLBACK_POLL_INTERVAL } else { POLL_INTERVAL }) => {}
                () = stopping.cancelled() => {}
            }
        }
    }

    /// Waits until the read model has projected an event after which another reply may be due.
    async fn news(&self, log: &mut Subscription) {
        loop {
            match log.next(WAKEUP_BATCH).await {
                Ok(events) => {
                    let Some(news) = events.iter().rev().find(|recorded| may_make_reply_due(&recorded.event))
                    else {
                        continue;
                    };
                    self.progress.wait(&["pending_replies"], news.position, POLL_INTERVAL).await;
                    return;
                }
                // Polling continues without wake-ups.
                Err(_) => std::future::pending().await,
            }
        }
    }

    async fn take(&self) -> Result<(), sqlx::Error> {
        let free = self.workers.free_slots();
        if free == 0 {
            return Ok(());
        }
        // Some due replies may be running here already: their leases exclude them, but the read model may lag behind.
        let limit = free + self.workers.running();
        for row in query::due(self.workers.pool(), i64::try_from(limit).unwrap_or(i64::MAX)).await? {
            let Some(permit) = self.workers.try_permit() else { return Ok(()) };
            self.workers.begin(row, permit).await?;
        }
        Ok(())
    }
}
