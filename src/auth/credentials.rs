//! The table of password hashes: one row per user, outside the log, so that it can be changed and erased.
//!
//! Sign-in reads it. The append writes the first hash and every change in the transaction of the events, through the SQL
//! function `credential_set`.

use aggregates::ids::UserId;
use chrono::{DateTime, Utc};
use event_store::{FastPool, TransactionalWrite};
use serde_json::json;

/// The stored password hash of a user.
#[derive(Clone)]
pub struct Credential {
    /// The hash, as a PHC string.
    pub hash: String,
    /// Time at which the password was set.
    pub changed_at: DateTime<Utc>,
    /// Version of the credential. [`super::logins::Logins::start`] compares it, so that a sign-in that checked an older
    /// password starts no login.
    pub epoch: i64,
}

/// Shows no part of the hash.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("changed_at", &self.changed_at)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// The table of password hashes.
#[derive(Debug, Clone)]
pub struct Credentials {
    pool: FastPool,
}

impl Credentials {
    /// Opens the table in the primary database.
    #[must_use]
    pub fn new(pool: impl Into<FastPool>) -> Self {
        Self { pool: pool.into() }
    }

    /// Returns the credential of a user; `None` for an unknown user.
    ///
    /// # Errors
    /// Database errors.
    pub async fn get(&self, user: UserId) -> Result<Option<Credential>, sqlx::Error> {
        let row: Option<(String, DateTime<Utc>, i64)> =
            sqlx::query_as("SELECT password_hash, changed_at, epoch FROM credentials WHERE user_id = $1")
                .bind(user.uuid())
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(hash, changed_at, epoch)| Credential { hash, changed_at, epoch }))
    }

    /// Replaces a hash by one of the same password at the current cost. Ends no login. Returns `false`, and changes
    /// nothing, if the password has changed since `old` was read.
    ///
    /// # Errors
    /// Database errors.
    pub async fn upgrade(&self, user: UserId, old: &str, new: &str) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT credential_upgrade($1, $2, $3)")
            .bind(user.uuid())
            .bind(old)
            .bind(new)
            .fetch_one(&self.pool)
            .await
    }
}

/// SQLSTATE of [`require_unchanged`] when the password was changed after it was verified.
pub const PASSWORD_CHANGED: &str = "VB006";

/// Requires, in an append's transaction, that the user's password is still the one with this `epoch`. Fails with
/// [`PASSWORD_CHANGED`].
#[must_use]
pub fn require_unchanged(user: UserId, epoch: i64) -> TransactionalWrite {
    TransactionalWrite::new("credential_check", [("user_id", json!(user)), ("epoch", json!(epoch))])
}

/// Sets the user's password hash (a PHC string) in an append's transaction.
#[must_use]
pub fn set_hash(user: UserId, hash: &str) -> TransactionalWrite {
    TransactionalWrite::new("credential_set", [("user_id", json!(user)), ("hash", json!(hash))])
}
