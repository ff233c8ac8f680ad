//! How often those may try who are not signed in, by the address they come from; and how often a person may ask for something.
//!
//! Attempts are counted in the database, one count for all nodes. What is counted under is a keyed hash of the address, or of
//! the person: the table holds no addresses. Reads and commands are many and cheap, so each node counts them for itself; what costs a
//! provider's money is counted with the message, see [`super::limits`].

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

/// People whose requests are counted at a time; of more, those that have asked least are counted anew.
const MAX_COUNTED_USERS: u64 = 100_000;
/// Most refusals remembered; of more, the database is asked each time.
const MAX_REJECTED: u64 = 100_000;
const MINUTE: u32 = 60;
const HOUR: u32 = 3600;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottledAction {
    /// To sign in.
    SignIn,
    /// To make an account.
    Register,
    /// To exchange a refresh token.
    Refresh,
    /// To exchange a refresh token of this person's, from wherever.
    RefreshOfAccount,
    /// To reset a password, or to have that begun.
    Reset,
    /// To take another name or address: the answer tells whether somebody has it.
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

    /// What it is counted by, as answers name it.
    const fn policy(self) -> &'static str {
        match self {
            Self::SignIn | Self::Register | Self::Refresh | Self::Reset => "address",
            Self::RefreshOfAccount => "account",
            Self::Claim => "names",
        }
    }
}

/// The limits on attempts, reads and commands.
pub struct RateLimits {
    core: Core,
    limits: Option<AttemptLimits>,
    /// Rejected buckets, and when each may try again: spares the database.
    rejected: Cache<String, Instant>,
    reads: PerUser,
    commands: PerUser,
}

/// How often each person may do something in a minute, as this process counts it.
struct PerUser {
    /// None: as often as one likes.
    quota: Option<Quota>,
    counts: Cache<UserId, Arc<DefaultDirectRateLimiter>>,
    policy: &'static str,
}

impl PerUser {
    /// So often; 0: as often as one likes.
    fn new(policy: &'static str, per_minute: u32) -> Self {
        // Whoever has asked for nothing in a minute has all of it again: nothing is forgotten by forgetting the count.
        let window = Duration::from_secs(MINUTE.into());
        let counts = Cache::builder().max_capacity(MAX_COUNTED_USERS).time_to_idle(window).build();
        Self { quota: NonZeroU32::new(per_minute).map(Quota::per_minute), counts, policy }
    }

    fn count(&self, user: UserId) -> Result<(), AppError> {
        let Some(quota) = self.quota else { return Ok(()) };
        let limiter = self.counts.get_with(user, || Arc::new(RateLimiter::direct(quota)));
        limiter.check().map_err(|refused| {
            let wait = refused.wait_time_from(DefaultClock::default().now());
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

    /// How many in how many seconds.
    fn bound(limits: AttemptLimits, action: ThrottledAction) -> (u32, u32) {
        match action {
            ThrottledAction::SignIn => (limits.sign_ins, MINUTE),
            ThrottledAction::Register => (limits.registrations, HOUR),
            ThrottledAction::Refresh => (limits.refreshes, MINUTE),
            ThrottledAction::RefreshOfAccount => (limits.account_refreshes, MINUTE),
            ThrottledAction::Reset => (limits.resets, HOUR),
            // It tells as much as a registration does.
            ThrottledAction::Claim => (limits.registrations, HOUR),
        }
    }

    /// What an attempt that was refused is told of the limit: how many in which time, and when it is worth trying again.
    pub fn attempt_policy(&self, action: ThrottledAction, refused: &AppError) -> Option<RateLimitStatus> {
        let (quota, seconds) = Self::bound(self.limits?, action);
        let window = Duration::from_secs(seconds.into());
        Some(RateLimitStatus {
            name: action.policy(),
            quota,
            window,
            remaining: 0,
            reset: refused.retry_after?,
        })
    }

    /// Counts an attempt by `client` (an address or network, or a user id).
    ///
    /// # Errors
    /// `Throttled`; those of the database.
    pub async fn count_attempt(&self, action: ThrottledAction, client: &str) -> Result<(), AppError> {
        let Some(limits) = self.limits else { return Ok(()) };
        let hash = self.core.fingerprint(format!("attempt\0{client}").as_bytes());
        let hash: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let bucket = format!("{} {hash}", action.name());
        let now = Instant::now();
        let known = self.rejected.get(&bucket).and_then(|until| until.checked_duration_since(now));
        let wait = match known {
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

    /// Counts an attempt of a person who is known, wherever it comes from, before it is carried out.
    ///
    /// # Errors
    /// `Throttled`; those of the database.
    pub(super) async fn count_attempt_of(
        &self,
        action: ThrottledAction,
        user: UserId,
    ) -> Result<(), AppError> {
        let counted = self.count_attempt(action, &user.to_string()).await;
        if let Err(refused) = &counted {
            record(self.attempt_policy(action, refused).into_iter().collect());
        }
        counted
    }

    /// Counts a query of the actor's.
    ///
    /// # Errors
    /// `Throttled`.
    pub fn count_read(&self, actor: Actor) -> Result<(), AppError> {
        self.reads.count(actor.user)
    }

    /// Counts whatever else the actor asks for, before it is looked at.
    ///
    /// # Errors
    /// `Throttled`.
    pub fn count_command(&self, actor: Actor) -> Result<(), AppError> {
        self.count_command_of(actor.user)
    }

    /// The same for what somebody asks for through a link of this person's.
    ///
    /// # Errors
    /// `Throttled`.
    pub fn count_command_of(&self, user: UserId) -> Result<(), AppError> {
        self.commands.count(user)
    }
}

/// Forgets attempts of long ago; gives how many.
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
