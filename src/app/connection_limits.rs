//! Limits the open streams and sockets per user, in this process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use uuid::Uuid;

use super::error::{AppError, Kind};

/// Kind of an open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionKind {
    /// A WebSocket.
    Socket,
    /// A stream of server-sent events.
    Stream,
}

/// Counts the open connections of each user. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    open: Arc<Mutex<HashMap<(Uuid, ConnectionKind), usize>>>,
    sockets: usize,
    streams: usize,
}

/// Permit for one open connection; dropping it releases the permit.
#[derive(Debug)]
pub struct ConnectionPermit {
    limits: ConnectionLimits,
    key: (Uuid, ConnectionKind),
}

impl ConnectionLimits {
    /// Allows so many of each kind per user.
    #[must_use]
    pub fn new(sockets: usize, streams: usize) -> Self {
        Self { open: Arc::default(), sockets, streams }
    }

    /// Acquires a permit.
    ///
    /// # Errors
    /// `Throttled` if the user already has the maximum open.
    pub fn acquire(&self, user: Uuid, kind: ConnectionKind) -> Result<ConnectionPermit, AppError> {
        let (max, name) = match kind {
            ConnectionKind::Socket => (self.sockets, "sockets"),
            ConnectionKind::Stream => (self.streams, "streams"),
        };
        let key = (user, kind);
        let mut open = self.open.lock();
        let count = open.entry(key).or_default();
        if *count >= max {
            let detail = format!("At most {max} {name} can be open at once.");
            return Err(
                AppError::new(Kind::Throttled, "too_many_streams", detail).after(Duration::from_secs(5))
            );
        }
        *count += 1;
        if kind == ConnectionKind::Stream {
            metrics::gauge!("verbatim_streams_open").increment(1.0);
        }
        Ok(ConnectionPermit { limits: self.clone(), key })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if self.key.1 == ConnectionKind::Stream {
            metrics::gauge!("verbatim_streams_open").decrement(1.0);
        }
        let mut open = self.limits.open.lock();
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_counted_per_user_and_kind_and_released() {
        let limits = ConnectionLimits::new(2, 1);
        let (ada, eve) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = limits.acquire(ada, ConnectionKind::Socket).unwrap();
        let _second = limits.acquire(ada, ConnectionKind::Socket).unwrap();
        let rejected = limits.acquire(ada, ConnectionKind::Socket).unwrap_err();
        assert_eq!((rejected.kind, rejected.code), (Kind::Throttled, "too_many_streams"));
        let _stream = limits.acquire(ada, ConnectionKind::Stream).unwrap();
        let _others = limits.acquire(eve, ConnectionKind::Socket).unwrap();
        drop(first);
        let _again = limits.acquire(ada, ConnectionKind::Socket).unwrap();
        assert!(limits.acquire(ada, ConnectionKind::Socket).is_err());
    }

    #[test]
    fn user_without_permits_is_not_stored() {
        let limits = ConnectionLimits::new(0, 1);
        assert!(limits.acquire(Uuid::from_u128(1), ConnectionKind::Socket).is_err());
        drop(limits.acquire(Uuid::from_u128(1), ConnectionKind::Stream).unwrap());
        assert!(limits.open.lock().values().all(|count| *count == 0));
    }
}
