//! The queue of the form without NATS: the `pending_replies` model itself, with leases.
//!
//! Woken by the end of the log, polling as the fallback. At most `concurrency` replies at once; a reply whose
//! process died is taken up when its lease has run out.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aggregates::Event;
use aggregates::conversation::ConversationEvent;
use aggregates::ids::ReplyId;
use projections::log::{Subscription, Tail};
use projections::pending_replies::query::{self, PendingReplyRow};
use projections::progress::Progress;
use projections::warm_pool::WarmPool;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::handler::{Job, Outcome, ReplyHandler};
use super::lease;

/// How long the queue waits for news before it looks by itself.
const POLL: Duration = Duration::from_millis(250);
/// How many events are looked at together for a wake-up.
const BATCH: usize = 500;

/// The in-process queue.
pub struct ReplyQueue {
    pool: WarmPool,
    handler: ReplyHandler,
    progress: Progress,
    tail: Tail,
    /// The log's head when the process started: from there on the queue is woken.
    start: i64,
    holder: Uuid,
    slots: Arc<Semaphore>,
    running: Arc<Mutex<HashSet<Uuid>>>,
    freed: Arc<Notify>,
}

/// When the queue's work is to end.
#[derive(Debug, Clone)]
pub struct Stops {
    /// Take nothing new.
    pub soft: CancellationToken,
    /// Break off what runs.
    pub hard: CancellationToken,
}

impl ReplyQueue {
    /// A queue that hands jobs to `handler`, woken by what `tail` brings after `start`; `holder` is this process's name
    /// on its leases.
    pub fn new(
        pool: WarmPool,
        handler: ReplyHandler,
        progress: Progress,
        tail: Tail,
        start: i64,
        holder: Uuid,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(handler.settings().concurrency.max(1)));
        Self {
            pool,
            handler,
            progress,
            tail,
            start,
            holder,
            slots,
            running: Arc::default(),
            freed: Arc::new(Notify::new()),
        }
    }

    /// Works until `stops.soft`; what runs then goes on on `tasks` until `stops.hard`.
    pub async fn run(self, tasks: TaskTracker, stops: Stops) {
        let ended = async {
            self.work(&tasks, &stops).await;
            // Leases of what still runs have to be kept until it has ended.
            while self.running_count() > 0 {
                self.freed.notified().await;
            }
        };
        tokio::select! {
            () = ended => {}
            () = self.renew(stops.hard.clone()) => {}
        }
    }

    async fn renew(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(lease::RENEW) => {}
                () = stop.cancelled() => return,
            }
            let running: Vec<Uuid> =
                self.running.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
            if !running.is_empty()
                && let Err(error) = lease::renew(&self.pool, self.holder, &running).await
            {
                tracing::warn!(%error, "leases were not renewed");
            }
        }
    }

    async fn work(&self, tasks: &TaskTracker, stops: &Stops) {
        let mut log = self.tail.subscribe(self.start);
        while !stops.soft.is_cancelled() {
            if let Err(error) = self.take(tasks, stops).await {
                tracing::warn!(%error, "what is owed cannot be read");
            }
            tokio::select! {
                () = self.news(&mut log) => {}
                () = self.freed.notified() => {}
                () = tokio::time::sleep(POLL) => {}
                () = stops.soft.cancelled() => {}
            }
        }
    }

    /// Waits until the model shows an event after which another reply may be due.
    async fn news(&self, log: &mut Subscription) {
        loop {
            match log.next(BATCH).await {
                Ok(events) => {
                    let Some(news) = events.iter().rev().find(|recorded| is_news(&recorded.event)) else {
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

    async fn take(&self, tasks: &TaskTracker, stops: &Stops) -> Result<(), sqlx::Error> {
        let free = self.slots.available_permits();
        if free == 0 {
            return Ok(());
        }
        // Some of what is due may run here already: its lease is seen, but the model may lag behind its end.
        let limit = free + self.running_count();
        for row in query::due(&self.pool, i64::try_from(limit).unwrap_or(i64::MAX)).await? {
            let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() else { return Ok(()) };
            let reply = row.reply_id;
            if !self.mark(reply, true) {
                continue;
            }
            match lease::take(&self.pool, reply, self.holder).await {
                Ok(true) => {}
                Ok(false) => {
                    self.mark(reply, false);
                    continue;
                }
                Err(error) => {
                    self.mark(reply, false);
                    return Err(error);
                }
            }
            let (handler, pool, holder) = (self.handler.clone(), self.pool.clone(), self.holder);
            let (running, freed, hard) =
                (Arc::clone(&self.running), Arc::clone(&self.freed), stops.hard.clone());
            tasks.spawn(async move {
                let outcome = handler.handle(job(row), hard).await;
                if let Outcome::Retry(pause) = outcome
                    && pause <= Duration::from_secs(1)
                {
                    // The model shows what was refused in a moment; without this the queue would spin meanwhile.
                    tokio::time::sleep(pause.max(Duration::from_millis(20))).await;
                }
                if let Err(error) = lease::give_back(&pool, reply, holder).await {
                    tracing::debug!(%error, "a lease was not given back; it runs out by itself");
                }
                running.lock().unwrap_or_else(PoisonError::into_inner).remove(&reply);
                drop(permit);
                freed.notify_waiters();
                freed.notify_one();
            });
        }
        Ok(())
    }

    fn mark(&self, reply: Uuid, running: bool) -> bool {
        let mut set = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running { set.insert(reply) } else { set.remove(&reply) }
    }

    fn running_count(&self) -> usize {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Whether another reply may be due after this event.
fn is_news(event: &Event) -> bool {
    matches!(
        event,
        Event::Conversation(
            ConversationEvent::ReplyRequested { .. }
                | ConversationEvent::ReplyAttemptFailed { .. }
                | ConversationEvent::ReplyCompleted { .. }
                | ConversationEvent::ReplyFailed { .. }
                | ConversationEvent::ReplyCancelled { .. }
        )
    )
}

/// A row of the model as a job.
pub fn job(row: PendingReplyRow) -> Job {
    Job {
        reply: ReplyId::from(row.reply_id),
        conversation: row.conversation_id,
        owner: row.owner,
        message: row.message_id,
        model: row.model,
        deadline: row.deadline,
        attempts: u32::try_from(row.attempt).unwrap_or_default(),
    }
}
