//! Temporary lockout: after several failed sign-ins an account accepts no sign-in for a while, whatever the password.
//!
//! Failures are counted per typed name or address, by the name of its claim stream, whether it is registered or not: the
//! count reveals nothing about who is registered. All nodes share the count, and it survives restarts. Existing logins
//! keep working and a password reset clears the lock, so it cannot be used to shut the owner out.

use std::time::Duration;

use aggregates::ids::UserId;
use event_store::{FastPool, TransactionalWrite};
use serde_json::json;

/// Most accounts with counted failures; beyond that, those that expire first are dropped.
const MAX_COUNTED_ACCOUNTS: i64 = 200_000;

/// When an account is locked, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutPolicy {
    /// Number of failures that lock the account.
    pub failures: u32,
    /// Time in which they count; without a failure for so long, the count is dropped.
    pub window: Duration,
    /// Duration of the first lock; it doubles with each further lock.
    pub lock: Duration,
    /// Longest lock.
    pub longest: Duration,
}

impl Default for LockoutPolicy {
    /// 10 failures in 15 minutes lock the account for one minute, at most for 15.
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self { failures: 10, window: 15 * MINUTE, lock: MINUTE, longest: 15 * MINUTE }
    }
}

/// Result of recording a checked password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockoutOutcome {
    /// Recorded: a correct password is accepted, a wrong one counted.
    Counted,
    /// Recorded, and this failure has locked the account for so long.
    Locked(Duration),
    /// The account is locked for so long: reject without revealing whether the password is correct.
    Rejected(Duration),
}

/// Failed sign-ins of all accounts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lockout {
    pool: FastPool,
    policy: LockoutPolicy,
}

impl Lockout {
    /// Opens the table in the primary database.
    #[must_use]
    pub fn new(pool: impl Into<FastPool>, policy: LockoutPolicy) -> Self {
        Self { pool: pool.into(), policy }
    }

    /// Returns the key under which failed re-authentications of a signed-in user count. Separate from sign-ins, so that a
    /// stranger cannot keep the user from changing the password.
    #[must_use]
    pub fn reauth_key(user: UserId) -> String {
        format!("proof:{user}")
    }

    /// Returns for how long the account is locked, if it is: then no hash need be computed.
    ///
    /// # Errors
    /// Database errors.
    pub async fn locked_for(&self, account: &str) -> Result<Option<Duration>, sqlx::Error> {
        let seconds: Option<f64> = sqlx::query_scalar(
            "SELECT extract(epoch FROM locked_until - clock_timestamp())::double precision FROM sign_in_failures
                WHERE account = $1 AND locked_until > clock_timestamp()",
        )
        .bind(account)
        .fetch_optional(&self.pool)
        .await?;
        Ok(seconds.map(whole))
    }

    /// Records a checked password. A correct one clears the count.
    ///
    /// # Errors
    /// Database errors; the password must then not be accepted.
    pub async fn record_attempt(&self, account: &str, correct: bool) -> Result<LockoutOutcome, sqlx::Error> {
        let policy = &self.policy;
        let (rejected, locked): (Option<f64>, Option<f64>) = sqlx::query_as(
            "SELECT retry_after, locked_for FROM sign_in_record($1, $2, $3, make_interval(secs => $4),
                make_interval(secs => $5), make_interval(secs => $6))",
        )
        .bind(account)
        .bind(correct)
        .bind(i32::try_from(policy.failures).unwrap_or(i32::MAX))
        .bind(policy.window.as_secs_f64())
        .bind(policy.lock.as_secs_f64())
        .bind(policy.longest.as_secs_f64())
        .fetch_one(&self.pool)
        .await?;
        Ok(match (rejected, locked) {
            (Some(seconds), _) => LockoutOutcome::Rejected(whole(seconds)),
            (None, Some(seconds)) => LockoutOutcome::Locked(whole(seconds)),
            (None, None) => LockoutOutcome::Counted,
        })
    }

    /// Deletes expired counts, and those beyond the limit; returns how many.
    ///
    /// # Errors
    /// Database errors.
    pub async fn purge(&self) -> Result<u64, sqlx::Error> {
        self.purge_beyond(MAX_COUNTED_ACCOUNTS).await
    }

    pub(super) async fn purge_beyond(&self, most: i64) -> Result<u64, sqlx::Error> {
        let deleted = sqlx::query(
            "DELETE FROM sign_in_failures WHERE expires_at <= clock_timestamp() OR account IN (
                SELECT account FROM sign_in_failures ORDER BY expires_at DESC OFFSET $1)",
        )
        .bind(most)
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }
}

/// A time of the database's, in whole seconds and never none.
fn whole(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.ceil().clamp(1.0, 1e6))
}

/// Forgets the failed sign-ins of an account in an append's transaction.
#[must_use]
pub fn reset_failures(account: &str) -> TransactionalWrite {
    TransactionalWrite::new("sign_in_failures_reset", [("account", json!(account))])
}

#[cfg(test)]
mod tests;
