//! Who is asked next for a reply, and when: one pure function over what was tried, as it is recorded.
//!
//! Every process comes to the same answer from the same record; only what it knows of open circuits is its own.
//!
//! * Whoever has not been asked is asked at once, in the order of the chain, when the last one failed in a way that another
//!   one may do better.
//! * A key that was refused, or whose account is empty, is not asked again for this reply; nor is a provider that does not
//!   know the model or answers with something that cannot be read.
//! * A provider that limits the rate: another of its keys is asked at once. Without one it is waited for, as long as it asks
//!   for no more than the cap of one pause; beyond that another provider is asked.
//! * A provider that is not there: another of its keys is no better, and is asked after those of others.
//! * When everybody has been asked, the one whose pause is over first is asked again. Pauses double and are spread by the
//!   reply; the wish of a provider that limits the rate or is not there counts instead, up to the cap of one pause.
//! * The tries that a reply has are for asking again: a provider or key that has not been asked costs none. All pauses
//!   together have a limit.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use aggregates::conversation::FailureReason;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::ai::Candidate;

/// How often and how long it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// How often the same provider and key are asked.
    pub max_attempts: u32,
    /// The first pause; each next one is twice as long.
    pub backoff: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// All pauses of a reply together.
    pub in_all: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            backoff: Duration::from_secs(1),
            longest: Duration::from_secs(20),
            in_all: Duration::from_secs(60),
        }
    }
}

/// An attempt that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Who was asked.
    pub provider: String,
    /// With which of its keys.
    pub key: Option<u32>,
    /// How it failed; none: its process died.
    pub failed: Option<Failed>,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub reason: FailureReason,
    /// When.
    pub at: DateTime<Utc>,
    /// How long it was decided to wait then.
    pub pause: Duration,
}

/// Who is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// Its place in the chain.
    pub place: usize,
    /// After this time.
    pub wait: Duration,
}

impl Tried {
    fn is(&self, candidate: &Candidate) -> bool {
        self.provider == candidate.provider && self.key == candidate.key
    }

    /// What it says about another key of its provider, or the same one.
    fn spoils(&self, candidate: &Candidate) -> bool {
        let Some(failed) = self.failed.filter(|_| self.provider == candidate.provider) else { return false };
        match failed.reason {
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

    /// Whether the provider itself was in trouble, whatever the key.
    fn provider_was_down(&self) -> bool {
        self.failed.is_some_and(|failed| {
            matches!(failed.reason, FailureReason::ProviderUnavailable | FailureReason::Timeout)
        })
    }
}

/// What is known of the last failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It was just now, and asked to wait so long; what is to become of it is being decided.
    Told(Option<Duration>),
    /// What is recorded; it was decided then.
    Recorded,
}

/// What was tried, looked at from now.
struct Look<'a> {
    settings: &'a RetrySettings,
    reply: Uuid,
    tried: &'a [Tried],
    known: Known,
    now: DateTime<Utc>,
}

/// Who is asked next for `reply`; none: nobody any more.
pub fn next(
    settings: &RetrySettings,
    reply: Uuid,
    candidates: &[Candidate],
    tried: &[Tried],
    known: Known,
    now: DateTime<Utc>,
) -> Option<Next> {
    let look = Look { settings, reply, tried, known, now };
    let usable: Vec<&Candidate> =
        candidates.iter().filter(|one| !tried.iter().any(|tried| tried.spoils(one))).collect();
    if let Some(next) = look.held(&usable) {
        return Some(next);
    }
    let mut best: Option<((Duration, u8, usize), Next)> = None;
    for candidate in usable {
        let Some((wait, class, times)) = look.turn_of(candidate) else { continue };
        let rank = (wait, class, times);
        if best.as_ref().is_none_or(|(least, _)| rank < *least) {
            best = Some((rank, Next { place: candidate.place, wait }));
        }
    }
    best.map(|(_, next)| next)
}

