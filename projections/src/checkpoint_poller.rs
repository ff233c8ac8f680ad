//! Polls the checkpoints, to follow the read models of other processes.
//!
//! For a process that runs no projections itself but has to wait for them. It polls often while a request waits,
//! and rarely otherwise.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::progress::ProjectionProgress;
use event_store::FastPool;

/// First and longest poll interval while a request waits: the awaited event has
/// usually just been written.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(1);
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Poll interval while no request waits.
const IDLE_POLL_INTERVAL: Duration = Duration::from_millis(200);
/// An awaited projection that has not advanced for this long counts as stopped.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Polls the checkpoints until `stop`.
pub async fn run(pool: FastPool, progress: ProjectionProgress, stop: CancellationToken) {
    let mut moved: HashMap<&'static str, Instant> = HashMap::new();
    let mut pause = IDLE_POLL_INTERVAL;
    while !stop.is_cancelled() {
        match sqlx::query_as::<_, (String, i64)>("SELECT projection, position FROM checkpoints")
            .fetch_all(&pool)
            .await
        {
            Ok(found) => record(&progress, &found.into_iter().collect(), &mut moved),
            Err(error) => tracing::warn!(%error, "failed to read checkpoints"),
        }
        pause = match progress.is_awaited() {
            false => IDLE_POLL_INTERVAL,
            true if pause == IDLE_POLL_INTERVAL => MIN_POLL_INTERVAL,
            true => MAX_POLL_INTERVAL.min(pause * 2),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = progress.wait_started(), if pause == IDLE_POLL_INTERVAL => {}
            () = stop.cancelled() => {}
        }
    }
}

fn record(
    progress: &ProjectionProgress,
    found: &HashMap<String, i64>,
    moved: &mut HashMap<&'static str, Instant>,
) {
    let now = Instant::now();
    for (name, known, stopped) in progress.all() {
        let position = found.get(name).copied().unwrap_or(0);
        let since = moved.entry(name).or_insert(now);
        if position == known {
            let stalled = progress.highest_awaited() > position && now.duration_since(*since) > STALL_TIMEOUT;
            if stalled && !stopped {
                progress.set_stopped(name, true);
            }
        } else {
            *since = now;
            progress.set(name, position);
        }
        if progress.highest_awaited() <= position {
            *since = now;
        }
    }
}
