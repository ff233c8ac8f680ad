//! Tokens that replace a forgotten password: valid once, for half an hour, on any node. The mail worker makes them when it
//! writes the mail; only their hash is stored.

use std::time::Duration;

use aggregates::ids::UserId;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use event_store::{FastPool, TransactionalWrite};
use serde_json::json;
use uuid::Uuid;

use super::opaque_token::ResetToken;

/// Lifetime of a token.
pub const RESET_TOKEN_TTL: Duration = Duration::from_secs(30 * 60);
/// Most mails with valid tokens per user. Mails whose tokens are spent or expired do not count: a user who gets no further
/// mail always has a valid token, so requests by a stranger cannot lock the user out.
pub const MAX_VALID_MAILS: i64 = 5;
/// How long tokens are stored.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// The table of reset tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PasswordResets {
    pool: FastPool,
}

impl PasswordResets {
    /// Opens the table in the primary database.
    #[must_use]
    pub fn new(pool: impl Into<FastPool>) -> Self {
        Self { pool: pool.into() }
    }

    /// Stores a new token of a user; `mail` is the mail that carries it.
    ///
    /// # Errors
    /// Database errors.
    pub async fn store(
        &self,
        token: &ResetToken,
        user: UserId,
        mail: Option<Uuid>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO password_resets (token_hash, user_id, mail_id, ends_at)
             VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))",
        )
        .bind(token.hash().as_bytes().as_slice())
        .bind(user.uuid())
        .bind(mail)
        .bind(RESET_TOKEN_TTL.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Returns the token's user and whether it is valid. The append checks validity again.
    ///
    /// # Errors
    /// Database errors.
    pub async fn find(&self, token: &ResetToken) -> Result<Option<(UserId, bool)>, sqlx::Error> {
        let row: Option<(Uuid, bool)> = sqlx::query_as(
            "SELECT user_id, used_at IS NULL AND ends_at > clock_timestamp() FROM password_resets
                WHERE token_hash = $1",
        )
        .bind(token.hash().as_bytes().as_slice())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(user, valid)| (UserId::new(user), valid)))
    }

    /// Revokes every token of a user.
    ///
    /// # Errors
    /// Database errors.
    pub async fn revoke_all(&self, user: UserId) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT password_resets_revoke($1)").bind(user.uuid()).execute(&self.pool).await?;
        Ok(())
    }

    /// Counts the mails other than `except` that carry a valid token of the user.
    ///
    /// # Errors
    /// Database errors.
    pub async fn valid_mails(&self, user: UserId, except: Uuid) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT count(DISTINCT mail_id) FROM password_resets
                WHERE user_id = $1 AND mail_id <> $2 AND used_at IS NULL AND ends_at > clock_timestamp()",
        )
        .bind(user.uuid())
        .bind(except)
        .fetch_one(&self.pool)
        .await
    }

    /// Deletes tokens older than `RETENTION`; returns how many.
    ///
    /// # Errors
    /// Database errors.
    pub async fn purge(&self) -> Result<u64, sqlx::Error> {
        let deleted = sqlx::query(
            "DELETE FROM password_resets WHERE created_at < clock_timestamp() - make_interval(secs => $1)",
        )
        .bind(RETENTION.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }
}

/// SQLSTATE of [`use_token`] when the token is unknown, used or expired.
pub const TOKEN_INVALID: &str = "VB008";

/// Uses a reset token, and with it revokes the user's other ones, in an append's transaction. Fails with
/// [`TOKEN_INVALID`].
#[must_use]
pub fn use_token(user: UserId, token: &ResetToken) -> TransactionalWrite {
    let hash = BASE64.encode(token.hash().as_bytes());
    TransactionalWrite::new("password_reset_use", [("user_id", json!(user)), ("token_hash", json!(hash))])
}

