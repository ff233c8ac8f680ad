//! When a reply is attempted again, and with which provider.
//!
//! [`next_attempt`] is one pure function over the recorded attempts, so every process derives the same answer from the
//! same record; only the state of the circuit breakers is local. [`Requeue`] lists every reason why a job goes back to the
//! queue without a provider having failed.
//!
//! The policy:
//!
//! * If the last failure is provider-specific, try the next untried provider immediately, in chain order.
//! * A rejected key, or one whose account is empty, is not used again for this reply. Neither is a provider that does not
//!   know the model or whose answer cannot be parsed.
//! * A rate-limited provider: try another of its keys immediately. Without one, wait as long as the provider asks, up to
//!   `max_wait`; if it asks for more, try another provider.
//! * An unreachable provider: its other keys come after the keys of other providers.
//! * When every provider has been tried, retry the one whose back-off ends first. Back-offs double and have a jitter
//!   derived from the reply's id; the wait that a rate-limited or unreachable provider asks for takes precedence, up to
//!   `max_wait`.
//! * Only a repeated call of the same provider and key counts towards `max_attempts`. All waits of a reply together stay
//!   below `max_total_wait`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use aggregates::conversation::FailureReason;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::ai::Candidate;

pub use crate::config::RetrySettings;

/// Why a job goes back to the queue although no provider failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeue {
    /// The read models have not caught up with the conversation, or do not show the question yet.
    ReadModelsLag,
    /// The reply's back-off is not over.
    BackoffNotOver,
    /// The file store did not return an attachment.
    FilesUnavailable,
    /// The database did not record the attempt, or could not be read.
    StoreUnavailable,
    /// The conversation rejected the command: the reply has ended, or another attempt began. The read model shows which
    /// in a moment.
    Rejected,
    /// The provider failed, and the policy waits this long before the next attempt.
    NextAttempt(Duration),
    /// The process shuts down; another worker takes the job over.
    ShuttingDown,
}

impl Requeue {
    /// Returns how long the queue waits before it offers the job again.
    pub fn delay(self) -> Duration {
        match self {
            Self::ReadModelsLag | Self::FilesUnavailable | Self::StoreUnavailable => Duration::from_secs(1),
            Self::BackoffNotOver => Duration::from_millis(20),
            Self::Rejected => Duration::from_millis(100),
            Self::NextAttempt(wait) => wait,
            Self::ShuttingDown => Duration::ZERO,
        }
    }
}

/// An attempt that has begun, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastAttempt {
    /// Name of the provider.
    pub provider: String,
    /// Number of the provider's key.
    pub key: Option<u32>,
    /// The failure; `None` when the process died during the attempt.
    pub failure: Option<Failure>,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The recorded reason.
    pub reason: FailureReason,
    /// Time of the failure.
    pub at: DateTime<Utc>,
    /// The wait that was decided and recorded after this failure.
    pub wait: Duration,
}

/// The next provider to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextAttempt {
    /// Index in the provider chain.
    pub index: usize,
    /// Time until the call.
    pub wait: Duration,
}

/// Where the wait after the last failure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryHint {
    /// The attempt failed just now, and the provider may have asked for a wait. The decision is taken now.
    FromProvider(Option<Duration>),
    /// The decision was taken before and is recorded.
    FromLog,
}

impl PastAttempt {
    fn used(&self, candidate: &Candidate) -> bool {
        self.provider == candidate.provider && self.key == candidate.key
    }

    fn used_same_as(&self, other: &Self) -> bool {
        self.provider == other.provider && self.key == other.key
    }

    /// Returns whether this failure excludes the candidate from all further attempts of the reply.
    fn excludes(&self, candidate: &Candidate) -> bool {
        let Some(failure) = self.failure.filter(|_| self.provider == candidate.provider) else {
            return false;
        };
        match failure.reason {
            FailureReason::KeyMissing | FailureReason::KeyInvalid | FailureReason::QuotaExceeded => {
                self.key == candidate.key
            }
            FailureReason::RateLimited
            | FailureReason::ProviderUnavailable
            | FailureReason::Timeout
            | FailureReason::Empty => false,
            FailureReason::ModelUnknown
            | FailureReason::ContentFilter
            | FailureReason::BadResponse
            | FailureReason::TooLong
            | FailureReason::Deadline
            | FailureReason::AttemptsExhausted
            | FailureReason::Internal => true,
        }
    }

    /// Returns whether the provider itself was unreachable, so that its other keys are no better.
    fn provider_was_down(&self) -> bool {
        self.failure.is_some_and(|failure| {
            matches!(failure.reason, FailureReason::ProviderUnavailable | FailureReason::Timeout)
        })
    }
}

/// Order in which candidates with the same wait are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Preference {
    Untried,
    OtherKeyOfUnreachableProvider,
    Repeated,
}

/// When a candidate can be called. The smallest slot is called next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    wait: Duration,
    preference: Preference,
    failures: usize,
}

/// Decides the next attempt of one reply at one moment.
struct Scheduler<'a> {
    settings: &'a RetrySettings,
    reply: Uuid,
    past: &'a [PastAttempt],
    hint: RetryHint,
    now: DateTime<Utc>,
}

/// Returns the next attempt of `reply`, or `None` when no provider is left to call.
pub fn next_attempt(
    settings: &RetrySettings,
    reply: Uuid,
    candidates: &[Candidate],
    past: &[PastAttempt],
    hint: RetryHint,
    now: DateTime<Utc>,
) -> Option<NextAttempt> {
    let scheduler = Scheduler { settings, reply, past, hint, now };
    let usable: Vec<&Candidate> = candidates
        .iter()
        .filter(|candidate| !past.iter().any(|attempt| attempt.excludes(candidate)))
        .collect();
    if let Some(next) = scheduler.rate_limited_candidate(&usable) {
        return Some(next);
    }
    usable
        .into_iter()
        .filter_map(|candidate| Some((scheduler.next_slot(candidate)?, candidate.index)))
        .min_by_key(|(slot, _)| *slot)
        .map(|(slot, index)| NextAttempt { index, wait: slot.wait })
}

