//! Mails that are to be sent: rows beside the log. Each is taken by one sender at a time, for a while; one that dies lets
//! go of it by that.

use std::sync::Arc;
use std::time::Duration;

use aggregates::ids::UserId;
use chrono::{DateTime, Utc};
use event_store::{FastPool, TransactionalWrite};
use serde_json::json;
use tokio::sync::Notify;
use uuid::Uuid;

use super::MailKind;

/// For how long nobody else is given a mail that was taken: more than one attempt may take.
pub const LEASE: Duration = Duration::from_secs(60);
/// Mails that nobody could send for so long are dropped.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A mail that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct MailRow {
    /// Its id.
    pub mail_id: Uuid,
    /// Its kind, as stored.
    pub kind: String,
    /// The user it concerns.
    pub user_id: Option<Uuid>,
    /// Or the claim of an address that somebody typed.
    pub claim: Option<String>,
    /// The place in the user's stream whose address it goes to; none: the present one.
    pub sequence: Option<i64>,
    /// Since when it waits.
    pub created_at: DateTime<Utc>,
    /// How often it was taken, this time included.
    pub attempts: i32,
}

/// The mails that are to be sent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    pool: FastPool,
    added: Arc<Notify>,
}

impl Outbox {
    /// Over the primary database.
    #[must_use]
    pub fn new(pool: impl Into<FastPool>) -> Self {
        Self { pool: pool.into(), added: Arc::default() }
    }

    /// Puts a password reset in for whoever holds this address, if anybody does: one row, the same work, for anybody.
    /// Nothing more while one for the same address waits.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn ask_for_reset(&self, mail: Uuid, claim: &str) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO mails (mail_id, kind, claim) VALUES ($1, $2, $3)
             ON CONFLICT (kind, claim) WHERE claim IS NOT NULL DO NOTHING",
        )
        .bind(mail)
        .bind(MailKind::PasswordReset.as_str())
        .bind(claim)
        .execute(&self.pool)
        .await?;
        self.added();
        Ok(())
    }

    /// Tells this process' sender that something was put in.
    pub fn added(&self) {
        self.added.notify_one();
    }

    /// Waits until something was put in. For one caller.
    pub async fn wait(&self) {
        self.added.notified().await;
    }

    /// Takes mails that are due, `limit` at most.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn take(&self, limit: i32) -> Result<Vec<MailRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT mail_id, kind, user_id, claim, sequence, created_at, attempts
             FROM mails_lease($1, make_interval(secs => $2))",
        )
        .bind(limit)
        .bind(LEASE.as_secs_f64())
        .fetch_all(&self.pool)
        .await
    }

    /// The mail needs no sender any more.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn done(&self, mail: Uuid) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM mails WHERE mail_id = $1").bind(mail).execute(&self.pool).await?;
        Ok(())
    }

    /// The mail is to be tried again after a while.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn put_off(&self, mail: Uuid, by: Duration) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE mails SET not_before = clock_timestamp() + make_interval(secs => $2) WHERE mail_id = $1",
        )
        .bind(mail)
        .bind(by.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The same, and that it was taken counts for nothing.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn put_back(&self, mail: Uuid, by: Duration) -> Result<(), sqlx::Error> {
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

    /// How many wait.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn waiting(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("SELECT count(*) FROM mails").fetch_one(&self.pool).await
    }

    /// Drops what nobody could send for a day. Gives the number.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn purge(&self) -> Result<u64, sqlx::Error> {
        let deleted =
            sqlx::query("DELETE FROM mails WHERE created_at < clock_timestamp() - make_interval(secs => $1)")
                .bind(MAX_AGE.as_secs_f64())
                .execute(&self.pool)
                .await?;
        Ok(deleted.rows_affected())
    }
}

/// Whom a mail concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concerns {
    /// This user.
    User(UserId),
    /// Whoever holds the address with this claim.
    Claim(String),
}

