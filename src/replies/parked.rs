//! Messages that no worker could make anything of: kept in sight until somebody has them tried again or dropped.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// A parked message.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Parked {
    /// The stream that it is in.
    pub stream: String,
    /// Its number there.
    pub sequence: i64,
    /// Its subject.
    pub subject: String,
    /// What was wrong with it.
    pub reason: String,
    /// How often it was delivered.
    pub deliveries: i64,
    /// Since when it is parked.
    #[sqlx(rename = "dead_lettered_at")]
    pub parked_at: DateTime<Utc>,
    /// Whether it is to be tried again.
    pub retry: bool,
}

/// Parks a message.
///
/// # Errors
/// Those of the database.
pub async fn park(
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

/// Every parked message, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn all(pool: impl PgExecutor<'_>) -> Result<Vec<Parked>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM dead_letters ORDER BY dead_lettered_at, sequence").fetch_all(pool).await
}

/// Has a message tried again; all of them without a number. Returns how many.
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

/// Forgets a message; all of them without a number. Returns how many.
///
/// # Errors
/// Those of the database.
pub async fn forget(pool: impl PgExecutor<'_>, sequence: Option<i64>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query("DELETE FROM dead_letters WHERE $1::bigint IS NULL OR sequence = $1")
        .bind(sequence)
        .execute(pool)
        .await?;
    Ok(done.rows_affected())
}

/// How many there are.
///
/// # Errors
/// Those of the database.
pub async fn count(pool: impl PgExecutor<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM dead_letters").fetch_one(pool).await
}
