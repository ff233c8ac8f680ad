//! Follows the read models of other processes: how far they are stands in the checkpoints.
//!
//! For a process that keeps no read models itself and still has to wait for them. It looks often while somebody waits,
//! and seldom otherwise.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::progress::Progress;
use event_store::FastPool;

/// How soon it looks again when somebody begins to wait, and how often while they go on waiting: what is waited for has
/// mostly just been written.
const AT_ONCE: Duration = Duration::from_millis(1);
const SOON: Duration = Duration::from_millis(5);
/// How often it looks otherwise.
const IDLE: Duration = Duration::from_millis(200);
/// A read model that somebody waits for and that has not moved for so long is taken for stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// Follows the checkpoints until `stop`.
pub async fn run(pool: FastPool, progress: Progress, stop: CancellationToken) {
    let mut moved: HashMap<&'static str, Instant> = HashMap::new();
    let mut pause = IDLE;
    while !stop.is_cancelled() {
        match sqlx::query_as::<_, (String, i64)>("SELECT projection, position FROM checkpoints")
            .fetch_all(&pool)
            .await
        {
            Ok(found) => look(&progress, &found.into_iter().collect(), &mut moved),
            Err(error) => tracing::warn!(%error, "the checkpoints cannot be read"),
        }
        pause = match progress.is_awaited() {
            false => IDLE,
            true if pause == IDLE => AT_ONCE,
            true => SOON.min(pause * 2),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = progress.awaited(), if pause == IDLE => {}
            () = stop.cancelled() => {}
        }
    }
}

fn look(progress: &Progress, found: &HashMap<String, i64>, moved: &mut HashMap<&'static str, Instant>) {
    let now = Instant::now();
    for (name, known, stopped) in progress.all() {
        let position = found.get(name).copied().unwrap_or(0);
        let since = moved.entry(name).or_insert(now);
        if position == known {
            let stands = progress.wanted() > position && now.duration_since(*since) > PATIENCE;
            if stands && !stopped {
                progress.set_stopped(name, true);
            }
        } else {
            *since = now;
            progress.set(name, position);
        }
        if progress.wanted() <= position {
            *since = now;
        }
    }
}
