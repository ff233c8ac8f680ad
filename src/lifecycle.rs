//! The life of the process: tracked tasks, signals and an orderly shutdown.
//!
//! Shutdown has three steps: *stop accepting* new work while running work continues; *abort* running work, so that another
//! process can resume it; *stop services* that running work depends on. A second signal, or the end of the grace period,
//! forces the exit.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Cancellation tokens and task trackers of the process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    /// No new work is accepted.
    pub stop_accepting: CancellationToken,
    /// Running work is aborted.
    pub abort: CancellationToken,
    /// Services that running work needs (log readers, projections) stop, last of all.
    pub stop_services: CancellationToken,
    /// Connections, commands and replies: shutdown waits for them.
    pub work: TaskTracker,
    /// Background services: shutdown waits for them after `stop_services`.
    pub services: TaskTracker,
}

impl Lifecycle {
    /// The state of a running process.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a service, whose future must end when `stop_services` is cancelled, or earlier.
    pub fn service(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.services.spawn(future);
    }

    /// Shuts the process down within `grace`. Returns whether all tasks ended in time.
    pub async fn shut_down(&self, grace: Duration) -> bool {
        let started = tokio::time::Instant::now();
        self.stop_accepting.cancel();
        self.work.close();
        self.services.close();
        // Running replies get half of the grace period; then another process resumes them.
        let drain_timeout = grace / 2;
        if tokio::time::timeout(drain_timeout, self.work.wait()).await.is_err() {
            tracing::info!(tasks = self.work.len(), "aborting running tasks");
            self.abort.cancel();
        }
        let left = grace.saturating_sub(started.elapsed()).saturating_sub(grace / 5);
        let worked = tokio::time::timeout(left, self.work.wait()).await.is_ok();
        self.abort.cancel();
        self.stop_services.cancel();
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

/// The signals that shut the process down.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to listen.
    ///
    /// # Errors
    /// The operating system's.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal and returns its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
