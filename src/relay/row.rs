//! The relay's row: whose turn it is, and what is remembered of the stream.

use std::time::Duration;

use sqlx::PgExecutor;
use uuid::Uuid;

/// How long a turn lasts without being renewed.
pub const TERM: Duration = Duration::from_secs(6);
/// How often it is renewed.
pub const RENEW: Duration = Duration::from_secs(2);

/// What is remembered of the stream.
#[derive(Debug, Clone, Default, PartialEq, sqlx::FromRow)]
pub struct Remembered {
    /// When it was made, by the words of NATS; none before the first message.
    pub stream_created: Option<String>,
    /// Number of the last message in the stream.
    pub last_sequence: i64,
    /// Position of that message's event.
    pub position: i64,
    /// How often the stream was filled again.
    pub refills: i32,
    /// Seconds since the last message was published, by the database's clock.
    pub idle_seconds: Option<f64>,
}

/// Takes or renews the turn; none while another process has it.
///
/// # Errors
/// Those of the database.
pub async fn take(
    pool: impl PgExecutor<'_>,
    name: &str,
    holder: Uuid,
) -> Result<Option<Remembered>, sqlx::Error> {
    sqlx::query_as(
        "INSERT INTO relays AS r (name, holder, held_until) VALUES ($1, $2, clock_timestamp() + $3)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
             WHERE r.holder = excluded.holder OR r.held_until <= clock_timestamp()
         RETURNING stream_created, last_sequence, position, refills,
             extract(epoch FROM clock_timestamp() - published_at)::float8 AS idle_seconds",
    )
    .bind(name)
    .bind(holder)
    .bind(TERM)
    .fetch_optional(pool)
    .await
}

/// Remembers what was published, and renews the turn. False: the turn is another's by now.
///
/// # Errors
/// Those of the database.
pub async fn remember(
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
        .bind(TERM)
        .fetch_one(pool)
        .await
}

/// Counts that an emptied stream is filled again; returns how often that was.
///
/// # Errors
/// Those of the database.
pub async fn refill(pool: impl PgExecutor<'_>, name: &str) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("UPDATE relays SET refills = refills + 1 WHERE name = $1 RETURNING refills")
        .bind(name)
        .fetch_one(pool)
        .await
}

/// Gives the turn to whoever comes next.
///
/// # Errors
/// Those of the database.
pub async fn give_back(pool: impl PgExecutor<'_>, name: &str, holder: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE relays SET held_until = clock_timestamp() WHERE name = $1 AND holder = $2")
        .bind(name)
        .bind(holder)
        .execute(pool)
        .await?;
    Ok(())
}
