//! How often messages may be sent: per user and per conversation, in this process.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock, QuantaInstant};
use governor::{DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};
use uuid::Uuid;

use super::error::{AppError, Kind};

/// After so many checks, limits that nobody has used for a while are forgotten.
const FORGET_EVERY: usize = 10_000;

/// The limits on messages. Cheap to clone.
#[derive(Clone, Default)]
pub struct MessageLimits {
    limits: Option<Arc<Limits>>,
}

struct Limits {
    users: DefaultKeyedRateLimiter<Uuid>,
    /// By user and conversation: nobody uses up the limit of a conversation that is not theirs.
    conversations: DefaultKeyedRateLimiter<(Uuid, Uuid)>,
    checks: std::sync::atomic::AtomicUsize,
}

impl MessageLimits {
    /// No limits.
    pub fn off() -> Self {
        Self::default()
    }

    /// So many messages a minute for each user and for each conversation; 0 is taken as 1.
    pub fn per_minute(user: u32, conversation: u32) -> Self {
        let quota = |count: u32| Quota::per_minute(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN));
        Self {
            limits: Some(Arc::new(Limits {
                users: RateLimiter::keyed(quota(user)),
                conversations: RateLimiter::keyed(quota(conversation)),
                checks: std::sync::atomic::AtomicUsize::new(0),
            })),
        }
    }

    /// Counts one message.
    ///
    /// # Errors
    /// `Throttled`, with the time after which it goes again.
    pub fn check(&self, user: Uuid, conversation: Uuid) -> Result<(), AppError> {
        // The conversation's limit is the narrower one: asked first, so that it does not use up the user's.
        self.ask(|limits| {
            limits.conversations.check_key(&(user, conversation)).and_then(|()| limits.users.check_key(&user))
        })
    }

    /// Counts one file, which is in no conversation yet, as a message of its user.
    ///
    /// # Errors
    /// `Throttled`, with the time after which it goes again.
    pub fn check_upload(&self, user: Uuid) -> Result<(), AppError> {
        self.ask(|limits| limits.users.check_key(&user))
    }

    fn ask(
        &self,
        check: impl FnOnce(&Limits) -> Result<(), NotUntil<QuantaInstant>>,
    ) -> Result<(), AppError> {
        let Some(limits) = &self.limits else { return Ok(()) };
        if limits.checks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1
        {
            limits.users.retain_recent();
            limits.conversations.retain_recent();
        }
        check(limits).map_err(|refused| {
            let wait = refused.wait_time_from(DefaultClock::default().now());
            metrics::counter!("verbatim_throttled_total").increment(1);
            AppError::new(Kind::Throttled, "rate_limited", "Too many messages; please wait a moment.")
                .after(wait.max(Duration::from_secs(1)))
        })
    }
}
