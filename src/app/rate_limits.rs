//! Rate limits of sign-in attempts by client address, and of reads and commands by user.
//!
//! The database counts sign-in attempts, so that all nodes share one count; its table holds keyed hashes, no addresses. Reads
//! and commands are frequent and cheap, so each node counts them for itself. Messages, which cost provider tokens, are
//! charged separately: see [`super::quotas`].

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregates::ids::UserId;
use event_store::FastPool;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;

use super::error::{AppError, Kind};
use super::rate_limit_headers::{RateLimitStatus, record};
use super::{Actor, Core};
use crate::config::AttemptLimits;

/// Most users whose requests are counted; beyond that, the counts of the least active start anew.
const MAX_COUNTED_USERS: u64 = 100_000;
/// Most rejected buckets kept in memory; for others the database is queried each time.
const MAX_REJECTED: u64 = 100_000;
const MINUTE: u32 = 60;
const HOUR: u32 = 3600;

/// An action with a limited rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottledAction {
    /// Sign-in.
    SignIn,
    /// Registration.
    Register,
    /// Exchange of a refresh token, by client address.
    Refresh,
    /// Exchange of a refresh token, by user.
    RefreshOfAccount,
    /// Request or completion of a password reset.
    Reset,
    /// Change of user name or address, whose response reveals whether it is taken.
    Claim,
}

impl ThrottledAction {
    const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Register => "register",
            Self::Refresh => "refresh",
            Self::RefreshOfAccount => "refresh_account",
            Self::Reset => "reset",
            Self::Claim => "claim",
        }
    }

    /// Returns the name of the limit in response headers.
    const fn policy(self) -> &'static str {
        match self {
            Self::SignIn | Self::Register | Self::Refresh | Self::Reset => "address",
            Self::RefreshOfAccount => "account",
            Self::Claim => "names",
        }
    }
}

/// Limits of sign-in attempts, reads and commands.
pub struct RateLimits {
    core: Core,
    limits: Option<AttemptLimits>,
    /// Rejected buckets, and when each may try again: spares the database.
    rejected: Cache<String, Instant>,
    reads: PerUser,
    commands: PerUser,
}

/// A per-minute limit for each user, counted by this process.
struct PerUser {
    /// `None`: unlimited.
    quota: Option<Quota>,
    counts: Cache<UserId, Arc<DefaultDirectRateLimiter>>,
    policy: &'static str,
}

impl PerUser {
    /// Allows so many per minute; 0: unlimited.
    fn new(policy: &'static str, per_minute: u32) -> Self {
        // After an idle minute the full quota is available again, so dropping the count loses nothing.
        let window = Duration::from_secs(MINUTE.into());
        let counts = Cache::builder().max_capacity(MAX_COUNTED_USERS).time_to_idle(window).build();
        Self { quota: NonZeroU32::new(per_minute).map(Quota::per_minute), counts, policy }
    }

    fn count(&self, user: UserId) -> Result<(), AppError> {
        let Some(quota) = self.quota else { return Ok(()) };
        let limiter = self.counts.get_with(user, || Arc::new(RateLimiter::direct(quota)));
        limiter.check().map_err(|rejected| {
            let wait = rejected.wait_time_from(DefaultClock::default().now());
            metrics::counter!("verbatim_throttled_total", "policy" => self.policy).increment(1);
            AppError::new(Kind::Throttled, "rate_limited", "Too many requests; please wait a moment.")
                .after(wait.max(Duration::from_secs(1)))
        })
    }
}

impl RateLimits {
    /// Applies these limits; none: no limits.
    pub fn new(core: Core, limits: Option<AttemptLimits>) -> Self {
        Self {
            core,
            limits,
            rejected: Cache::builder().max_capacity(MAX_REJECTED).build(),
            reads: PerUser::new("reads", limits.map_or(0, |limits| limits.reads)),
            commands: PerUser::new("commands", limits.map_or(0, |limits| limits.commands)),
        }
    }

