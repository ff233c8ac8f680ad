//! Exports the lag of the projections and the state of the connection pool as metrics.

use std::time::Duration;

use event_store::{FastPool, LogReader, PoolStats};
use projections::progress::ProjectionProgress;
use tokio_util::sync::CancellationToken;

/// Interval of the export.
const EXPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Exports the log's head and safe position, the age of the oldest open append, each projection's lag and the connections of
/// `pool`, until `stop`.
pub async fn export(
    reader: LogReader,
    progress: ProjectionProgress,
    pool: FastPool,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EXPORT_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
        // Before the queries: these figures matter most when the database does not answer.
        let PoolStats { open, idle, max } = pool.stats();
        let busy = usize::try_from(open).unwrap_or_default().saturating_sub(idle);
        metrics::gauge!("verbatim_database_connections_open").set(f64::from(open));
        metrics::gauge!("verbatim_database_connections_busy").set(busy as f64);
        metrics::gauge!("verbatim_database_connections_max").set(f64::from(max));
        let (Ok(bounds), Ok(age), Ok(settled)) =
            (reader.bounds().await, reader.oldest_open_append_age().await, reader.last_position().await)
        else {
            continue;
        };
        metrics::gauge!("verbatim_log_head").set(bounds.head as f64);
        metrics::gauge!("verbatim_log_safe_position").set(bounds.safe_position as f64);
        metrics::gauge!("verbatim_oldest_open_append_seconds").set(age);
        for (projection, position, _) in progress.all() {
            metrics::gauge!("verbatim_projection_lag", "projection" => projection)
                .set((settled - position).max(0) as f64);
        }
    }
}
