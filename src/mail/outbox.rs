//! The outbox: a table outside the log with mails to be sent. A worker leases each mail for a limited time; if it dies, the
//! lease expires.

use std::sync::Arc;
use std::time::Duration;

use aggregates::ids::UserId;
use chrono::{DateTime, Utc};
use event_store::{FastPool, TransactionalWrite};
use serde_json::json;
use tokio::sync::Notify;
use uuid::Uuid;

use super::MailKind;

/// Lifetime of a lease: longer than one attempt to send.
pub const LEASE_TTL: Duration = Duration::from_secs(60);
/// Unsent mails older than this are dropped.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A mail to be sent.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct MailRow {
    /// Id of the mail, and of its message.
    pub mail_id: Uuid,
    /// Stored name of its [`MailKind`].
    pub kind: String,
    /// The user it is for.
    pub user_id: Option<Uuid>,
    /// Otherwise the claim of a typed address, which may be registered or not.
    pub claim: Option<String>,
    /// Sequence in the user's stream at which to read the address; `None`: the current one.
    pub sequence: Option<i64>,
    /// Time at which it was added.
    pub created_at: DateTime<Utc>,
    /// Number of attempts, including this one.
    pub attempts: i32,
}

/// The table of mails to be sent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    pool: FastPool,
    added: Arc<Notify>,
}

impl Outbox {
    /// Opens the table in the primary database.
    #[must_use]
    pub fn new(pool: impl Into<FastPool>) -> Self {
        Self { pool: pool.into(), added: Arc::default() }
    }

    /// Adds a password reset for the owner of an address, registered or not, with the same work for every address. Does
    /// nothing while one for the same address is waiting.
    ///
    /// # Errors
    /// Database errors.
    pub async fn add_reset(&self, mail: Uuid, claim: &str) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO mails (mail_id, kind, claim) VALUES ($1, $2, $3)
             ON CONFLICT (kind, claim) WHERE claim IS NOT NULL DO NOTHING",
        )
        .bind(mail)
        .bind(MailKind::PasswordReset.as_str())
        .bind(claim)
        .execute(&self.pool)
        .await?;
        self.notify();
        Ok(())
    }

    /// Wakes this process's worker.
    pub fn notify(&self) {
        self.added.notify_one();
    }

    /// Waits for [`Self::notify`]. For a single caller.
    pub async fn notified(&self) {
        self.added.notified().await;
    }

    /// Leases up to `limit` due mails.
    ///
    /// # Errors
    /// Database errors.
    pub async fn lease(&self, limit: i32) -> Result<Vec<MailRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT mail_id, kind, user_id, claim, sequence, created_at, attempts
             FROM mails_lease($1, make_interval(secs => $2))",
        )
        .bind(limit)
        .bind(LEASE_TTL.as_secs_f64())
        .fetch_all(&self.pool)
        .await
    }

    /// Removes a mail.
    ///
    /// # Errors
    /// Database errors.
    pub async fn remove(&self, mail: Uuid) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM mails WHERE mail_id = $1").bind(mail).execute(&self.pool).await?;
        Ok(())
    }

    /// Defers the next attempt.
    ///
    /// # Errors
    /// Database errors.
    pub async fn defer(&self, mail: Uuid, by: Duration) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE mails SET not_before = clock_timestamp() + make_interval(secs => $2) WHERE mail_id = $1",
        )
        .bind(mail)
        .bind(by.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Defers the next attempt without counting this one.
    ///
    /// # Errors
    /// Database errors.
    pub async fn defer_unattempted(&self, mail: Uuid, by: Duration) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE mails SET attempts = greatest(attempts - 1, 0),
                not_before = clock_timestamp() + make_interval(secs => $2) WHERE mail_id = $1",
        )
        .bind(mail)
        .bind(by.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Counts the waiting mails.
    ///
    /// # Errors
    /// Database errors.
    pub async fn waiting(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("SELECT count(*) FROM mails").fetch_one(&self.pool).await
    }

    /// Deletes mails that could not be sent for a day; returns how many.
    ///
    /// # Errors
    /// Database errors.
    pub async fn purge(&self) -> Result<u64, sqlx::Error> {
        let deleted =
            sqlx::query("DELETE FROM mails WHERE created_at < clock_timestamp() - make_interval(secs => $1)")
                .bind(MAX_AGE.as_secs_f64())
                .execute(&self.pool)
                .await?;
        Ok(deleted.rows_affected())
    }
}

/// Recipient of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// This user.
    User(UserId),
    /// The owner of the address with this claim, if any.
    Claim(String),
}