    /// Returns the limit and its window in seconds.
    fn bound(limits: AttemptLimits, action: ThrottledAction) -> (u32, u32) {
        match action {
            ThrottledAction::SignIn => (limits.sign_ins, MINUTE),
            ThrottledAction::Register => (limits.registrations, HOUR),
            ThrottledAction::Refresh => (limits.refreshes, MINUTE),
            ThrottledAction::RefreshOfAccount => (limits.account_refreshes, MINUTE),
            ThrottledAction::Reset => (limits.resets, HOUR),
            // Reveals as much as a registration does.
            ThrottledAction::Claim => (limits.registrations, HOUR),
        }
    }

    /// Describes the limit that rejected an attempt, for the response headers.
    pub fn attempt_status(&self, action: ThrottledAction, rejection: &AppError) -> Option<RateLimitStatus> {
        let (quota, seconds) = Self::bound(self.limits?, action);
        let window = Duration::from_secs(seconds.into());
        Some(RateLimitStatus {
            name: action.policy(),
            quota,
            window,
            remaining: 0,
            reset: rejection.retry_after?,
        })
    }

    /// Counts an attempt by a client address (grouped by network) or by a user id.
    ///
    /// # Errors
    /// `Throttled`; those of the database.
    pub async fn count_attempt(&self, action: ThrottledAction, client: &str) -> Result<(), AppError> {
        let Some(limits) = self.limits else { return Ok(()) };
        let hash = self.core.fingerprint(format!("attempt\0{client}").as_bytes());
        let hash: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let bucket = format!("{} {hash}", action.name());
        let now = Instant::now();
        let until_retry = self.rejected.get(&bucket).and_then(|until| until.checked_duration_since(now));
        let wait = match until_retry {
            Some(wait) => wait,
            None => {
                let (count, seconds) = Self::bound(limits, action);
                let wait: f64 = sqlx::query_scalar("SELECT rate_limit_consume($1, $2, $3)")
                    .bind(vec![bucket.as_str()])
                    .bind(vec![f64::from(count)])
                    .bind(vec![f64::from(seconds)])
                    .fetch_one(&self.core.pool)
                    .await?;
                if wait <= 0.0 {
                    return Ok(());
                }
                let wait = Duration::try_from_secs_f64(wait).unwrap_or(Duration::from_secs(HOUR.into()));
                self.rejected.insert(bucket, now + wait);
                wait
            }
        };
        metrics::counter!("verbatim_throttled_total", "policy" => action.name()).increment(1);
        Err(AppError::new(Kind::Throttled, "too_many_attempts", "Too many attempts; please wait.")
            .after(wait.max(Duration::from_secs(1))))
    }

    /// Counts an attempt of a known user, from any address, before it is executed.
    ///
    /// # Errors
    /// `Throttled`; those of the database.
    pub(super) async fn count_attempt_of(
        &self,
        action: ThrottledAction,
        user: UserId,
    ) -> Result<(), AppError> {
        let counted = self.count_attempt(action, &user.to_string()).await;
        if let Err(rejection) = &counted {
            record(self.attempt_status(action, rejection).into_iter().collect());
        }
        counted
    }

    /// Counts a query of the actor.
    ///
    /// # Errors
    /// `Throttled`.
    pub fn count_read(&self, actor: Actor) -> Result<(), AppError> {
        self.reads.count(actor.user)
    }

    /// Counts a command of the actor, before it is parsed.
    ///
    /// # Errors
    /// `Throttled`.
    pub fn count_command(&self, actor: Actor) -> Result<(), AppError> {
        self.count_command_of(actor.user)
    }

    /// Counts a command through a signed link of this user.
    ///
    /// # Errors
    /// `Throttled`.
    pub fn count_command_of(&self, user: UserId) -> Result<(), AppError> {
        self.commands.count(user)
    }
}

/// Deletes expired attempt counts; returns how many.
///
/// # Errors
/// Those of the database.
pub async fn purge(pool: &FastPool) -> Result<u64, sqlx::Error> {
    let purged = sqlx::query(
        "DELETE FROM rate_limit_buckets WHERE window_start < extract(epoch FROM clock_timestamp()) - 7200",
    )
    .execute(pool)
    .await?;
    Ok(purged.rows_affected())
}
