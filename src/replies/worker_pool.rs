//! The workers of one process: a bounded number of jobs at once, each under a lease that is renewed until the job ends.
//!
//! Jobs come from [`super::queue`] or [`super::wakeups`]; the workers treat both alike.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aggregates::ids::ReplyId;
use event_store::FastPool;
use parking_lot::Mutex;
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
    /// Accept no new jobs.
    pub stop_accepting: CancellationToken,
    /// Abort running jobs.
    pub abort: CancellationToken,
}

/// The workers of one process. Cheap to clone.
#[derive(Clone)]
pub struct ReplyWorkerPool {
    pool: FastPool,
    handler: ReplyHandler,
    /// Holder id in this process's leases.
    holder: Uuid,
    slots: Arc<Semaphore>,
    running: Arc<Mutex<HashSet<Uuid>>>,
    slot_released: Arc<Notify>,
    tasks: TaskTracker,
    signals: ShutdownSignals,
}

impl ReplyWorkerPool {
    /// Creates a pool with the concurrency of `handler`'s settings; jobs run on `tasks`.
    pub fn new(
        pool: FastPool,
        handler: ReplyHandler,
        holder: Uuid,
        tasks: TaskTracker,
        signals: ShutdownSignals,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(handler.settings().concurrency.max(1)));
        let (running, slot_released) = (Arc::default(), Arc::new(Notify::new()));
        Self { pool, handler, holder, slots, running, slot_released, tasks, signals }
    }

    /// Returns the shutdown signals.
    pub fn signals(&self) -> &ShutdownSignals {
        &self.signals
    }

    /// Returns the pool for reading pending replies.
    pub fn pool(&self) -> &FastPool {
        &self.pool
    }

    /// Returns how many more jobs can start now.
    pub fn free_slots(&self) -> usize {
        self.slots.available_permits()
    }

    /// Returns a permit for a job, if a slot is free.
    pub fn try_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Waits for a permit. `None`: the process shuts down.
    pub async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = Arc::clone(&self.slots).acquire_owned() => permit.ok(),
            () = self.signals.stop_accepting.cancelled() => None,
        }
    }

    /// Returns the number of running jobs.
    pub fn running(&self) -> usize {
        self.running.lock().len()
    }

    /// Waits until a job ends and its slot is free.
    pub async fn slot_released(&self) {
        self.slot_released.notified().await;
    }

    /// Starts one attempt. `None`: this process or another one has the job already.
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
        match lease::acquire(&self.pool, reply, self.holder).await {
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
            if let Err(error) = lease::release(&workers.pool, reply, workers.holder).await {
                tracing::debug!(%error, "failed to release lease; it expires by itself");
            }
            drop(running_reply);
            outcome
        })))
    }

    /// Renews the leases of the running jobs, until all have ended after `stop_accepting`, or until `abort`.
    pub async fn keep_leases(&self) {
        loop {
            let ending = self.signals.stop_accepting.is_cancelled();
            if ending && self.running() == 0 {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(lease::RENEW_INTERVAL) => {}
                () = self.signals.abort.cancelled() => return,
                () = self.signals.stop_accepting.cancelled(), if !ending => continue,
                () = self.slot_released(), if ending => continue,
            }
            let running: Vec<Uuid> = self.running.lock().iter().copied().collect();
            if running.is_empty() {
                continue;
            }
            if let Err(error) = lease::renew(&self.pool, self.holder, &running).await {
                tracing::warn!(%error, "failed to renew leases");
            }
        }
    }

    fn mark(&self, reply: Uuid, running: bool) -> bool {
        let mut set = self.running.lock();
        if running { set.insert(reply) } else { set.remove(&reply) }
    }
}

/// A running job. Dropping it, also after a panic, removes it from the running jobs, so that its lease is no longer renewed;
/// when the lease has expired, the queue offers the reply again.
struct RunningReply {
    workers: ReplyWorkerPool,
    reply: Uuid,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for RunningReply {
    fn drop(&mut self) {
        self.workers.mark(self.reply, false);
        // The permit is free before the waiters look for one.
        drop(self.permit.take());
        self.workers.slot_released.notify_waiters();
        self.workers.slot_released.notify_one();
    }
}

/// Converts a row of the read model into a job.
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
