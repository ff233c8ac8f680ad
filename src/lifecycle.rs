//! The life of the process: tracked tasks, signals, and an end in order.
//!
//! *Soft*: nothing new is taken; what has been begun goes on. *Hard*: what still runs is broken off, in such a way that
//! somebody else can take it up. A second signal, or the end of the grace time, forces the exit.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tokens and trackers of the process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    /// Nothing new is taken.
    pub soft: CancellationToken,
    /// What runs is broken off.
    pub hard: CancellationToken,
    /// Services that everything else needs (readers of the log, projections) end last.
    pub last: CancellationToken,
    /// Connections, commands, replies: what shutdown waits for.
    pub work: TaskTracker,
    /// Services.
    pub services: TaskTracker,
}

impl Lifecycle {
    /// A process that has just begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a service until the end of the process; its future has to end when `last` is cancelled.
    pub fn service(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.services.spawn(future);
    }

    /// Ends the process in order, within `grace`. Returns whether everything ended by itself.
    pub async fn shut_down(&self, grace: Duration) -> bool {
        let started = tokio::time::Instant::now();
        self.soft.cancel();
        self.work.close();
        self.services.close();
        // Replies may finish for a while; then they are left to whoever comes next.
        let patience = grace / 2;
        if tokio::time::timeout(patience, self.work.wait()).await.is_err() {
            tracing::info!(tasks = self.work.len(), "breaking off what still runs");
            self.hard.cancel();
        }
        let left = grace.saturating_sub(started.elapsed()).saturating_sub(grace / 5);
        let worked = tokio::time::timeout(left, self.work.wait()).await.is_ok();
        self.hard.cancel();
        self.last.cancel();
        let served = tokio::time::timeout(grace / 10, self.services.wait()).await.is_ok();
        if !worked || !served {
            tracing::warn!(
                work = self.work.len(),
                services = self.services.len(),
                "tasks did not end in time"
            );
        }
        worked && served
    }
}

/// The signals that end the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
