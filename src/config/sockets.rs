//! Limits of open connections.

use std::time::Duration;

use super::error::ConfigError;
use super::reader::Reader;

/// Limits of a listener's connections.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Maximum number of open connections.
    pub connections: usize,
    /// How long a client may leave its send buffer full before it is disconnected.
    pub slow: Duration,
}

/// Limits of connections, streams and sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketsConfig {
    /// `MAX_CONNECTIONS`: connections to this process; further ones are rejected with a retry hint.
    pub connections: usize,
    /// `MAX_SOCKETS_PER_USER`: WebSockets of one user on this process.
    pub per_user: usize,
    /// `MAX_STREAMS_PER_USER`: event streams (SSE) of one user on this process.
    pub streams_per_user: usize,
    /// `SOCKET_PING_SECONDS`: ping interval of a WebSocket; three unanswered pings end it.
    pub ping: Duration,
    /// `SLOW_CLIENT_SECONDS`: how long a client may leave its send buffer full before it is disconnected.
    pub slow: Duration,
}

impl SocketsConfig {
    /// Returns the limits of the accept loop.
    pub fn serving(&self) -> ServeLimits {
        ServeLimits { connections: self.connections, slow: self.slow }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            connections: reader.count("MAX_CONNECTIONS", 16_384, 16..=1_000_000)?,
            per_user: reader.count("MAX_SOCKETS_PER_USER", 20, 1..=100_000)?,
            streams_per_user: reader.count("MAX_STREAMS_PER_USER", 20, 1..=100_000)?,
            ping: Duration::from_secs(reader.number("SOCKET_PING_SECONDS", 25, 1..=300)?),
            slow: Duration::from_secs(reader.number("SLOW_CLIENT_SECONDS", 30, 1..=600)?),
        })
    }
}