impl MailRow {
    /// Whom it concerns.
    #[must_use]
    pub fn concerns(&self) -> Option<Concerns> {
        match (self.user_id, &self.claim) {
            (Some(user), _) => Some(Concerns::User(UserId::new(user))),
            (None, Some(claim)) => Some(Concerns::Claim(claim.clone())),
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
    use crate::bootstrap::database::MIGRATOR;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[sqlx::test(migrator = "MIGRATOR")]
    async fn a_mail_is_taken_by_one_sender_and_by_another_when_that_one_dies(pool: PgPool) {
        let outbox = Outbox::new(pool.clone());
        outbox.ask_for_reset(id(1), "email:a").await.unwrap();
        outbox.ask_for_reset(id(2), "email:b").await.unwrap();
        let (one, two) = tokio::join!(outbox.take(1), outbox.take(1));
        let mut taken: Vec<_> = [one.unwrap(), two.unwrap()]
            .into_iter()
            .flatten()
            .map(|row| (row.mail_id, row.attempts))
            .collect();
        taken.sort();
        assert_eq!(taken, [(id(1), 1), (id(2), 1)]);
        assert!(outbox.take(10).await.unwrap().is_empty());
        outbox.done(id(1)).await.unwrap();
        // The other sender has died: a minute later.
        sqlx::query("UPDATE mails SET not_before = not_before - interval '61 seconds'")
            .execute(&pool)
            .await
            .unwrap();
        let again = outbox.take(10).await.unwrap();
        assert_eq!(again.iter().map(|row| (row.mail_id, row.attempts)).collect::<Vec<_>>(), [(id(2), 2)]);
        assert_eq!(again[0].concerns(), Some(Concerns::Claim("email:b".to_owned())));
        outbox.put_off(id(2), Duration::from_secs(5)).await.unwrap();
        assert!(outbox.take(10).await.unwrap().is_empty());
        assert_eq!(outbox.waiting().await.unwrap(), 1);
    }

    #[sqlx::test(migrator = "MIGRATOR")]
    async fn a_mail_that_is_put_back_was_not_tried(pool: PgPool) {
        let outbox = Outbox::new(pool);
        outbox.ask_for_reset(id(1), "email:a").await.unwrap();
        for _ in 0..3 {
            assert_eq!(outbox.take(1).await.unwrap()[0].attempts, 1);
            outbox.put_back(id(1), Duration::ZERO).await.unwrap();
        }
        assert_eq!(outbox.take(1).await.unwrap()[0].attempts, 1);
        outbox.put_off(id(1), Duration::ZERO).await.unwrap();
        assert_eq!(outbox.take(1).await.unwrap()[0].attempts, 2);
        outbox.put_back(id(1), Duration::from_secs(5)).await.unwrap();
        assert!(outbox.take(1).await.unwrap().is_empty());
    }

    #[sqlx::test(migrator = "MIGRATOR")]
    async fn asking_again_while_one_waits_adds_nothing(pool: PgPool) {
        let outbox = Outbox::new(pool);
        for n in 1..=3 {
            outbox.ask_for_reset(id(n), "email:a").await.unwrap();
        }
        assert_eq!(outbox.waiting().await.unwrap(), 1);
        outbox.done(id(1)).await.unwrap();
        outbox.ask_for_reset(id(4), "email:a").await.unwrap();
        assert_eq!(outbox.waiting().await.unwrap(), 1);
    }

    #[sqlx::test(migrator = "MIGRATOR")]
    async fn what_nobody_could_send_for_a_day_is_dropped(pool: PgPool) {
        let outbox = Outbox::new(pool.clone());
        outbox.ask_for_reset(id(1), "email:a").await.unwrap();
        assert_eq!(outbox.purge().await.unwrap(), 0);
        sqlx::query("UPDATE mails SET created_at = created_at - interval '25 hours'")
            .execute(&pool)
            .await
            .unwrap();
        assert_eq!(outbox.purge().await.unwrap(), 1);
    }
}