/// Revokes every reset token of the user in an append's transaction.
#[must_use]
pub fn revoke_all(user: UserId) -> TransactionalWrite {
    TransactionalWrite::new("password_resets_revoke", [("user_id", json!(user))])
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::schema::MIGRATOR;

    const ADA: UserId = UserId::new(Uuid::from_u128(1));
    const EVE: UserId = UserId::new(Uuid::from_u128(2));

    fn token(n: u8) -> ResetToken {
        ResetToken::from_random([n; 32])
    }

    async fn spend(pool: &PgPool, token: &ResetToken, user: UserId) -> bool {
        sqlx::query_scalar("SELECT password_reset_use($1, $2)")
            .bind(token.hash().as_bytes().as_slice())
            .bind(user.uuid())
            .fetch_one(pool)
            .await
            .unwrap()
    }

    #[sqlx::test(migrator = "MIGRATOR")]
    async fn token_is_spent_once_by_its_user_and_revokes_the_others(pool: PgPool) {
        let resets = PasswordResets::new(pool.clone());
        for n in [1, 2] {
            resets.store(&token(n), ADA, None).await.unwrap();
        }
        resets.store(&token(3), EVE, None).await.unwrap();
        assert_eq!(resets.find(&token(1)).await.unwrap(), Some((ADA, true)));
        assert_eq!(resets.find(&token(9)).await.unwrap(), None);
        assert!(!spend(&pool, &token(1), EVE).await);
        assert!(!spend(&pool, &token(9), ADA).await);
        let (first, second) = (token(1), token(2));
        let (one, two, again) =
            tokio::join!(spend(&pool, &first, ADA), spend(&pool, &second, ADA), spend(&pool, &first, ADA));
        assert_eq!([one, two, again].into_iter().filter(|good| *good).count(), 1);
        for n in [1, 2] {
            assert_eq!(resets.find(&token(n)).await.unwrap(), Some((ADA, false)));
        }
        assert_eq!(resets.find(&token(3)).await.unwrap(), Some((EVE, true)));
        resets.revoke_all(EVE).await.unwrap();
        assert!(!spend(&pool, &token(3), EVE).await);
    }

    #[sqlx::test(migrator = "MIGRATOR")]
    async fn token_expires_after_half_an_hour_and_is_purged_after_a_day(pool: PgPool) {
        let resets = PasswordResets::new(pool.clone());
        resets.store(&token(1), ADA, None).await.unwrap();
        let lasts: f64 = sqlx::query_scalar(
            "SELECT extract(epoch FROM ends_at - created_at)::double precision FROM password_resets",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        assert!((lasts - 1800.0).abs() < 1.0, "{lasts}");
        let age = async |interval: &str| {
            sqlx::query(
                "UPDATE password_resets SET created_at = created_at - $1::text::interval,
                    ends_at = ends_at - $1::text::interval",
            )
            .bind(interval)
            .execute(&pool)
            .await
            .unwrap();
        };
        age("30 minutes").await;
        assert_eq!(resets.find(&token(1)).await.unwrap(), Some((ADA, false)));
        assert!(!spend(&pool, &token(1), ADA).await);
        assert_eq!(resets.purge().await.unwrap(), 0);
        age("24 hours").await;
        assert_eq!(resets.purge().await.unwrap(), 1);
    }

    #[sqlx::test(migrator = "MIGRATOR")]
    async fn each_mail_counts_once(pool: PgPool) {
        let resets = PasswordResets::new(pool.clone());
        let mail = |n: u128| Some(Uuid::from_u128(n));
        for (n, mail) in [(1, mail(1)), (2, mail(1)), (3, mail(2)), (4, None)] {
            resets.store(&token(n), ADA, mail).await.unwrap();
        }
        assert_eq!(resets.valid_mails(ADA, Uuid::from_u128(9)).await.unwrap(), 2);
        assert_eq!(resets.valid_mails(ADA, Uuid::from_u128(2)).await.unwrap(), 1);
        assert_eq!(resets.valid_mails(EVE, Uuid::from_u128(9)).await.unwrap(), 0);
    }

    /// A stranger who uses up a user's mails has not kept the user from a token.
    #[sqlx::test(migrator = "MIGRATOR")]
    async fn user_without_further_mail_has_a_valid_token(pool: PgPool) {
        let resets = PasswordResets::new(pool.clone());
        let age = async |seconds: i32| {
            sqlx::query(
                "UPDATE password_resets SET created_at = created_at - make_interval(secs => $1),
                    ends_at = ends_at - make_interval(secs => $1)",
            )
            .bind(f64::from(seconds))
            .execute(&pool)
            .await
            .unwrap();
        };
        for n in 1..=5 {
            resets.store(&token(n), ADA, Some(Uuid::from_u128(n.into()))).await.unwrap();
            age(60).await;
        }
        let mut without_mail = 0;
        for _ in 0..70 {
            let good = async |n: u8| resets.find(&token(n)).await.unwrap() == Some((ADA, true));
            if resets.valid_mails(ADA, Uuid::from_u128(9)).await.unwrap() >= MAX_VALID_MAILS {
                without_mail += 1;
                assert!(good(1).await && good(5).await, "after {without_mail} steps");
            }
            age(30).await;
        }
        assert!(without_mail > 40, "{without_mail}");
    }

    /// After five mails the password or the address changes: the owner, whose tokens are revoked, gets another mail.
    #[sqlx::test(migrator = "MIGRATOR")]
    async fn mails_with_revoked_tokens_do_not_count(pool: PgPool) {
        let resets = PasswordResets::new(pool.clone());
        let sixth = Uuid::from_u128(9);
        for spent in [false, true] {
            for n in 1..=5 {
                let n = n + if spent { 10 } else { 0 };
                resets.store(&token(n), ADA, Some(Uuid::from_u128(n.into()))).await.unwrap();
            }
            assert_eq!(resets.valid_mails(ADA, sixth).await.unwrap(), MAX_VALID_MAILS);
            if spent {
                assert!(spend(&pool, &token(15), ADA).await);
            } else {
                resets.revoke_all(ADA).await.unwrap();
            }
            assert_eq!(resets.valid_mails(ADA, sixth).await.unwrap(), 0, "spent: {spent}");
        }
    }

    /// S11, S17: a copy of the database cannot be used to sign in.
    #[sqlx::test(migrator = "MIGRATOR")]
    async fn only_the_token_hash_is_stored(pool: PgPool) {
        PasswordResets::new(pool.clone()).store(&token(7), ADA, None).await.unwrap();
        let row: String = sqlx::query_scalar("SELECT to_json(r)::text FROM password_resets r")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert!(!row.contains(&"07".repeat(32)) && !row.contains(&token(7).expose()[4..]), "{row}");
    }
}
