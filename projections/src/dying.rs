//! Places at which a test build can be made to die (feature `planted`): as suddenly as a kill, but at a chosen moment.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The places, in the order in which a message comes past them.
pub const PLACES: [&str; 9] = [
    // A command is in the log and not answered yet.
    "committed",
    // A projection has written its rows and not committed.
    "applied",
    // The relay has sent messages and has no acknowledgement yet.
    "published",
    // It has them all, and has not noted where it stands.
    "acknowledged",
    // A worker holds a lease, and has not begun.
    "taken",
    // It has begun, and has not called the provider.
    "begun",
    // The first piece of text is there.
    "first-piece",
    // All of it is, and is not recorded.
    "spoken",
    // It is recorded, and the message that asked for it is not acknowledged.
    "recorded",
];

/// Places that only a file comes past.
pub const FILE_PLACES: [&str; 1] = [
    // Its bytes are in the store, and no event says so yet.
    "bytes-kept",
];

struct Armed {
    place: &'static str,
    /// How often it is still passed alive.
    left: AtomicU32,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Makes this process die at `place`, the `nth` time that it comes past (from 1). False: there is no such place.
pub fn arm(place: &str, nth: u32) -> bool {
    let Some(place) = PLACES.into_iter().chain(FILE_PLACES).find(|known| *known == place) else {
        return false;
    };
    ARMED.get_or_init(|| Armed { place, left: AtomicU32::new(nth) });
    true
}

/// This process comes past `place`.
pub fn pass(place: &str) {
    if let Some(armed) = ARMED.get().filter(|armed| armed.place == place)
        && armed.left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        // Nothing is unwound, flushed or closed.
        std::process::abort();
    }
}
