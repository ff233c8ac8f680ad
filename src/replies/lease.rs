//! Leases: which process works on which reply, by the database's clock.
//!
//! The table is unlogged: a lease need not survive a crash of the database. Leases only save work; correctness relies on
//! the attempt's number, which acts as a fencing token: the conversation rejects records of a worker whose lease expired.

use std::time::Duration;

use sqlx::PgExecutor;
use uuid::Uuid;

/// Time after which an unrenewed lease expires.
pub const LEASE_TTL: Duration = Duration::from_secs(15);
/// Interval in which leases are renewed.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(5);

/// Acquires the lease of a reply; returns `false` when another process holds it.
///
/// # Errors
/// Those of the database.
pub async fn acquire(pool: impl PgExecutor<'_>, reply: Uuid, holder: Uuid) -> Result<bool, sqlx::Error> {
    let acquired = sqlx::query(
        "INSERT INTO reply_leases AS l (reply_id, holder, until) VALUES ($1, $2, clock_timestamp() + $3)
         ON CONFLICT (reply_id) DO UPDATE SET holder = excluded.holder, until = excluded.until
             WHERE l.until <= clock_timestamp()",
    )
    .bind(reply)
    .bind(holder)
    .bind(LEASE_TTL)
    .execute(pool)
    .await?;
    Ok(acquired.rows_affected() == 1)
}

/// Renews a holder's leases of these replies.
///
/// # Errors
/// Those of the database.
pub async fn renew(pool: impl PgExecutor<'_>, holder: Uuid, replies: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE reply_leases SET until = clock_timestamp() + $3 WHERE holder = $1 AND reply_id = ANY($2)",
    )
    .bind(holder)
    .bind(replies)
    .bind(LEASE_TTL)
    .execute(pool)
    .await?;
    Ok(())
}

/// Releases a lease.
///
/// # Errors
/// Those of the database.
pub async fn release(pool: impl PgExecutor<'_>, reply: Uuid, holder: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM reply_leases WHERE reply_id = $1 AND holder = $2")
        .bind(reply)
        .bind(holder)
        .execute(pool)
        .await?;
    Ok(())
}

/// Deletes leases that expired more than an hour ago: their processes were killed.
///
/// # Errors
/// Those of the database.
pub async fn purge(pool: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM reply_leases WHERE until < clock_timestamp() - interval '1 hour'")
        .execute(pool)
        .await?;
    Ok(())
}

/// Deletes every lease. Only for a process that has the database to itself: the holders are dead.
///
/// # Errors
/// Those of the database.
pub async fn end_all(pool: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM reply_leases").execute(pool).await?;
    Ok(())
}
