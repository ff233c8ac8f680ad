//! Leases on replies: which process works on which, by the database's clock (the form without NATS).
//!
//! The table is unlogged: a lease need not survive a crash of the database, only be seen by everybody meanwhile. What
//! a lease cannot guarantee, the attempt's number does: a worker whose lease ran out is refused by the conversation.

use std::time::Duration;

use sqlx::PgExecutor;
use uuid::Uuid;

/// How long a lease holds without being renewed.
pub const TERM: Duration = Duration::from_secs(15);
/// How often it is renewed.
pub const RENEW: Duration = Duration::from_secs(5);

/// Takes the lease of a reply, unless another process holds it.
///
/// # Errors
/// Those of the database.
pub async fn take(pool: impl PgExecutor<'_>, reply: Uuid, holder: Uuid) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query(
        "INSERT INTO reply_leases AS l (reply_id, holder, until) VALUES ($1, $2, clock_timestamp() + $3)
         ON CONFLICT (reply_id) DO UPDATE SET holder = excluded.holder, until = excluded.until
             WHERE l.until <= clock_timestamp()",
    )
    .bind(reply)
    .bind(holder)
    .bind(TERM)
    .execute(pool)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Renews a holder's leases on these replies, those that it works on.
///
/// # Errors
/// Those of the database.
pub async fn renew(pool: impl PgExecutor<'_>, holder: Uuid, replies: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE reply_leases SET until = clock_timestamp() + $3 WHERE holder = $1 AND reply_id = ANY($2)",
    )
    .bind(holder)
    .bind(replies)
    .bind(TERM)
    .execute(pool)
    .await?;
    Ok(())
}

/// Gives a lease back.
///
/// # Errors
/// Those of the database.
pub async fn give_back(pool: impl PgExecutor<'_>, reply: Uuid, holder: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM reply_leases WHERE reply_id = $1 AND holder = $2")
        .bind(reply)
        .bind(holder)
        .execute(pool)
        .await?;
    Ok(())
}

/// Drops leases that ran out long ago: those of processes that were killed between a reply's end and giving it back.
///
/// # Errors
/// Those of the database.
pub async fn purge(pool: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM reply_leases WHERE until < clock_timestamp() - interval '1 hour'")
        .execute(pool)
        .await?;
    Ok(())
}

/// Ends every lease. For a process that knows itself alone with its database: whoever held one is dead.
///
/// # Errors
/// Those of the database.
pub async fn end_all(pool: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM reply_leases").execute(pool).await?;
    Ok(())
}
