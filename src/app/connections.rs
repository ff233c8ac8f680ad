//! Open streams and sockets: their number per user, the logins behind them, and the feed of a user's sockets.

use super::connection_limits::{ConnectionKind, ConnectionLimits, ConnectionPermit};
use super::{Actor, AppError, Core, Kind};
use crate::auth::{LoginMonitor, WatchedLogin};
use crate::live::{UserChannels, UserFeed};

/// Guards one open stream or socket: holds its permit and watches its login.
#[derive(Debug)]
pub struct ConnectionGuard {
    login: WatchedLogin,
    _permit: ConnectionPermit,
}

impl ConnectionGuard {
    /// Completes when the login has ended, on any node.
    pub async fn ended(&self) {
        self.login.ended().await;
    }

    /// Continues with another login of the same user.
    pub fn change_login(&mut self, connections: &ConnectionService, actor: Actor) {
        self.login = connections.login_monitor.watch(actor.login);
    }
}

/// Open streams and sockets of this process.
pub struct ConnectionService {
    /// The log.
    pub core: Core,
    /// Number of streams and sockets per user.
    pub limits: ConnectionLimits,
    /// Logins behind open streams and sockets.
    pub login_monitor: LoginMonitor,
    /// Feeds of users' sockets.
    pub user_channels: UserChannels,
}

impl ConnectionService {
    /// Registers an open connection of the actor.
    ///
    /// # Errors
    /// `Throttled` if too many are open.
    pub fn open(&self, actor: Actor, kind: ConnectionKind) -> Result<ConnectionGuard, AppError> {
        let permit = self.limits.acquire(actor.user.uuid(), kind)?;
        Ok(ConnectionGuard { login: self.login_monitor.watch(actor.login), _permit: permit })
    }

    /// Validates a position that a client sends: a response or an item must have contained it.
    ///
    /// # Errors
    /// `Invalid` for a position beyond the log; those of the log.
    pub async fn known_position(&self, position: i64) -> Result<i64, AppError> {
        let known = position >= 0
            && (position <= self.user_channels.position()
                || position <= self.core.reader.last_position().await.map_err(AppError::unavailable)?);
        if known {
            return Ok(position);
        }
        Err(AppError::new(
            Kind::Invalid,
            "invalid_position",
            "`after` is not a position this server has sent.",
        ))
    }

    /// Returns the feed of a user's sockets, from now on or since a position.
    pub fn feed(&self, actor: Actor, after: Option<i64>) -> UserFeed {
        self.user_channels.follow(actor.user.uuid(), after)
    }
}