impl Look<'_> {
    /// The one that limits the rate, when it is to be waited for although others have not been asked.
    fn held(&self, usable: &[&Candidate]) -> Option<Next> {
        let last = self.tried.last()?;
        let failed = last.failed.filter(|failed| failed.reason == FailureReason::RateLimited)?;
        let candidate = usable.iter().find(|one| last.is(one))?;
        let grants = match self.known {
            Known::Told(asked) => asked.is_none_or(|asked| asked <= self.settings.longest),
            Known::Recorded => !failed.pause.is_zero(),
        };
        let other_key = usable
            .iter()
            .any(|one| one.provider == candidate.provider && one.opens_in.is_none() && !self.was_asked(one));
        let strangers = usable.iter().any(|one| !self.was_asked(one));
        if !grants || other_key || !strangers {
            return None;
        }
        let (wait, _, _) = self.turn_of(candidate)?;
        Some(Next { place: candidate.place, wait })
    }

    fn was_asked(&self, candidate: &Candidate) -> bool {
        self.tried.iter().any(|tried| tried.is(candidate))
    }

    /// How long until this one may be asked, its class (strangers, further keys of a provider that is down, those asked
    /// before), and how often it failed. None: not any more.
    fn turn_of(&self, candidate: &Candidate) -> Option<(Duration, u8, usize)> {
        let own = self.last_failure(|tried| tried.is(candidate));
        let down = self.last_failure(|tried| {
            tried.provider == candidate.provider && tried.provider_was_down() && !tried.is(candidate)
        });
        let (paused, class) = match (own, down) {
            (Some(own), _) => (self.rest_of_pause(own), 2),
            (None, Some(down)) => (self.rest_of_pause(down), 1),
            (None, None) => (Duration::ZERO, 0),
        };
        let wait = paused.max(candidate.opens_in.unwrap_or_default());
        if self.was_asked(candidate) && !self.may_ask_again() {
            return None;
        }
        let too_long = !wait.is_zero() && self.paused_so_far() + wait > self.settings.in_all;
        // A wait that is recorded was granted.
        if too_long && self.known != Known::Recorded {
            return None;
        }
        let times = self.tried.iter().filter(|tried| tried.is(candidate) && tried.failed.is_some()).count();
        Some((wait, class, times))
    }

    fn last_failure(&self, of: impl Fn(&Tried) -> bool) -> Option<usize> {
        self.tried.iter().rposition(|tried| tried.failed.is_some() && of(tried))
    }

    /// Whether one that was asked before may be asked once more.
    fn may_ask_again(&self) -> bool {
        let again = self.tried.iter().enumerate().filter(|(n, tried)| {
            self.tried[..*n].iter().any(|other| (&other.provider, other.key) == (&tried.provider, tried.key))
        });
        u32::try_from(again.count() + 1).unwrap_or(u32::MAX) < self.settings.max_attempts
    }

    fn paused_so_far(&self) -> Duration {
        self.tried.iter().filter_map(|tried| tried.failed).map(|failed| failed.pause).sum()
    }

    /// What is left of the pause after the attempt at `n`.
    fn rest_of_pause(&self, n: usize) -> Duration {
        let Some(failed) = self.tried.get(n).and_then(|tried| tried.failed) else { return Duration::ZERO };
        let passed = (self.now - failed.at).to_std().unwrap_or_default();
        self.pause(n, failed).saturating_sub(passed)
    }

    /// How long whoever failed in the attempt at `n` is left alone.
    fn pause(&self, n: usize, failed: Failed) -> Duration {
        let Some(attempt) = self.tried.get(n) else { return Duration::ZERO };
        let same = |tried: &&Tried| (&tried.provider, tried.key) == (&attempt.provider, attempt.key);
        let times = self.tried[..n].iter().filter(same).filter(|tried| tried.failed.is_some()).count();
        let spread = self.spread(n);
        let doubled = self.settings.backoff * 2_u32.saturating_pow(u32::try_from(times).unwrap_or(u32::MAX));
        let backoff = doubled.mul_f64(0.5 + spread).min(self.settings.longest);
        let limited = failed.reason == FailureReason::RateLimited;
        if !limited && failed.reason != FailureReason::ProviderUnavailable {
            return backoff;
        }
        let last = n + 1 == self.tried.len();
        match self.known {
            // Never less than it asks for, and not all at the same moment.
            Known::Told(Some(asked)) if last => asked
                .max(self.settings.backoff)
                .min(self.settings.longest)
                .mul_f64(1.0 + spread / 10.0)
                .min(self.settings.longest),
            // It was left for somebody else, because it asked for more than is granted.
            _ if limited && failed.pause.is_zero() && !last => self.settings.longest,
            _ => backoff.max(failed.pause),
        }
    }

    /// A number from 0 to 1, the same for the same attempt wherever it is asked for.
    fn spread(&self, n: usize) -> f64 {
        let mut hasher = DefaultHasher::new();
        (self.reply, n).hash(&mut hasher);
        f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or_default()) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
