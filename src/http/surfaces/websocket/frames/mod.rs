//! The one vocabulary of frames: what sockets of every door send and are sent, and what streams carry as events.
//!
//! Each frame is a JSON object with a `type`. [`VERSION`] names the whole; fields and frames are only ever added within a
//! version, so a client ignores those that it does not know. `docs/websocket.md` has an example of each, which a test reads
//! with these types.

mod client;
mod server;

pub use client::{ClientEnvelope, ClientFrame, MalformedFrame};
pub use server::{CancelledFrame, ErrorFrame, ServerFrame, StoredMessage};

/// Version of the vocabulary.
pub const VERSION: u32 = 1;
