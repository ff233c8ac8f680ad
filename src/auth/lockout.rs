//! Failed sign-ins of an account: after some of them nobody signs in to it for a while, whatever the password.
//!
//! They are counted for the name or address that was typed, by its claim stream's name, whether anybody has it or not: so
//! that the count tells nothing about who is registered. Nodes share the count, and it survives restarts. Logins that are
//! live already are not concerned, and a password reset clears it: a stranger who keeps an account locked keeps its owner
//! from nothing that matters.

use std::time::Duration;

use aggregates::ids::UserId;
use event_store::{FastPool, TransactionalWrite};
use serde_json::json;

/// More counts than these are not kept: the ones that end first are dropped.
const MAX_KEPT: i64 = 200_000;

/// When an account is locked, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutPolicy {
    /// So many failures lock it.
    pub failures: u32,
    /// Within this time; it is also the time after which all is forgotten.
    pub window: Duration,
    /// The first lock; each one after it is twice as long.
    pub lock: Duration,
    /// But never longer than this.
    pub longest: Duration,
}

impl Default for LockoutPolicy {
    /// 10 failures in 15 minutes lock for a minute, and 15 minutes at most.
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self { failures: 10, window: 15 * MINUTE, lock: MINUTE, longest: 15 * MINUTE }
    }
}

/// What a try came to, once it is known whether the password was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It counts: a right password is taken, a wrong one noted.
    Counted,
    /// The same, and this failure has locked the account for so long.
    Locks(Duration),
    /// The account is locked for so long: right or wrong, nothing is told.
    Refused(Duration),
}

/// The failures of all accounts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lockout {
    pool: FastPool,
    policy: LockoutPolicy,
}

impl Lockout {
    /// Over the primary database.
    #[must_use]
    pub fn new(pool: impl Into<FastPool>, policy: LockoutPolicy) -> Self {
        Self { pool: pool.into(), policy }
    }

    /// Under which name the passwords count that somebody who is signed in is asked for again. Apart from sign-ins: no
    /// stranger can keep a person from changing their password.
    #[must_use]
    pub fn proofs_of(user: UserId) -> String {
        format!("proof:{user}")
    }

    /// For how long the account is locked, if it is: then nothing need be computed.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn refused_for(&self, account: &str) -> Result<Option<Duration>, sqlx::Error> {
        let seconds: Option<f64> = sqlx::query_scalar(
            "SELECT extract(epoch FROM locked_until - clock_timestamp())::double precision FROM sign_in_failures
                WHERE account = $1 AND locked_until > clock_timestamp()",
        )
        .bind(account)
        .fetch_optional(&self.pool)
        .await?;
        Ok(seconds.map(whole))
    }

    /// Counts a try whose password was found right or wrong. A right one clears what was counted.
    ///
    /// # Errors
    /// When the database cannot answer; then it must not be taken for right.
    pub async fn settle(&self, account: &str, right: bool) -> Result<Settled, sqlx::Error> {
        let policy = &self.policy;
        let (refused, locked): (Option<f64>, Option<f64>) = sqlx::query_as(
            "SELECT retry_after, locked_for FROM sign_in_record($1, $2, $3, make_interval(secs => $4),
                make_interval(secs => $5), make_interval(secs => $6))",
        )
        .bind(account)
        .bind(right)
        .bind(i32::try_from(policy.failures).unwrap_or(i32::MAX))
        .bind(policy.window.as_secs_f64())
        .bind(policy.lock.as_secs_f64())
        .bind(policy.longest.as_secs_f64())
        .fetch_one(&self.pool)
        .await?;
        Ok(match (refused, locked) {
            (Some(seconds), _) => Settled::Refused(whole(seconds)),
            (None, Some(seconds)) => Settled::Locks(whole(seconds)),
            (None, None) => Settled::Counted,
        })
    }

    /// Deletes what does not count any more, and what is too much. Gives the number.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn purge(&self) -> Result<u64, sqlx::Error> {
        self.purge_beyond(MAX_KEPT).await
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
