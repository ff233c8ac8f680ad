//! The circuit breaker of one provider and key: while it is open, only periodic probes pass.
//!
//! Own code, because the known crates either let every caller pass when the pause is over, or count rates over windows; we
//! need one probe at a time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// When a circuit opens, and how often it is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitSettings {
    /// Consecutive failures that open the circuit; `None`: it never opens.
    pub failures: Option<u32>,
    /// Interval of the probes.
    pub probe_every: Duration,
}

impl Default for CircuitSettings {
    fn default() -> Self {
        Self { failures: Some(20), probe_every: Duration::from_secs(5) }
    }
}

/// A state change of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The circuit opened.
    Opened,
    /// The circuit closed.
    Closed,
}

#[derive(Debug)]
enum State {
    /// Calls pass; holds the number of consecutive failures.
    Closed(u32),
    /// No call passes before this time; then one probe.
    Open(Instant),
}

/// The circuit breaker. Clones share their state.
#[derive(Debug, Clone)]
pub(super) struct Breaker {
    settings: CircuitSettings,
    state: Arc<Mutex<State>>,
}

impl Breaker {
    /// Creates a closed circuit breaker.
    pub(super) fn new(settings: CircuitSettings) -> Self {
        Self { settings, state: Arc::new(Mutex::new(State::Closed(0))) }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock())
    }

    /// Returns the time until a probe may pass; `None` while the circuit is closed.
    pub(super) fn opens_in(&self, now: Instant) -> Option<Duration> {
        self.with(|state| match state {
            State::Closed(_) => None,
            State::Open(probe) => Some(probe.saturating_duration_since(now)),
        })
    }

    /// Returns whether a call may pass now. While the circuit is open, `true` makes the call the probe; the next probe waits a
    /// whole interval, whatever the result.
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

    /// Records a success: the circuit closes, and failures count from 0.
    pub(super) fn succeeded(&self) -> Option<Change> {
        self.with(|state| match std::mem::replace(state, State::Closed(0)) {
            State::Closed(_) => None,
            State::Open(_) => Some(Change::Closed),
        })
    }

    /// Records a failure that is the provider's fault.
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

    const PROBE_INTERVAL: Duration = Duration::from_secs(5);

    fn breaker() -> Breaker {
        Breaker::new(CircuitSettings { failures: Some(3), probe_every: PROBE_INTERVAL })
    }

    fn open(at: Instant) -> Breaker {
        let breaker = breaker();
        for _ in 0..3 {
            breaker.failed(at);
        }
        breaker
    }

    #[test]
    fn circuit_opens_after_consecutive_failures() {
        let (breaker, now) = (breaker(), Instant::now());
        assert_eq!([breaker.failed(now), breaker.failed(now), breaker.succeeded()], [None; 3]);
        assert_eq!([breaker.failed(now), breaker.failed(now)], [None; 2]);
        assert!(breaker.admits(now) && breaker.opens_in(now).is_none());
        assert_eq!(breaker.failed(now), Some(Change::Opened));
        assert!(!breaker.admits(now));
        assert_eq!(breaker.opens_in(now), Some(PROBE_INTERVAL));
    }

    #[test]
    fn open_circuit_lets_one_probe_pass_per_interval() {
        let start = Instant::now();
        let breaker = open(start);
        assert!(!breaker.admits(start + PROBE_INTERVAL - Duration::from_millis(1)));
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
    fn first_success_closes_the_circuit_and_resets_the_count() {
        let start = Instant::now();
        let breaker = open(start);
        assert!(breaker.admits(start + PROBE_INTERVAL));
        assert_eq!(breaker.succeeded(), Some(Change::Closed));
        assert!(breaker.admits(start) && breaker.admits(start));
        assert_eq!([breaker.failed(start), breaker.failed(start)], [None; 2]);
        assert_eq!(breaker.failed(start), Some(Change::Opened));
    }

    #[test]
    fn call_that_began_before_the_circuit_opened_may_close_it() {
        let breaker = open(Instant::now());
        assert_eq!(breaker.succeeded(), Some(Change::Closed));
    }

    #[test]
    fn circuit_without_a_threshold_never_opens() {
        let breaker = Breaker::new(CircuitSettings { failures: None, probe_every: PROBE_INTERVAL });
        let now = Instant::now();
        assert!((0..1_000).all(|_| breaker.failed(now).is_none()));
        assert!(breaker.admits(now));
    }
}
