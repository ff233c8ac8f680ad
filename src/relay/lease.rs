//! The relay's row: the lease, and what was last published to the stream.

use std::time::Duration;

use sqlx::PgExecutor;
use uuid::Uuid;

/// Lease duration without renewal.
pub const LEASE_TTL: Duration = Duration::from_secs(6);
/// Interval between renewals.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(2);

/// Stored state of the stream.
#[derive(Debug, Clone, Default, PartialEq, sqlx::FromRow)]
pub struct LastPublished {
    /// Creation time as reported by NATS; `None` before the first message.
    pub stream_created: Option<String>,
    /// Sequence of the last message in the stream.
    pub last_sequence: i64,
    /// Position of that message's event.
    pub position: i64,
    /// Number of times the stream was filled again.
    pub refills: i32,
    /// Seconds since the last message was published, by the database's clock.
    pub idle_seconds: Option<f64>,
}

/// Acquires or renews the lease; returns `None` while another process holds it.
///
/// # Errors
/// Fails if the database does.
pub async fn acquire(
    pool: impl PgExecutor<'_>,
    name: &str,
    holder: Uuid,
) -> Result<Option<LastPublished>, sqlx::Error> {
    sqlx::query_as(
        "INSERT INTO relays AS r (name, holder, held_until) VALUES ($1, $2, clock_timestamp() + $3)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
             WHERE r.holder = excluded.holder OR r.held_until <= clock_timestamp()
         RETURNING stream_created, last_sequence, position, refills,
             extract(epoch FROM clock_timestamp() - published_at)::float8 AS idle_seconds",
    )
    .bind(name)
    .bind(holder)
    .bind(LEASE_TTL)
    .fetch_optional(pool)
    .await
}

/// Records what was published and renews the lease. Returns false if another process has taken the lease.
///
/// # Errors
/// Fails if the database does.
pub async fn record_published(
    pool: impl PgExecutor<'_>,
    name: &str,
    holder: Uuid,
    stream_created: &str,
    last_sequence: i64,
    position: i64,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT relay_checkpoint($1, $2, $3, $4, $5, $6)")
        .bind(name)
        .bind(holder)
        .bind(stream_created)
        .bind(last_sequence)
        .bind(position)
        .bind(LEASE_TTL)
        .fetch_one(pool)
        .await
}

/// Counts a refill of an emptied stream; returns the number of refills.
///
/// # Errors
/// Fails if the database does.
pub async fn count_refill(pool: impl PgExecutor<'_>, name: &str) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("UPDATE relays SET refills = refills + 1 WHERE name = $1 RETURNING refills")
        .bind(name)
        .fetch_one(pool)
        .await
}

/// Releases the lease.
///
/// # Errors
/// Fails if the database does.
pub async fn release(pool: impl PgExecutor<'_>, name: &str, holder: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE relays SET held_until = clock_timestamp() WHERE name = $1 AND holder = $2")
        .bind(name)
        .bind(holder)
        .execute(pool)
        .await?;
    Ok(())
}