impl MailRow {
    /// Returns the recipient.
    #[must_use]
    pub fn recipient(&self) -> Option<Recipient> {
        match (self.user_id, &self.claim) {
            (Some(user), _) => Some(Recipient::User(UserId::new(user))),
            (None, Some(claim)) => Some(Recipient::Claim(claim.clone())),
            (None, None) => None,
        }
    }
}

/// Enqueues a mail to a user in an append's transaction. With `to_old_address` it goes to the address that the append
/// replaces.
#[must_use]
pub fn enqueue(mail_id: Uuid, kind: MailKind, user: UserId, to_old_address: bool) -> TransactionalWrite {
    TransactionalWrite::new(
        "mail_enqueue",
        [
            ("mail_id", json!(mail_id)),
            ("kind", json!(kind.as_str())),
            ("user_id", json!(user)),
            ("to_old_address", json!(to_old_address)),
        ],
    )
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::schema::MIGRATOR;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[sqlx::test(migrator = "MIGRATOR")]
    async fn mail_is_leased_once_until_the_lease_expires(pool: PgPool) {
        let outbox = Outbox::new(pool.clone());
        outbox.add_reset(id(1), "email:a").await.unwrap();
        outbox.add_reset(id(2), "email:b").await.unwrap();
        let (one, two) = tokio::join!(outbox.lease(1), outbox.lease(1));
        let mut leased: Vec<_> = [one.unwrap(), two.unwrap()]
            .into_iter()
            .flatten()
            .map(|row| (row.mail_id, row.attempts))
            .collect();
        leased.sort();
        assert_eq!(leased, [(id(1), 1), (id(2), 1)]);
        assert!(outbox.lease(10).await.unwrap().is_empty());
        outbox.remove(id(1)).await.unwrap();
        // The other worker has died: let the lease expire.
        sqlx::query("UPDATE mails SET not_before = not_before - interval '61 seconds'")
            .execute(&pool)
            .await
            .unwrap();
        let again = outbox.lease(10).await.unwrap();
        assert_eq!(again.iter().map(|row| (row.mail_id, row.attempts)).collect::<Vec<_>>(), [(id(2), 2)]);
        assert_eq!(again[0].recipient(), Some(Recipient::Claim("email:b".to_owned())));
        outbox.defer(id(2), Duration::from_secs(5)).await.unwrap();
        assert!(outbox.lease(10).await.unwrap().is_empty());
        assert_eq!(outbox.waiting().await.unwrap(), 1);
    }

    #[sqlx::test(migrator = "MIGRATOR")]
    async fn unattempted_deferral_does_not_count(pool: PgPool) {
        let outbox = Outbox::new(pool);
        outbox.add_reset(id(1), "email:a").await.unwrap();
        for _ in 0..3 {
            assert_eq!(outbox.lease(1).await.unwrap()[0].attempts, 1);
            outbox.defer_unattempted(id(1), Duration::ZERO).await.unwrap();
        }
        assert_eq!(outbox.lease(1).await.unwrap()[0].attempts, 1);
        outbox.defer(id(1), Duration::ZERO).await.unwrap();
        assert_eq!(outbox.lease(1).await.unwrap()[0].attempts, 2);
        outbox.defer_unattempted(id(1), Duration::from_secs(5)).await.unwrap();
        assert!(outbox.lease(1).await.unwrap().is_empty());
    }

    #[sqlx::test(migrator = "MIGRATOR")]
    async fn waiting_reset_is_not_added_twice(pool: PgPool) {
        let outbox = Outbox::new(pool);
        for n in 1..=3 {
            outbox.add_reset(id(n), "email:a").await.unwrap();
        }
        assert_eq!(outbox.waiting().await.unwrap(), 1);
        outbox.remove(id(1)).await.unwrap();
        outbox.add_reset(id(4), "email:a").await.unwrap();
        assert_eq!(outbox.waiting().await.unwrap(), 1);
    }

    #[sqlx::test(migrator = "MIGRATOR")]
    async fn unsent_mail_is_purged_after_a_day(pool: PgPool) {
        let outbox = Outbox::new(pool.clone());
        outbox.add_reset(id(1), "email:a").await.unwrap();
        assert_eq!(outbox.purge().await.unwrap(), 0);
        sqlx::query("UPDATE mails SET created_at = created_at - interval '25 hours'")
            .execute(&pool)
            .await
            .unwrap();
        assert_eq!(outbox.purge().await.unwrap(), 1);
    }
}
