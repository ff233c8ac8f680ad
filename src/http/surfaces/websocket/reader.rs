//! Reads frames from a socket and enforces the limits on them.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, close_code};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};

use super::upgrade::MAX_FRAME;

/// Maximum frames of a client within one second.
pub(super) const MAX_FRAMES_PER_SECOND: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// Something received from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A text frame.
    Text(String),
    /// A ping or pong.
    Heartbeat,
    /// A broken limit: close with this code and reason.
    Violation(u16, &'static str),
    /// The client closed the connection.
    Closed,
    /// The connection was lost.
    Lost,
}

/// Reads and counts frames.
#[derive(Debug)]
pub(super) struct FrameReader {
    since: Instant,
    count: u32,
}

impl FrameReader {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), count: 0 }
    }

    /// Waits for the next frame. Cancel-safe.
    pub(super) async fn next(&mut self, socket: &mut WebSocket) -> Incoming {
        let incoming = match socket.recv().await {
            None => return Incoming::Lost,
            Some(Err(error)) => return violation(&error),
            Some(Ok(message)) => message,
        };
        let now = Instant::now();
        if now.duration_since(self.since) >= SECOND {
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
        if self.count > MAX_FRAMES_PER_SECOND {
            return Incoming::Violation(close_code::POLICY, "too many frames");
        }
        match incoming {
            Message::Text(text) if text.len() > MAX_FRAME => too_large(),
            Message::Text(text) => Incoming::Text(text.as_str().to_owned()),
            Message::Binary(_) => Incoming::Violation(close_code::UNSUPPORTED, "text frames only"),
            Message::Ping(_) | Message::Pong(_) => Incoming::Heartbeat,
            Message::Close(_) => Incoming::Closed,
        }
    }
}

fn too_large() -> Incoming {
    Incoming::Violation(close_code::SIZE, "frames of 64 KiB at most")
}

/// Returns the library's error.
pub(super) fn socket_error(error: &axum::Error) -> Option<&SocketError> {
    std::error::Error::source(error)?.downcast_ref()
}

fn violation(error: &axum::Error) -> Incoming {
    match socket_error(error) {
        Some(SocketError::Capacity(CapacityError::MessageTooLong { .. })) => too_large(),
        Some(SocketError::Utf8(_)) => Incoming::Violation(close_code::INVALID, "text must be UTF-8"),
        Some(SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Incoming::Lost,
        Some(SocketError::Protocol(_)) => {
            Incoming::Violation(close_code::PROTOCOL, "not a frame of RFC 6455")
        }
        _ => Incoming::Lost,
    }
}
