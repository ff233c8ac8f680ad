//! What comes in through a socket, held to its limits.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, close_code};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};

use super::upgrade::MAX_FRAME;

/// How many frames a client may send within one second.
pub(super) const MAX_FRAMES_PER_SECOND: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// Something that came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// A frame of text.
    Text(String),
    /// A sign of life.
    Life,
    /// A breach: to be closed with this code, for this reason.
    Breach(u16, &'static str),
    /// The client has closed.
    Closed,
    /// The client is gone.
    Gone,
}

/// Counts frames.
#[derive(Debug)]
pub(super) struct Inbox {
    since: Instant,
    count: u32,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), count: 0 }
    }

    /// Waits for the next frame. The wait may be given up at any time.
    pub(super) async fn next(&mut self, socket: &mut WebSocket) -> Came {
        let came = match socket.recv().await {
            None => return Came::Gone,
            Some(Err(error)) => return breach(&error),
            Some(Ok(message)) => message,
        };
        let now = Instant::now();
        if now.duration_since(self.since) >= SECOND {
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
        if self.count > MAX_FRAMES_PER_SECOND {
            return Came::Breach(close_code::POLICY, "too many frames");
        }
        match came {
            Message::Text(text) if text.len() > MAX_FRAME => too_large(),
            Message::Text(text) => Came::Text(text.as_str().to_owned()),
            Message::Binary(_) => Came::Breach(close_code::UNSUPPORTED, "text frames only"),
            Message::Ping(_) | Message::Pong(_) => Came::Life,
            Message::Close(_) => Came::Closed,
        }
    }
}

fn too_large() -> Came {
    Came::Breach(close_code::SIZE, "frames of 64 KiB at most")
}

/// What the library says is wrong.
pub(super) fn socket_error(error: &axum::Error) -> Option<&SocketError> {
    std::error::Error::source(error)?.downcast_ref()
}

fn breach(error: &axum::Error) -> Came {
    match socket_error(error) {
        Some(SocketError::Capacity(CapacityError::MessageTooLong { .. })) => too_large(),
        Some(SocketError::Utf8(_)) => Came::Breach(close_code::INVALID, "text must be UTF-8"),
        Some(SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Came::Gone,
        Some(SocketError::Protocol(_)) => Came::Breach(close_code::PROTOCOL, "not a frame of RFC 6455"),
        _ => Came::Gone,
    }
}
