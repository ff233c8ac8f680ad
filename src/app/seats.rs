//! How many streams and sockets a person may have open at a time, in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::error::{AppError, Kind};

/// What is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opened {
    /// A WebSocket.
    Socket,
    /// A stream of server-sent events.
    Stream,
}

/// The seats of everybody. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Seats {
    taken: Arc<Mutex<HashMap<(Uuid, Opened), usize>>>,
    sockets: usize,
    streams: usize,
}

/// A seat, for as long as it lives.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    key: (Uuid, Opened),
}

impl Seats {
    /// So many of each for each person.
    #[must_use]
    pub fn new(sockets: usize, streams: usize) -> Self {
        Self { taken: Arc::default(), sockets, streams }
    }

    /// Takes a seat.
    ///
    /// # Errors
    /// `Throttled` when the person has as many open already.
    pub fn take(&self, user: Uuid, what: Opened) -> Result<Seat, AppError> {
        let (most, name) = match what {
            Opened::Socket => (self.sockets, "sockets"),
            Opened::Stream => (self.streams, "streams"),
        };
        let key = (user, what);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key).or_default();
        if *count >= most {
            let detail = format!("At most {most} {name} can be open at a time.");
            return Err(
                AppError::new(Kind::Throttled, "too_many_streams", detail).after(Duration::from_secs(5))
            );
        }
        *count += 1;
        if what == Opened::Stream {
            metrics::gauge!("verbatim_streams_open").increment(1.0);
        }
        Ok(Seat { seats: self.clone(), key })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.key.1 == Opened::Stream {
            metrics::gauge!("verbatim_streams_open").decrement(1.0);
        }
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_by_person_and_kind_and_given_back() {
        let seats = Seats::new(2, 1);
        let (ada, eve) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = seats.take(ada, Opened::Socket).unwrap();
        let _second = seats.take(ada, Opened::Socket).unwrap();
        let refused = seats.take(ada, Opened::Socket).unwrap_err();
        assert_eq!((refused.kind, refused.code), (Kind::Throttled, "too_many_streams"));
        let _stream = seats.take(ada, Opened::Stream).unwrap();
        let _others = seats.take(eve, Opened::Socket).unwrap();
        drop(first);
        let _again = seats.take(ada, Opened::Socket).unwrap();
        assert!(seats.take(ada, Opened::Socket).is_err());
    }

    #[test]
    fn nobody_is_remembered_without_a_seat() {
        let seats = Seats::new(0, 1);
        assert!(seats.take(Uuid::from_u128(1), Opened::Socket).is_err());
        drop(seats.take(Uuid::from_u128(1), Opened::Stream).unwrap());
        assert!(seats.taken.lock().unwrap().values().all(|count| *count == 0));
    }
}
