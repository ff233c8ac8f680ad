//! The live feed: what a reply looks like while it is being written.
//!
//! Deltas are not events. The text of a running attempt stands once in memory, bounded by the size of a reply; every
//! client that follows it reads from there at its own pace, so that a slow one costs nothing and misses nothing. Ends
//! come from the log, never from the worker, so that every node learns of them alike.
//!
//! [`hub`], [`stream`]: replies and who follows one · [`people`], [`feed`]: what all sockets of a person are told ·
//! [`patience`]: how long the database may fail them · [`between`], [`sealed`]: the same between processes.

pub mod between;
pub mod feed;
pub mod hub;
pub mod patience;
pub mod people;
pub mod sealed;
pub mod stream;

pub use feed::{Fed, UserFeed};
pub use hub::{Hub, LiveReply};
pub use people::{Item, People};
pub use stream::{Frame, ReplyFollower, Resume};

use std::sync::Arc;
use std::time::Duration;

use event_store::{FastPool, RecordedEvent, Subscription};
use projections::progress::Progress;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where the live feed looks up what is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The read models.
    pub pool: FastPool,
    /// How far they are.
    pub progress: Progress,
    /// Looks run here, to their end: whoever is slow to take what they bring must not hold a connection to the database
    /// meanwhile.
    pub tasks: TaskTracker,
}

/// How long whoever follows waits for the read models before they are looked into.
pub const CATCH_UP: Duration = Duration::from_millis(300);
/// How many events are taken from the log at once.
const BATCH: usize = 500;
/// How long a log that cannot be read is left alone.
const PAUSE: Duration = Duration::from_millis(250);

/// The next events for the live feed; none at `stop`. A log that cannot be read is asked again.
async fn next_events(
    subscription: &mut Subscription,
    stop: &CancellationToken,
) -> Option<Vec<Arc<RecordedEvent>>> {
    loop {
        let events = tokio::select! {
            events = subscription.next(BATCH) => events,
            () = stop.cancelled() => return None,
        };
        match events {
            Ok(events) => return Some(events),
            Err(error) => tracing::error!(%error, "the live feed cannot read the log"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => return None,
        }
    }
}
