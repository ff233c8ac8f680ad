//! The circuit breaker of one provider and key: while it fails all the time it is not called, but for a probe now and then.
//!
//! Known crates either let every caller through as soon as the pause is over, or count rates over windows; what is wanted is
//! one probe at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When a circuit opens, and how often it is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitSettings {
    /// So many failures in a row open it; none: it never opens.
    pub failures: Option<u32>,
    /// One probe in this time.
    pub probe_every: Duration,
}

impl Default for CircuitSettings {
    fn default() -> Self {
        Self { failures: Some(20), probe_every: Duration::from_secs(5) }
    }
}

/// A change of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It opened: the provider is given up on for now.
    Opened,
    /// It closed: the provider is back.
    Closed,
}

#[derive(Debug)]
enum State {
    /// Calls go through; so many failures in a row so far.
    Closed(u32),
    /// Nothing goes through before then, and then one call.
    Open(Instant),
}

/// The breaker. Cheap to clone: a clone is the same one.
#[derive(Debug, Clone)]
pub(super) struct Breaker {
    settings: CircuitSettings,
    state: Arc<Mutex<State>>,
}

impl Breaker {
    /// A closed one.
    pub(super) fn new(settings: CircuitSettings) -> Self {
        Self { settings, state: Arc::new(Mutex::new(State::Closed(0))) }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long until something may go through; none while it is closed.
    pub(super) fn opens_in(&self, now: Instant) -> Option<Duration> {
        self.with(|state| match state {
            State::Closed(_) => None,
            State::Open(probe) => Some(probe.saturating_duration_since(now)),
        })
    }

    /// Whether a call may go through now. While it is open, whoever is let through is the probe, and the next one waits
    /// again, whatever becomes of this one.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let every = self.settings.probe_every;
        self.with(|state| match state {
            State::Closed(_) => true,
            State::Open(probe) if *probe <= now => {
                *probe = now + every;
                true
            }
            State::Open(_) => false,
        })
    }

    /// A call went well: it closes, and failures are counted from 0.
    pub(super) fn succeeded(&self) -> Option<Change> {
        self.with(|state| match std::mem::replace(state, State::Closed(0)) {
            State::Closed(_) => None,
            State::Open(_) => Some(Change::Closed),
        })
    }

    /// A call failed in a way that speaks against the provider.
    pub(super) fn failed(&self, now: Instant) -> Option<Change> {
        let settings = self.settings;
        self.with(|state| match state {
            State::Closed(failures) => {
                *failures = failures.saturating_add(1);
                let opens = settings.failures.is_some_and(|most| *failures >= most);
                opens.then(|| {
                    *state = State::Open(now + settings.probe_every);
                    Change::Opened
                })
            }
            State::Open(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(5);

    fn breaker() -> Breaker {
        Breaker::new(CircuitSettings { failures: Some(3), probe_every: EVERY })
    }

    fn open(at: Instant) -> Breaker {
        let breaker = breaker();
        for _ in 0..3 {
            breaker.failed(at);
        }
        breaker
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row() {
        let (breaker, now) = (breaker(), Instant::now());
        assert_eq!([breaker.failed(now), breaker.failed(now), breaker.succeeded()], [None; 3]);
        assert_eq!([breaker.failed(now), breaker.failed(now)], [None; 2]);
        assert!(breaker.admits(now) && breaker.opens_in(now).is_none());
        assert_eq!(breaker.failed(now), Some(Change::Opened));
        assert!(!breaker.admits(now));
        assert_eq!(breaker.opens_in(now), Some(EVERY));
    }

    #[test]
    fn while_it_is_open_one_probe_in_each_interval_goes_through() {
        let start = Instant::now();
        let breaker = open(start);
        assert!(!breaker.admits(start + EVERY - Duration::from_millis(1)));
        let mut admitted = 0;
        for millis in (0..60_000).step_by(10) {
            if breaker.admits(start + Duration::from_millis(millis)) {
                admitted += 1;
                breaker.failed(start + Duration::from_millis(millis));
            }
        }
        assert_eq!(admitted, 11, "at 5, 10, ... 55 seconds");
    }

    #[test]
    fn the_first_success_closes_it_and_failures_count_anew() {
        let start = Instant::now();
        let breaker = open(start);
        assert!(breaker.admits(start + EVERY));
        assert_eq!(breaker.succeeded(), Some(Change::Closed));
        assert!(breaker.admits(start) && breaker.admits(start));
        assert_eq!([breaker.failed(start), breaker.failed(start)], [None; 2]);
        assert_eq!(breaker.failed(start), Some(Change::Opened));
    }

    #[test]
    fn a_call_that_began_before_it_opened_may_close_it() {
        let breaker = open(Instant::now());
        assert_eq!(breaker.succeeded(), Some(Change::Closed));
    }

    #[test]
    fn without_a_number_it_never_opens() {
        let breaker = Breaker::new(CircuitSettings { failures: None, probe_every: EVERY });
        let now = Instant::now();
        assert!((0..1_000).all(|_| breaker.failed(now).is_none()));
        assert!(breaker.admits(now));
    }
}
