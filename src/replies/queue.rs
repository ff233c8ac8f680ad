//! The queue that needs nothing but the database: the `pending_replies` model itself.
//!
//! Without NATS it is woken by the end of the log; with NATS it is what correctness rests on, and looks every now and then
//! for what no message has brought.

use std::time::Duration;

use event_store::{Subscription, Tail};
use projections::pending_replies::query;
use projections::progress::Progress;

use super::may_make_reply_due;
use super::worker_pool::ReplyWorkerPool;
use crate::nats::Nats;

/// How long the queue waits for news before it looks by itself.
const POLL: Duration = Duration::from_millis(250);
/// The same where messages bring what is owed.
const FALLBACK_POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How many events are looked at together for a wake-up.
const BATCH: usize = 500;

/// The queue of one process.
pub struct ReplyQueue {
    workers: ReplyWorkerPool,
    progress: Progress,
    tail: Tail,
    /// The log's head when the process started: from there on the queue is woken.
    start: i64,
    /// What brings messages about what is owed, while the connection stands.
    nats: Option<Nats>,
}

impl ReplyQueue {
    /// A queue that brings replies to `workers`, woken by what `tail` brings after `start`; not while `nats` does better.
    pub fn new(
        workers: ReplyWorkerPool,
        progress: Progress,
        tail: Tail,
        start: i64,
        nats: Option<Nats>,
    ) -> Self {
        Self { workers, progress, tail, start, nats }
    }

    /// Works until the soft stop.
    pub async fn run(self) {
        let stopping = self.workers.signals().stop_accepting.clone();
        let mut log = self.tail.subscribe(self.start);
        while !stopping.is_cancelled() {
            if let Err(error) = self.take().await {
                tracing::warn!(%error, "what is owed cannot be read");
            }
            let told = self.nats.as_ref().is_some_and(Nats::is_connected);
            tokio::select! {
                () = self.news(&mut log), if !told => {}
                () = self.workers.slot_released(), if !told => {}
                () = tokio::time::sleep(if told { FALLBACK_POLL_INTERVAL } else { POLL }) => {}
                () = stopping.cancelled() => {}
            }
        }
    }

    /// Waits until the model shows an event after which another reply may be due.
    async fn news(&self, log: &mut Subscription) {
        loop {
            match log.next(BATCH).await {
                Ok(events) => {
                    let Some(news) = events.iter().rev().find(|recorded| may_make_reply_due(&recorded.event))
                    else {
                        continue;
                    };
                    self.progress.wait(&["pending_replies"], news.position, POLL).await;
                    return;
                }
                // The poll goes on without wake-ups.
                Err(_) => std::future::pending().await,
            }
        }
    }

    async fn take(&self) -> Result<(), sqlx::Error> {
        let free = self.workers.free_slots();
        if free == 0 {
            return Ok(());
        }
        // Some of what is due may run here already: its lease is seen, but the model may lag behind its end.
        let limit = free + self.workers.running();
        for row in query::due(self.workers.pool(), i64::try_from(limit).unwrap_or(i64::MAX)).await? {
            let Some(permit) = self.workers.try_permit() else { return Ok(()) };
            self.workers.begin(row, permit).await?;
        }
        Ok(())
    }
}
