//! Idempotency keys: the same key and body gives the first outcome, another body is refused, for 24 hours.

use serde_json::Value;
use sqlx::PgExecutor;

/// A client's key for one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandKey {
    /// Whose key it is: a user, or, before there is one, what stands for the person (never in plain).
    pub owner: String,
    /// The key as the client sent it.
    pub key: String,
    /// Keyed hash of the operation and its body. Keyed, because a body may hold a password.
    pub fingerprint: [u8; 32],
}

/// A key that was used before, with what its command came to.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct StoredKey {
    /// Fingerprint of the first use.
    pub fingerprint: Vec<u8>,
    /// Ids and status of the first outcome; never text or tokens.
    pub result: Value,
    /// Position of the command's last event; none when it had nothing to add.
    pub position: Option<i64>,
}

impl StoredKey {
    /// Whether this is the outcome of the same command.
    pub fn matches(&self, key: &CommandKey) -> bool {
        self.fingerprint == key.fingerprint
    }
}

/// Looks a key up.
///
/// # Errors
/// Those of the database.
pub async fn find(pool: impl PgExecutor<'_>, key: &CommandKey) -> Result<Option<StoredKey>, sqlx::Error> {
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

/// How many keys one statement drops: after a busy day all at once would take longer than a statement may.
const DROPPED_AT_ONCE: i64 = 5_000;

/// Drops keys past their time; returns how many.
///
/// # Errors
/// Those of the database.
pub async fn purge(pool: impl PgExecutor<'_> + Copy) -> Result<u64, sqlx::Error> {
    let mut dropped = 0;
    loop {
        // The time is asked for twice: a key that is used again meanwhile is a new one.
        let done = sqlx::query(
            "DELETE FROM command_keys WHERE created_at < clock_timestamp() - interval '24 hours' AND (owner, key) IN (
                 SELECT owner, key FROM command_keys WHERE created_at < clock_timestamp() - interval '24 hours'
                 ORDER BY created_at LIMIT $1)",
        )
        .bind(DROPPED_AT_ONCE)
        .execute(pool)
        .await?
        .rows_affected();
        dropped += done;
        if done < DROPPED_AT_ONCE.unsigned_abs() {
            return Ok(dropped);
        }
    }
}
