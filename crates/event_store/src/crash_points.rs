//! Crash points: code positions where a test build (feature `fault-injection`) can be made to abort, as suddenly as by
//! `kill -9` but at a chosen moment. Code passes one with [`crash_point!`](crate::crash_point).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The crash points, in the order in which a message passes them.
pub const POINTS: [&str; 9] = [
    // A command's events are appended, and the client has no answer yet.
    "appended",
    // A projection has written its rows and has not committed.
    "projected",
    // The relay has published messages and has no acknowledgement yet.
    "published",
    // The relay has all acknowledgements and has not stored its position.
    "acknowledged",
    // A worker holds a lease and has not recorded that the attempt began.
    "leased",
    // The attempt has begun, and the provider has not been called.
    "begun",
    // The first piece of text has arrived.
    "first-delta",
    // All text has arrived and is not recorded.
    "streamed",
    // The reply is recorded, and the job's message is not acknowledged.
    "recorded",
];

/// Crash points that only an upload passes.
pub const FILE_POINTS: [&str; 1] = [
    // The bytes are in the store, and no event says so yet.
    "bytes-stored",
];

struct Armed {
    point: &'static str,
    /// Number of passes left until the crash.
    left: AtomicU32,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Makes this process abort at `point`, the `nth` time that it passes (from 1). Returns `false` when there is no such point.
pub fn arm(point: &str, nth: u32) -> bool {
    let Some(point) = POINTS.into_iter().chain(FILE_POINTS).find(|known| *known == point) else {
        return false;
    };
    ARMED.get_or_init(|| Armed { point, left: AtomicU32::new(nth) });
    true
}

/// Aborts the process if `point` is armed and this is its pass; called by [`crash_point!`](crate::crash_point).
pub fn pass(point: &str) {
    if let Some(armed) = ARMED.get().filter(|armed| armed.point == point)
        && armed.left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        // Nothing is unwound, flushed or closed.
        std::process::abort();
    }
}
