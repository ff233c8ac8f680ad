//! How far each read model has come in this process, and waiting for it (you read what you wrote).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// The standing of one projection.
#[derive(Debug)]
struct Standing {
    position: watch::Sender<i64>,
    /// The highest position it ever had in this process.
    highest: AtomicI64,
    stopped: AtomicBool,
}

/// The standing of every projection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress {
    standings: Arc<BTreeMap<&'static str, Standing>>,
    waiting: Arc<Waiting>,
}

/// Who waits, for those who follow other processes' read models.
#[derive(Debug, Default)]
struct Waiting {
    count: AtomicUsize,
    /// The highest position that anybody has waited for.
    wanted: AtomicI64,
    begun: Notify,
}

/// Counts one who waits, for as long as it lives.
struct Waits<'a>(&'a Waiting);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Progress {
    /// Standings for these projections, all at position 0.
    pub fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        let standings = names
            .into_iter()
            .map(|name| {
                (
                    name,
                    Standing {
                        position: watch::Sender::new(0),
                        highest: AtomicI64::new(0),
                        stopped: AtomicBool::new(false),
                    },
                )
            })
            .collect();
        Self { standings: Arc::new(standings), waiting: Arc::default() }
    }

    /// Records that a projection stands at `position`. It may step back: after a crash of the database it does. One
    /// that moves on is not stopped any more, whoever moved it.
    pub fn set(&self, projection: &str, position: i64) {
        if let Some(standing) = self.standings.get(projection) {
            standing.highest.fetch_max(position, Ordering::Relaxed);
            if standing.position.send_replace(position) < position {
                standing.stopped.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Records that a projection cannot go on (or can again). Nobody waits for a stopped one.
    pub fn set_stopped(&self, projection: &str, stopped: bool) {
        if let Some(standing) = self.standings.get(projection) {
            standing.stopped.store(stopped, Ordering::Relaxed);
            // Wakes those who wait, so that they see it.
            standing.position.send_modify(|_| {});
        }
    }

    /// Waits until every named projection that is not stopped has reached `position`, or until `bound` is over.
    /// Returns whether they have.
    pub async fn wait(&self, projections: &[&str], position: i64, bound: Duration) -> bool {
        self.waiting.wanted.fetch_max(position, Ordering::Relaxed);
        self.waiting.count.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        self.waiting.begun.notify_one();
        let all = async {
            for name in projections {
                if let Some(standing) = self.standings.get(name) {
                    let mut receiver = standing.position.subscribe();
                    // An error means that the sender is gone, which it cannot be while `self` lives.
                    let _ = receiver
                        .wait_for(|at| *at >= position || standing.stopped.load(Ordering::Relaxed))
                        .await;
                }
            }
        };
        tokio::time::timeout(bound, all).await.is_ok()
    }

    /// Whether anybody waits now.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.count.load(Ordering::Relaxed) > 0
    }

    /// Returns when somebody begins to wait. For one caller.
    pub(crate) async fn awaited(&self) {
        self.waiting.begun.notified().await;
    }

    /// The highest position that anybody has waited for.
    pub(crate) fn wanted(&self) -> i64 {
        self.waiting.wanted.load(Ordering::Relaxed)
    }

    /// The projections that have not reached `position`, or stand lower than they once did in this process: after a
    /// crash of the database they step back.
    pub fn behind(&self, position: i64) -> Vec<&'static str> {
        self.standings
            .iter()
            .filter(|(_, standing)| {
                *standing.position.borrow() < position.max(standing.highest.load(Ordering::Relaxed))
            })
            .map(|(name, _)| *name)
            .collect()
    }

    /// Name, position and whether it is stopped, of every projection.
    pub fn all(&self) -> Vec<(&'static str, i64, bool)> {
        self.standings
            .iter()
            .map(|(name, standing)| {
                (*name, *standing.position.borrow(), standing.stopped.load(Ordering::Relaxed))
            })
            .collect()
    }
}
