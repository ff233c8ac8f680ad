//! Open streams and sockets: their number per user, the logins behind them, and the feed of a user's sockets.

use super::connection_limits::{ConnectionKind, ConnectionLimits, ConnectionPermit};
use super::{Actor, AppError, Core, Kind};
use crate::auth::{OpenLogin, OpenLogins};
use crate::live::{People, UserFeed};

/// Guards one open stream or socket: holds its permit and watches its login.
#[derive(Debug)]
pub struct ConnectionGuard {
    login: OpenLogin,
    _permit: ConnectionPermit,
}

impl ConnectionGuard {
    /// Becomes ready when the login has ended, on whatever node.
    pub async fn ended(&self) {
        self.login.ended().await;
    }

    /// The same person goes on with another login.
    pub fn change_login(&mut self, connections: &ConnectionService, actor: Actor) {
        self.login = connections.open_logins.enter(actor.login);
    }
}

/// Open streams and sockets of this process.
pub struct ConnectionService {
    /// The log.
    pub core: Core,
    /// Number of streams and sockets per user.
    pub limits: ConnectionLimits,
    /// Logins behind open streams and sockets.
    pub open_logins: OpenLogins,
    /// Feeds of users' sockets.
    pub people: People,
}

impl ConnectionService {
    /// Notes that something of the actor's is open.
    ///
    /// # Errors
    /// `Throttled` when too much is.
    pub fn open(&self, actor: Actor, what: ConnectionKind) -> Result<ConnectionGuard, AppError> {
        let permit = self.limits.acquire(actor.user.uuid(), what)?;
        Ok(ConnectionGuard { login: self.open_logins.enter(actor.login), _permit: permit })
    }

    /// A position that a client names, when an answer or an item can have told it.
    ///
    /// # Errors
    /// `Invalid` when nothing stands there yet; those of the log.
    pub async fn known_position(&self, position: i64) -> Result<i64, AppError> {
        let known = position >= 0
            && (position <= self.people.position()
                || position <= self.core.reader.last_position().await.map_err(AppError::unavailable)?);
        if known {
            return Ok(position);
        }
        Err(AppError::new(Kind::Invalid, "invalid_position", "Nothing has been told from this position."))
    }

    /// What a person's sockets are told from now on, or since a position.
    pub fn feed(&self, actor: Actor, after: Option<i64>) -> UserFeed {
        self.people.follow(actor.user.uuid(), after)
    }
}
