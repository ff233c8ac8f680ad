//! Dead letters: NATS messages that no worker can parse, kept until an operator retries or drops them.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct DeadLetter {
    /// JetStream stream that holds the message.
    pub stream: String,
    /// Sequence number in the stream.
    pub sequence: i64,
    /// Subject of the message.
    pub subject: String,
    /// Why the message could not be handled.
    pub reason: String,
    /// Number of deliveries so far.
    pub deliveries: i64,
    /// Time when it became a dead letter.
    pub dead_lettered_at: DateTime<Utc>,
    /// True when an operator asked for a retry.
    pub retry: bool,
}

/// Inserts a dead letter, or updates the reason of a known one and clears its `retry`.
///
/// # Errors
/// Those of the database.
pub async fn insert(
    pool: impl PgExecutor<'_>,
    stream: &str,
    sequence: u64,
    subject: &str,
    reason: &str,
    deliveries: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO dead_letters AS p (stream, sequence, subject, reason, deliveries)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (stream, sequence) DO UPDATE
             SET reason = excluded.reason, retry = false, deliveries = p.deliveries + 1",
    )
    .bind(stream)
    .bind(i64::try_from(sequence).unwrap_or(i64::MAX))
    .bind(subject)
    .bind(reason)
    .bind(deliveries)
    .execute(pool)
    .await?;
    Ok(())
}

/// Returns all dead letters, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn all(pool: impl PgExecutor<'_>) -> Result<Vec<DeadLetter>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM dead_letters ORDER BY dead_lettered_at, sequence").fetch_all(pool).await
}

/// Marks the dead letter with this sequence, or all of them, for a retry by a worker. Returns the number of marked ones.
///
/// # Errors
/// Those of the database.
pub async fn retry(pool: impl PgExecutor<'_>, sequence: Option<i64>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query("UPDATE dead_letters SET retry = true WHERE $1::bigint IS NULL OR sequence = $1")
        .bind(sequence)
        .execute(pool)
        .await?;
    Ok(done.rows_affected())
}

/// Deletes the dead letter with this sequence, or all of them. Returns the number of deleted ones.
///
/// # Errors
/// Those of the database.
pub async fn delete(pool: impl PgExecutor<'_>, sequence: Option<i64>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query("DELETE FROM dead_letters WHERE $1::bigint IS NULL OR sequence = $1")
        .bind(sequence)
        .execute(pool)
        .await?;
    Ok(done.rows_affected())
}

/// Returns the number of dead letters.
///
/// # Errors
/// Those of the database.
pub async fn count(pool: impl PgExecutor<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM dead_letters").fetch_one(pool).await
}
