//! Tickets for WebSockets. A browser cannot send an `Authorization` header with a WebSocket, and a token in the URL would
//! end up in logs. So it exchanges its token for a ticket, which is valid once, for a short time, on any node.

use std::time::Duration;

use aggregates::ids::{LoginId, UserId};
use chrono::{DateTime, Utc};
use event_store::FastPool;
use uuid::Uuid;

use super::opaque_token::Ticket;

/// Lifetime of a ticket.
pub const TICKET_TTL: Duration = Duration::from_secs(30);
/// Tickets deleted per statement, to stay within the statement timeout.
const PURGE_BATCH: i64 = 5_000;

/// What a ticket grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TicketGrant {
    /// The user.
    pub user: UserId,
    /// The login that requested it.
    pub login: LoginId,
    /// Expiry of the access token that requested it.
    pub token_ends_at: DateTime<Utc>,
}

/// The table of tickets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tickets {
    pool: FastPool,
}

impl Tickets {
    /// Opens the table in the primary database.
    #[must_use]
    pub fn new(pool: impl Into<FastPool>) -> Self {
        Self { pool: pool.into() }
    }

    /// Stores a new ticket.
    ///
    /// # Errors
    /// Database errors.
    pub async fn store(&self, ticket: &Ticket, grant: TicketGrant) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO tickets (ticket_hash, user_id, login_id, token_ends_at, ends_at)
             VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))",
        )
        .bind(ticket.hash().as_bytes().as_slice())
        .bind(grant.user.uuid())
        .bind(grant.login.uuid())
        .bind(grant.token_ends_at)
        .bind(TICKET_TTL.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Redeems a ticket; of two concurrent attempts one succeeds. `None` if it is unknown, used or expired.
    ///
    /// # Errors
    /// Database errors.
    pub async fn redeem(&self, ticket: &Ticket) -> Result<Option<TicketGrant>, sqlx::Error> {
        let row: Option<(Uuid, Uuid, DateTime<Utc>, bool)> = sqlx::query_as(
            "DELETE FROM tickets WHERE ticket_hash = $1
             RETURNING user_id, login_id, token_ends_at, ends_at > clock_timestamp()",
        )
        .bind(ticket.hash().as_bytes().as_slice())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.filter(|(.., good)| *good).map(|(user, login, token_ends_at, _)| TicketGrant {
            user: UserId::new(user),
            login: LoginId::new(login),
            token_ends_at,
        }))
    }

    /// Deletes expired tickets; returns how many.
    ///
    /// # Errors
    /// Database errors; earlier batches stay deleted.
    pub async fn purge(&self) -> Result<u64, sqlx::Error> {
        let mut purged = 0;
        loop {
            let done = sqlx::query(
                "DELETE FROM tickets WHERE ticket_hash IN (
                    SELECT ticket_hash FROM tickets WHERE ends_at < clock_timestamp()
                        LIMIT $1 FOR UPDATE SKIP LOCKED)",
            )
            .bind(PURGE_BATCH)
            .execute(&self.pool)
            .await?
            .rows_affected();
            purged += done;
            if done < PURGE_BATCH.unsigned_abs() {
                return Ok(purged);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;

    fn grant() -> TicketGrant {
        TicketGrant {
            user: UserId::new(Uuid::from_u128(1)),
            login: LoginId::new(Uuid::from_u128(2)),
            token_ends_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        }
    }

    #[sqlx::test]
    async fn ticket_is_redeemed_once_and_only_itself(pool: PgPool) {
        let tickets = Tickets::new(pool);
        let (ticket, other) = (Ticket::from_random([1; 32]), Ticket::from_random([2; 32]));
        tickets.store(&ticket, grant()).await.unwrap();
        assert_eq!(tickets.redeem(&other).await.unwrap(), None);
        let (one, two) = tokio::join!(tickets.redeem(&ticket), tickets.redeem(&ticket));
        let redeemed: Vec<_> = [one.unwrap(), two.unwrap()].into_iter().flatten().collect();
        assert_eq!(redeemed, [grant()]);
        assert_eq!(tickets.redeem(&ticket).await.unwrap(), None);
    }

    #[sqlx::test]
    async fn expired_ticket_is_rejected_and_purged(pool: PgPool) {
        let tickets = Tickets::new(pool.clone());
        for n in [1, 2] {
            tickets.store(&Ticket::from_random([n; 32]), grant()).await.unwrap();
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
    async fn purge_deletes_in_batches(pool: PgPool) {
        sqlx::raw_sql(
            "INSERT INTO tickets (ticket_hash, user_id, login_id, token_ends_at, ends_at)
                SELECT sha256(n::text::bytea), gen_random_uuid(), gen_random_uuid(), clock_timestamp(),
                        clock_timestamp() - interval '1 second'
                    FROM generate_series(1, 11000) n;
             CREATE TABLE purged (tickets bigint);
             CREATE FUNCTION note_purged() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN INSERT INTO purged SELECT count(*) FROM gone; RETURN NULL; END $$;
             CREATE TRIGGER note_purged AFTER DELETE ON tickets REFERENCING OLD TABLE AS gone
                 FOR EACH STATEMENT EXECUTE FUNCTION note_purged();",
        )
        .execute(&pool)
        .await
        .unwrap();
        let tickets = Tickets::new(pool.clone());
        let good = Ticket::from_random([1; 32]);
        tickets.store(&good, grant()).await.unwrap();
        assert_eq!(tickets.purge().await.unwrap(), 11_000);
        let each: Vec<i64> = sqlx::query_scalar("SELECT tickets FROM purged ORDER BY tickets DESC")
            .fetch_all(&pool)
            .await
            .unwrap();
        assert_eq!(each, [5_000, 5_000, 1_000]);
        assert_eq!(tickets.redeem(&good).await.unwrap(), Some(grant()));
    }
}
