//! Where one process makes its replies: so many at once, each under a lease that is renewed until it is done.
//!
//! Queues bring replies here ([`super::queue`], [`super::jetstream`]); which of them brought it makes no difference.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aggregates::ids::ReplyId;
use event_store::FastPool;
use projections::pending_replies::query::PendingReplyRow;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::handler::{Job, Outcome, ReplyHandler};
use super::lease;

/// When the work is to end.
#[derive(Debug, Clone)]
pub struct Stops {
    /// Take nothing new.
    pub soft: CancellationToken,
    /// Break off what runs.
    pub hard: CancellationToken,
}

/// Where replies are made. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    pool: FastPool,
    handler: ReplyHandler,
    /// This process' name on its leases.
    holder: Uuid,
    slots: Arc<Semaphore>,
    running: Arc<Mutex<HashSet<Uuid>>>,
    freed: Arc<Notify>,
    tasks: TaskTracker,
    stops: Stops,
}

impl Desk {
    /// A desk for as many replies at once as `handler`'s settings say, whose work goes on `tasks`.
    pub fn new(
        pool: FastPool,
        handler: ReplyHandler,
        holder: Uuid,
        tasks: TaskTracker,
        stops: Stops,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(handler.settings().concurrency.max(1)));
        let (running, freed) = (Arc::default(), Arc::new(Notify::new()));
        Self { pool, handler, holder, slots, running, freed, tasks, stops }
    }

    /// When the work is to end.
    pub fn stops(&self) -> &Stops {
        &self.stops
    }

    /// What is owed is read over this.
    pub fn pool(&self) -> &FastPool {
        &self.pool
    }

    /// How many more replies could be begun now.
    pub fn free(&self) -> usize {
        self.slots.available_permits()
    }

    /// A place, if there is one.
    pub fn try_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Waits for a place. None: the process ends.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            place = Arc::clone(&self.slots).acquire_owned() => place.ok(),
            () = self.stops.soft.cancelled() => None,
        }
    }

    /// How many replies are being made.
    pub fn running(&self) -> usize {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until a reply has been done with.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Begins one attempt at a reply at `place`. None: it is made already, here or elsewhere.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(
        &self,
        row: PendingReplyRow,
        place: OwnedSemaphorePermit,
    ) -> Result<Option<JoinHandle<Outcome>>, sqlx::Error> {
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
        let making = Making { desk: self.clone(), reply, place: Some(place) };
        Ok(Some(self.tasks.spawn(async move {
            let desk = &making.desk;
            let outcome = desk.handler.handle(job(row), desk.stops.hard.clone()).await;
            if let Outcome::Retry(pause) = outcome
                && pause <= Duration::from_secs(1)
            {
                // The model shows what was refused in a moment; without this the queue would spin meanwhile.
                tokio::time::sleep(pause.max(Duration::from_millis(20))).await;
            }
            if let Err(error) = lease::give_back(&desk.pool, reply, desk.holder).await {
                tracing::debug!(%error, "a lease was not given back; it runs out by itself");
            }
            drop(making);
            outcome
        })))
    }

    /// Renews the leases of what is made here, until everything has ended after `soft`, or until `hard`.
    pub async fn keep_leases(&self) {
        loop {
            let ending = self.stops.soft.is_cancelled();
            if ending && self.running() == 0 {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(lease::RENEW) => {}
                () = self.stops.hard.cancelled() => return,
                () = self.stops.soft.cancelled(), if !ending => continue,
                () = self.freed(), if ending => continue,
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
struct Making {
    desk: Desk,
    reply: Uuid,
    place: Option<OwnedSemaphorePermit>,
}

impl Drop for Making {
    fn drop(&mut self) {
        self.desk.mark(self.reply, false);
        // Whoever is woken looks for a place.
        drop(self.place.take());
        self.desk.freed.notify_waiters();
        self.desk.freed.notify_one();
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
#[path = "desk_tests.rs"]
mod tests;
