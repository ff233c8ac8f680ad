//! Tickets: a browser cannot put a header on a WebSocket, and an address with a token in it is written into too many logs.
//! So it asks for a ticket with its token, and names that: good once, for a short time, on any node.

use std::time::Duration;

use aggregates::ids::{LoginId, UserId};
use chrono::{DateTime, Utc};
use event_store::FastPool;
use uuid::Uuid;

use super::opaque::Ticket;

/// How long a ticket is good.
pub const LIFETIME: Duration = Duration::from_secs(30);
/// How many tickets one statement drops: after a busy time all at once would take longer than a statement may.
const DROPPED_AT_ONCE: i64 = 5_000;

/// What a ticket stood for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redeemed {
    /// Whose it was.
    pub user: UserId,
    /// The login that asked for it.
    pub login: LoginId,
    /// When the access token ends that it was asked for with.
    pub token_ends_at: DateTime<Utc>,
}

/// Everybody's tickets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tickets {
    pool: FastPool,
}

impl Tickets {
    /// Over the primary database.
    #[must_use]
    pub fn new(pool: impl Into<FastPool>) -> Self {
        Self { pool: pool.into() }
    }

    /// Keeps a fresh ticket.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn keep(&self, ticket: &Ticket, stands_for: Redeemed) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO tickets (ticket_hash, user_id, login_id, token_ends_at, ends_at)
             VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))",
        )
        .bind(ticket.hash().as_bytes().as_slice())
        .bind(stands_for.user.uuid())
        .bind(stands_for.login.uuid())
        .bind(stands_for.token_ends_at)
        .bind(LIFETIME.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Takes a ticket in: of two that present it at once, one is let in. `None`: unknown, used or run out.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn redeem(&self, ticket: &Ticket) -> Result<Option<Redeemed>, sqlx::Error> {
        let row: Option<(Uuid, Uuid, DateTime<Utc>, bool)> = sqlx::query_as(
            "DELETE FROM tickets WHERE ticket_hash = $1
             RETURNING user_id, login_id, token_ends_at, ends_at > clock_timestamp()",
        )
        .bind(ticket.hash().as_bytes().as_slice())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.filter(|(.., good)| *good).map(|(user, login, token_ends_at, _)| Redeemed {
            user: UserId::new(user),
            login: LoginId::new(login),
            token_ends_at,
        }))
    }

    /// Deletes those that nobody has used in time. Gives their number.
    ///
    /// # Errors
    /// When the database cannot answer; what was deleted until then stays deleted.
    pub async fn purge(&self) -> Result<u64, sqlx::Error> {
        let mut dropped = 0;
        loop {
            let done = sqlx::query(
                "DELETE FROM tickets WHERE ticket_hash IN (
                    SELECT ticket_hash FROM tickets WHERE ends_at < clock_timestamp()
                        LIMIT $1 FOR UPDATE SKIP LOCKED)",
            )
            .bind(DROPPED_AT_ONCE)
            .execute(&self.pool)
            .await?
            .rows_affected();
            dropped += done;
            if done < DROPPED_AT_ONCE.unsigned_abs() {
                return Ok(dropped);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;

    fn stands_for() -> Redeemed {
        Redeemed {
            user: UserId::new(Uuid::from_u128(1)),
            login: LoginId::new(Uuid::from_u128(2)),
            token_ends_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        }
    }

    #[sqlx::test]
    async fn a_ticket_is_good_once_and_others_are_not(pool: PgPool) {
        let tickets = Tickets::new(pool);
        let (ticket, other) = (Ticket::from_random([1; 32]), Ticket::from_random([2; 32]));
        tickets.keep(&ticket, stands_for()).await.unwrap();
        assert_eq!(tickets.redeem(&other).await.unwrap(), None);
        let (one, two) = tokio::join!(tickets.redeem(&ticket), tickets.redeem(&ticket));
        let redeemed: Vec<_> = [one.unwrap(), two.unwrap()].into_iter().flatten().collect();
        assert_eq!(redeemed, [stands_for()]);
        assert_eq!(tickets.redeem(&ticket).await.unwrap(), None);
    }

    #[sqlx::test]
    async fn a_ticket_runs_out_and_is_cleared(pool: PgPool) {
        let tickets = Tickets::new(pool.clone());
        for n in [1, 2] {
            tickets.keep(&Ticket::from_random([n; 32]), stands_for()).await.unwrap();
        }
        assert_eq!(tickets.purge().await.unwrap(), 0);
        sqlx::query("UPDATE tickets SET ends_at = clock_timestamp() - interval '1 second'")
            .execute(&pool)
            .await
            .unwrap();
        assert_eq!(tickets.redeem(&Ticket::from_random([1; 32])).await.unwrap(), None);
        assert_eq!(tickets.purge().await.unwrap(), 1);
    }

    #[sqlx::test]
    async fn no_statement_clears_more_than_it_has_the_time_for(pool: PgPool) {
        sqlx::raw_sql(
            "INSERT INTO tickets (ticket_hash, user_id, login_id, token_ends_at, ends_at)
                SELECT sha256(n::text::bytea), gen_random_uuid(), gen_random_uuid(), clock_timestamp(),
                        clock_timestamp() - interval '1 second'
                    FROM generate_series(1, 11000) n;
             CREATE TABLE cleared (tickets bigint);
             CREATE FUNCTION note_cleared() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN INSERT INTO cleared SELECT count(*) FROM gone; RETURN NULL; END $$;
             CREATE TRIGGER note_cleared AFTER DELETE ON tickets REFERENCING OLD TABLE AS gone
                 FOR EACH STATEMENT EXECUTE FUNCTION note_cleared();",
        )
        .execute(&pool)
        .await
        .unwrap();
        let tickets = Tickets::new(pool.clone());
        let good = Ticket::from_random([1; 32]);
        tickets.keep(&good, stands_for()).await.unwrap();
        assert_eq!(tickets.purge().await.unwrap(), 11_000);
        let each: Vec<i64> = sqlx::query_scalar("SELECT tickets FROM cleared ORDER BY tickets DESC")
            .fetch_all(&pool)
            .await
            .unwrap();
        assert_eq!(each, [5_000, 5_000, 1_000]);
        assert_eq!(tickets.redeem(&good).await.unwrap(), Some(stands_for()));
    }
}
