//! Tells how far the readers of the log are behind it.

use std::time::Duration;

use projections::log::LogReader;
use projections::progress::Progress;
use tokio_util::sync::CancellationToken;

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// Exports head, floor, the floor's age and each projection's lag until `stop`.
pub async fn export(reader: LogReader, progress: Progress, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        let (Ok(bounds), Ok(age), Ok(settled)) =
            (reader.bounds().await, reader.floor_age().await, reader.last_settled().await)
        else {
            continue;
        };
        metrics::gauge!("verbatim_log_head").set(bounds.head as f64);
        metrics::gauge!("verbatim_log_floor").set(bounds.floor as f64);
        metrics::gauge!("verbatim_log_floor_age_seconds").set(age);
        for (projection, position, _) in progress.all() {
            metrics::gauge!("verbatim_projection_lag", "projection" => projection)
                .set((settled - position).max(0) as f64);
        }
    }
}
