//! Idempotency keys: for 24 hours, the same key and body returns the first outcome, and another body is rejected.

use serde_json::Value;
use sqlx::PgExecutor;

/// A client's idempotency key for one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandKey {
    /// Namespace of the key: a user's id or, for a caller without one, a keyed hash that identifies the caller.
    pub owner: String,
    /// The key as the client sent it.
    pub key: String,
    /// Keyed hash of the operation and its body. Keyed, because a body may contain a secret.
    pub fingerprint: [u8; 32],
}

/// A used key with the outcome of its command.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct StoredKey {
    /// Fingerprint of the first use.
    pub fingerprint: Vec<u8>,
    /// Ids and status of the first outcome; never text or tokens.
    pub result: Value,
    /// Position of the command's last event; `None` if it wrote no event.
    pub position: Option<i64>,
}

impl StoredKey {
    /// Returns whether the stored outcome is that of the same command.
    pub fn matches(&self, key: &CommandKey) -> bool {
        self.fingerprint == key.fingerprint
    }
}

/// Looks a key up.
///
/// # Errors
/// Those of the database.
pub(super) async fn find(
    pool: impl PgExecutor<'_>,
    key: &CommandKey,
) -> Result<Option<StoredKey>, sqlx::Error> {
    sqlx::query_as(
        "SELECT k.fingerprint, k.result, e.position
         FROM command_keys k LEFT JOIN events e USING (aggregate_type, aggregate_id, sequence)
         WHERE k.owner = $1 AND k.key = $2 AND k.created_at > clock_timestamp() - interval '24 hours'",
    )
    .bind(&key.owner)
    .bind(&key.key)
    .fetch_optional(pool)
    .await
}

/// Most keys deleted by one statement, which keeps it below the statement timeout after a busy day.
const PURGE_BATCH: i64 = 5_000;

/// Deletes expired keys; returns how many.
///
/// # Errors
/// Those of the database.
pub async fn purge(pool: impl PgExecutor<'_> + Copy) -> Result<u64, sqlx::Error> {
    let mut total = 0;
    loop {
        // The outer condition repeats the expiry: a key that was reused meanwhile must stay.
        let deleted = sqlx::query(
            "DELETE FROM command_keys WHERE created_at < clock_timestamp() - interval '24 hours' AND (owner, key) IN (
                 SELECT owner, key FROM command_keys WHERE created_at < clock_timestamp() - interval '24 hours'
                 ORDER BY created_at LIMIT $1)",
        )
        .bind(PURGE_BATCH)
        .execute(pool)
        .await?
        .rows_affected();
        total += deleted;
        if deleted < PURGE_BATCH.unsigned_abs() {
            return Ok(total);
        }
    }
}
