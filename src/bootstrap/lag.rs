//! Tells how far the readers of the log are behind it, and how busy the connections to the database are.

use std::time::Duration;

use event_store::LogReader;
use event_store::fast_pool::WarmPool;
use projections::progress::Progress;
use tokio_util::sync::CancellationToken;

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// Exports head, floor, the floor's age, each projection's lag and the connections of `pool` until `stop`.
pub async fn export(reader: LogReader, progress: Progress, pool: WarmPool, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        // Before the database is asked: these are of most interest when it does not answer.
        let (open, idle, most) = pool.standing();
        let busy = usize::try_from(open).unwrap_or_default().saturating_sub(idle);
        metrics::gauge!("verbatim_database_connections_open").set(f64::from(open));
        metrics::gauge!("verbatim_database_connections_busy").set(busy as f64);
        metrics::gauge!("verbatim_database_connections_max").set(f64::from(most));
        let (Ok(bounds), Ok(age), Ok(settled)) =
            (reader.bounds().await, reader.floor_age().await, reader.last_settled().await)
        else {
            continue;
        };
        metrics::gauge!("verbatim_log_head").set(bounds.last_position as f64);
        metrics::gauge!("verbatim_log_floor").set(bounds.safe_position as f64);
        metrics::gauge!("verbatim_log_floor_age_seconds").set(age);
        for (projection, position, _) in progress.all() {
            metrics::gauge!("verbatim_projection_lag", "projection" => projection)
                .set((settled - position).max(0) as f64);
        }
    }
}
