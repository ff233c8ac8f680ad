//! Frames of the WebSocket.
//!
//! Each frame is a JSON object with a `type`. Within a [`VERSION`], fields and frames are only added, so clients ignore
//! unknown ones. `docs/websocket.md` has an example of each; a test parses those with these types.

mod client;
mod server;

pub use client::{ClientEnvelope, ClientFrame, MalformedFrame};
pub use server::{CancelledFrame, ErrorFrame, ServerFrame, StoredMessage};

/// Version of the frames.
pub const VERSION: u32 = 1;
