//! Positions of the read models as this process knows them, and waiting for them (read-your-writes).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// Progress of one projection.
#[derive(Debug)]
struct Status {
    position: watch::Sender<i64>,
    /// Highest position seen in this process.
    highest: AtomicI64,
    stopped: AtomicBool,
}

/// Progress of every projection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ProjectionProgress {
    projections: Arc<BTreeMap<&'static str, Status>>,
    waiting: Arc<Waiting>,
}

/// Waiting requests, for the checkpoint poller.
#[derive(Debug, Default)]
struct Waiting {
    count: AtomicUsize,
    /// Highest position that a request has waited for.
    highest_awaited: AtomicI64,
    started: Notify,
}

/// Counts a waiting request until it is dropped.
struct WaitGuard<'a>(&'a Waiting);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ProjectionProgress {
    /// Creates the progress of these projections, all at position 0.
    pub fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        let projections = names
            .into_iter()
            .map(|name| {
                (
                    name,
                    Status {
                        position: watch::Sender::new(0),
                        highest: AtomicI64::new(0),
                        stopped: AtomicBool::new(false),
                    },
                )
            })
            .collect();
        Self { projections: Arc::new(projections), waiting: Arc::default() }
    }

    /// Records the position of a projection. It may step back after a crash of the database. A projection
    /// that advances is no longer stopped, whichever process moved it.
    pub fn set(&self, projection: &str, position: i64) {
        if let Some(status) = self.projections.get(projection) {
            status.highest.fetch_max(position, Ordering::Relaxed);
            if status.position.send_replace(position) < position {
                status.stopped.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Records whether a projection is stopped. Requests do not wait for a stopped projection.
    pub fn set_stopped(&self, projection: &str, stopped: bool) {
        if let Some(status) = self.projections.get(projection) {
            status.stopped.store(stopped, Ordering::Relaxed);
            // Wakes the waiting requests.
            status.position.send_modify(|_| {});
        }
    }

    /// WaitGuard until every named projection that is not stopped has reached `position`, or until `bound` has passed.
    /// Returns whether they have.
    pub async fn wait(&self, names: &[&str], position: i64, bound: Duration) -> bool {
        self.waiting.highest_awaited.fetch_max(position, Ordering::Relaxed);
        self.waiting.count.fetch_add(1, Ordering::Relaxed);
        let _guard = WaitGuard(&self.waiting);
        self.waiting.started.notify_one();
        let all = async {
            for name in names {
                if let Some(status) = self.projections.get(name) {
                    let mut receiver = status.position.subscribe();
                    // The sender lives as long as `self`, so this cannot fail.
                    let _ = receiver
                        .wait_for(|at| *at >= position || status.stopped.load(Ordering::Relaxed))
                        .await;
                }
            }
        };
        tokio::time::timeout(bound, all).await.is_ok()
    }

    /// Whether a request waits now.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.count.load(Ordering::Relaxed) > 0
    }

    /// Returns when a request begins to wait. For one caller.
    pub(crate) async fn wait_started(&self) {
        self.waiting.started.notified().await;
    }

    /// Highest position that a request has waited for.
    pub(crate) fn highest_awaited(&self) -> i64 {
        self.waiting.highest_awaited.load(Ordering::Relaxed)
    }

    /// Returns the projections that have not reached `position`, or are lower than they once were in this process: after a
    /// crash of the database they step back.
    pub fn lagging(&self, position: i64) -> Vec<&'static str> {
        self.projections
            .iter()
            .filter(|(_, status)| {
                *status.position.borrow() < position.max(status.highest.load(Ordering::Relaxed))
            })
            .map(|(name, _)| *name)
            .collect()
    }

    /// Returns name, position and stopped flag of every projection.
    pub fn all(&self) -> Vec<(&'static str, i64, bool)> {
        self.projections
            .iter()
            .map(|(name, status)| (*name, *status.position.borrow(), status.stopped.load(Ordering::Relaxed)))
            .collect()
    }
}