impl Scheduler<'_> {
    /// Returns the rate-limited candidate of the last attempt, if the policy waits for it although others are untried.
    fn rate_limited_candidate(&self, usable: &[&Candidate]) -> Option<NextAttempt> {
        let last = self.past.last()?;
        let failure = last.failure.filter(|failure| failure.reason == FailureReason::RateLimited)?;
        let candidate = usable.iter().find(|candidate| last.used(candidate))?;
        let waits = match self.hint {
            RetryHint::FromProvider(asked) => asked.is_none_or(|asked| asked <= self.settings.max_wait),
            RetryHint::FromLog => !failure.wait.is_zero(),
        };
        let has_other_key = usable.iter().any(|other| {
            other.provider == candidate.provider && other.opens_in.is_none() && !self.was_tried(other)
        });
        let has_untried = usable.iter().any(|other| !self.was_tried(other));
        if !waits || has_other_key || !has_untried {
            return None;
        }
        let slot = self.next_slot(candidate)?;
        Some(NextAttempt { index: candidate.index, wait: slot.wait })
    }

    fn was_tried(&self, candidate: &Candidate) -> bool {
        self.past.iter().any(|attempt| attempt.used(candidate))
    }

    /// Returns when the candidate can be called; `None` when it cannot be called any more.
    fn next_slot(&self, candidate: &Candidate) -> Option<Slot> {
        let own = self.last_failure(|attempt| attempt.used(candidate));
        let down = self.last_failure(|attempt| {
            attempt.provider == candidate.provider && attempt.provider_was_down() && !attempt.used(candidate)
        });
        let (backoff, preference) = match (own, down) {
            (Some(own), _) => (self.remaining_backoff(own), Preference::Repeated),
            (None, Some(down)) => (self.remaining_backoff(down), Preference::OtherKeyOfUnreachableProvider),
            (None, None) => (Duration::ZERO, Preference::Untried),
        };
        let wait = backoff.max(candidate.opens_in.unwrap_or_default());
        if self.was_tried(candidate) && !self.may_repeat() {
            return None;
        }
        let exceeds_total = !wait.is_zero() && self.total_wait() + wait > self.settings.max_total_wait;
        // A recorded wait was within the limit when it was decided.
        if exceeds_total && self.hint != RetryHint::FromLog {
            return None;
        }
        let failed = self.past.iter().filter(|attempt| attempt.used(candidate) && attempt.failure.is_some());
        Some(Slot { wait, preference, failures: failed.count() })
    }

    fn last_failure(&self, of: impl Fn(&PastAttempt) -> bool) -> Option<usize> {
        self.past.iter().rposition(|attempt| attempt.failure.is_some() && of(attempt))
    }

    /// Returns whether `max_attempts` permits one more call of a provider and key that was called before.
    fn may_repeat(&self) -> bool {
        let repeated = self
            .past
            .iter()
            .enumerate()
            .filter(|(n, attempt)| self.past[..*n].iter().any(|earlier| earlier.used_same_as(attempt)));
        u32::try_from(repeated.count() + 1).unwrap_or(u32::MAX) < self.settings.max_attempts
    }

    fn total_wait(&self) -> Duration {
        self.past.iter().filter_map(|attempt| attempt.failure).map(|failure| failure.wait).sum()
    }

    /// Returns what is left of the back-off after attempt `n`.
    fn remaining_backoff(&self, n: usize) -> Duration {
        let Some(failure) = self.past.get(n).and_then(|attempt| attempt.failure) else {
            return Duration::ZERO;
        };
        let passed = (self.now - failure.at).to_std().unwrap_or_default();
        self.backoff(n, failure).saturating_sub(passed)
    }

    /// Returns the whole back-off after attempt `n`, which ended with `failure`.
    fn backoff(&self, n: usize, failure: Failure) -> Duration {
        let Some(attempt) = self.past.get(n) else { return Duration::ZERO };
        let earlier_failures = self.past[..n]
            .iter()
            .filter(|earlier| earlier.used_same_as(attempt) && earlier.failure.is_some())
            .count();
        let doublings = u32::try_from(earlier_failures).unwrap_or(u32::MAX);
        let jitter = self.jitter(n);
        let doubled = self.settings.backoff * 2_u32.saturating_pow(doublings);
        let backoff = doubled.mul_f64(0.5 + jitter).min(self.settings.max_wait);
        let is_rate_limited = failure.reason == FailureReason::RateLimited;
        if !is_rate_limited && failure.reason != FailureReason::ProviderUnavailable {
            return backoff;
        }
        let is_last = n + 1 == self.past.len();
        match self.hint {
            // Never less than the provider asks for; the jitter keeps replies from returning at the same moment.
            RetryHint::FromProvider(Some(asked)) if is_last => asked
                .max(self.settings.backoff)
                .min(self.settings.max_wait)
                .mul_f64(1.0 + jitter / 10.0)
                .min(self.settings.max_wait),
            // The provider asked for more than `max_wait`, and another one was called instead.
            _ if is_rate_limited && failure.wait.is_zero() && !is_last => self.settings.max_wait,
            _ => backoff.max(failure.wait),
        }
    }

    /// Returns a number from 0 to 1 that is the same for the same attempt in every process.
    fn jitter(&self, n: usize) -> f64 {
        let mut hasher = DefaultHasher::new();
        (self.reply, n).hash(&mut hasher);
        f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or_default()) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests;
