//! Where one process makes its replies: so many at once, each under a lease that is renewed until it is done.
//!
//! Queues bring replies here ([`super::queue`], [`super::wakeups`]); which of them brought it makes no difference.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aggregates::ids::ReplyId;
use event_store::fast_pool::WarmPool;
use projections::pending_replies::query::PendingReplyRow;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::handler::{Job, JobOutcome, ReplyHandler};
use super::lease;

/// Longest requeue delay that a worker waits out before it releases the lease; the queue waits out longer ones.
const MAX_DELAY_WITH_LEASE: Duration = Duration::from_secs(1);
/// Shortest pause before a job goes back to the queue.
const MIN_DELAY: Duration = Duration::from_millis(20);

/// The two steps of a shutdown.
#[derive(Debug, Clone)]
pub struct ShutdownSignals {
    /// Take nothing new.
    pub stop_accepting: CancellationToken,
    /// Break off what runs.
    pub abort: CancellationToken,
}

/// Where replies are made. Cheap to clone.
#[derive(Clone)]
pub struct ReplyWorkerPool {
    pool: WarmPool,
    handler: ReplyHandler,
    /// This process' name on its leases.
    holder: Uuid,
    slots: Arc<Semaphore>,
    running: Arc<Mutex<HashSet<Uuid>>>,
    slot_released: Arc<Notify>,
    tasks: TaskTracker,
    signals: ShutdownSignals,
}

impl ReplyWorkerPool {
    /// A workers for as many replies at once as `handler`'s settings say, whose work goes on `tasks`.
    pub fn new(
        pool: WarmPool,
        handler: ReplyHandler,
        holder: Uuid,
        tasks: TaskTracker,
        signals: ShutdownSignals,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(handler.settings().concurrency.max(1)));
        let (running, slot_released) = (Arc::default(), Arc::new(Notify::new()));
        Self { pool, handler, holder, slots, running, slot_released, tasks, signals }
    }

    /// When the work is to end.
    pub fn signals(&self) -> &ShutdownSignals {
        &self.signals
    }

    /// What is owed is read over this.
    pub fn pool(&self) -> &WarmPool {
        &self.pool
    }

    /// How many more replies could be begun now.
    pub fn free_slots(&self) -> usize {
        self.slots.available_permits()
    }

    /// A place, if there is one.
    pub fn try_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Waits for a place. None: the process ends.
    pub async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = Arc::clone(&self.slots).acquire_owned() => permit.ok(),
            () = self.signals.stop_accepting.cancelled() => None,
        }
    }

    /// How many replies are being made.
    pub fn running(&self) -> usize {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until a reply has been done with.
    pub async fn slot_released(&self) {
        self.slot_released.notified().await;
    }

    /// Begins one attempt at a reply at `place`. None: it is made already, here or elsewhere.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(
        &self,
        row: PendingReplyRow,
        permit: OwnedSemaphorePermit,
    ) -> Result<Option<JoinHandle<JobOutcome>>, sqlx::Error> {
        let reply = row.reply_id;
        if !self.mark(reply, true) {
            return Ok(None);
        }
        match lease::take(&self.pool, reply, self.holder).await {
            Ok(true) => {}
            Ok(false) => {
                self.mark(reply, false);
                return Ok(None);
            }
            Err(error) => {
                self.mark(reply, false);
                return Err(error);
            }
        }
        event_store::crash_point!("leased");
        let running_reply = RunningReply { workers: self.clone(), reply, permit: Some(permit) };
        Ok(Some(self.tasks.spawn(async move {
            let workers = &running_reply.workers;
            let outcome = workers.handler.handle(job(row), workers.signals.abort.clone()).await;
            if let JobOutcome::Requeue(requeue) = &outcome
                && requeue.delay() <= MAX_DELAY_WITH_LEASE
            {
                // The read model shows the current state in a moment; without this pause the queue would spin.
                tokio::time::sleep(requeue.delay().max(MIN_DELAY)).await;
            }
            if let Err(error) = lease::give_back(&workers.pool, reply, workers.holder).await {
                tracing::debug!(%error, "a lease was not given back; it runs out by itself");
            }
            drop(running_reply);
            outcome
        })))
    }

    /// Renews the leases of what is made here, until everything has ended after `soft`, or until `hard`.
    pub async fn keep_leases(&self) {
        loop {
            let ending = self.signals.stop_accepting.is_cancelled();
            if ending && self.running() == 0 {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(lease::RENEW) => {}
                () = self.signals.abort.cancelled() => return,
                () = self.signals.stop_accepting.cancelled(), if !ending => continue,
                () = self.slot_released(), if ending => continue,
            }
            let running: Vec<Uuid> =
                self.running.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
            if running.is_empty() {
                continue;
            }
            if let Err(error) = lease::renew(&self.pool, self.holder, &running).await {
                tracing::warn!(%error, "leases were not renewed");
            }
        }
    }

    fn mark(&self, reply: Uuid, running: bool) -> bool {
        let mut set = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running { set.insert(reply) } else { set.remove(&reply) }
    }
}

/// A reply that is made here. However that ends, it is marked no longer: after a panic nobody gives its lease back, so nobody
/// may renew it either; once it has run out, the queue brings the reply again, not so soon that it would spin.
struct RunningReply {
    workers: ReplyWorkerPool,
    reply: Uuid,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for RunningReply {
    fn drop(&mut self) {
        self.workers.mark(self.reply, false);
        // Whoever is woken looks for a place.
        drop(self.permit.take());
        self.workers.slot_released.notify_waiters();
        self.workers.slot_released.notify_one();
    }
}

/// A row of the model as a job.
fn job(row: PendingReplyRow) -> Job {
    Job {
        reply: ReplyId::from(row.reply_id),
        conversation: row.conversation_id,
        owner: row.owner,
        message: row.message_id,
        model: row.model,
        deadline: row.deadline,
        attempts: u32::try_from(row.attempt).unwrap_or_default(),
        interactive: row.interactive,
    }
}

#[cfg(test)]
mod tests;
