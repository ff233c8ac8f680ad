//! The live feed: what a reply looks like while it is being written.
//!
//! Deltas are not events. The text of a running attempt stands once in memory, bounded by the size of a reply; every
//! client that follows it reads from there at its own pace, so that a slow one costs nothing and misses nothing. Ends
//! come from the log, never from the worker, so that every node learns of them alike.

pub mod between;
pub mod hub;
pub mod sealed;
pub mod stream;

pub use hub::{Hub, LiveReply};
pub use stream::{Frame, ReplyFollower, Resume};
