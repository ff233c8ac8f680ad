//! The live feed: replies while they are written, and the items that a user's sockets receive.
//!
//! Deltas are not events. The text of a running attempt is held once in memory, bounded by the size of a reply; every
//! client reads from there at its own pace, so a slow client costs nothing and misses nothing. Ends of replies come from
//! the log, not from the worker, so every node sees them alike.
//!
//! [`live_replies`], [`stream`]: running replies and their followers · [`user_channels`], [`feed`]: items for all sockets of a
//! user · [`retry_budget`]: how long database failures are retried · [`cluster_bus`], [`envelope`]: exchange between
//! processes.

pub mod cluster_bus;
pub mod envelope;
pub mod feed;
pub mod live_replies;
pub mod retry_budget;
pub mod stream;
pub mod user_channels;

pub use feed::{FeedItem, UserFeed};
pub use live_replies::{LiveReplies, LiveReply};
pub use stream::{Frame, ReplyFollower, Resume};
pub use user_channels::{Item, UserChannels};

use std::sync::Arc;
use std::time::Duration;

use event_store::{FastPool, RecordedEvent, Subscription};
use projections::progress::ProjectionProgress;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Access to stored data for the live feed.
#[derive(Debug, Clone)]
pub struct ReadModels {
    /// Pool for the read models.
    pub pool: FastPool,
    /// ProjectionProgress of the read models.
    pub progress: ProjectionProgress,
    /// Runs queries to completion, so that a client slow to take the result holds no database connection.
    pub tasks: TaskTracker,
}

/// How long a follower waits for the read models to catch up before it queries them.
pub const CATCH_UP_TIMEOUT: Duration = Duration::from_millis(300);
/// Most events taken from the log at once.
const MAX_BATCH: usize = 500;
/// Pause after a failed read of the log.
const READ_RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Returns the next events for the live feed, or `None` at `stop`. Retries failed reads.
async fn next_events(
    subscription: &mut Subscription,
    stop: &CancellationToken,
) -> Option<Vec<Arc<RecordedEvent>>> {
    loop {
        let events = tokio::select! {
            events = subscription.next(MAX_BATCH) => events,
            () = stop.cancelled() => return None,
        };
        match events {
            Ok(events) => return Some(events),
            Err(error) => tracing::error!(%error, "live feed failed to read the log"),
        }
        tokio::select! {
            () = tokio::time::sleep(READ_RETRY_INTERVAL) => {}
            () = stop.cancelled() => return None,
        }
    }
}
