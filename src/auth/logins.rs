//! Logins: families of refresh tokens, one family per sign-in.
//!
//! SQL functions hold the rules (one statement each, so no lock is held while a client is slow). This module calls them, with
//! a short-lived cache in front of [`Logins::is_live`], which every request needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aggregates::ids::{LoginId, UserId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use event_store::{FastPool, TransactionalWrite};
use moka::sync::Cache;
use serde_json::json;
use tokio::sync::Notify;
use uuid::Uuid;

use super::opaque_token::RefreshToken;
use crate::audit_log;

/// How long this node trusts that a login is live: the longest time until an end at another node takes effect here.
const LIVE_TTL: Duration = Duration::from_secs(2);
/// Most cached logins; others are queried each time.
const MAX_CACHED_LOGINS: u64 = 100_000;
/// How long an invalidation is kept: well over the age of any query that began before it.
const INVALIDATION_TTL: Duration = Duration::from_secs(60);
/// Families deleted per statement by a purge: each may have thousands of tokens.
const PURGE_BATCH: i64 = 100;

/// How long a login lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginPolicy {
    /// The login ends when its refresh token is not used for this long.
    pub idle: Duration,
    /// The login ends this long after the sign-in, even if it is used.
    pub total: Duration,
}

impl Default for LoginPolicy {
    /// 7 days without use, 30 days in total.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self { idle: 7 * DAY, total: 30 * DAY }
    }
}

/// Why a login ended; stored with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Its owner signed out, or ended it from another login.
    SignedOut,
    /// The password was changed.
    PasswordChanged,
    /// The password was reset with a token.
    PasswordReset,
    /// The account was closed.
    AccountClosed,
    /// An administrator ended it.
    ByAdministrator,
}

impl EndReason {
    /// Returns the stored name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::AccountClosed => "account_closed",
            Self::ByAdministrator => "by_administrator",
        }
    }
}

/// Result of presenting a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The new token is now the current one.
    Rotated {
        /// The login it belongs to.
        login: LoginId,
        /// The login's user.
        user: UserId,
        /// Whether the presented token had been exchanged before and its successor was never used: the response was
        /// probably lost, and the unused successor is revoked.
        reissued: bool,
    },
    /// Rejected, and the login is ended: the token's successor has been used, so a second party has a copy of the token.
    Reuse {
        /// The ended login.
        login: LoginId,
        /// The login's user.
        user: UserId,
    },
    /// Rejected: the login has ended or expired.
    Expired {
        /// The login.
        login: LoginId,
        /// The login's user.
        user: UserId,
    },
    /// Rejected: the token was never issued, or its login has been purged.
    Unknown,
}

/// A live login, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LoginRow {
    /// Id of the login.
    #[sqlx(try_from = "Uuid")]
    pub login_id: LoginId,
    /// Time of the sign-in.
    pub created_at: DateTime<Utc>,
    /// Time of the last refresh, or of the sign-in.
    pub last_used_at: DateTime<Utc>,
    /// Expiry if it is not used again.
    pub runs_out_at: DateTime<Utc>,
    /// The kind of program that signed in, if known; see [`super::device`].
    pub device: Option<String>,
}

/// The column `outcome` of `login_rotate`.
#[derive(sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
enum Outcome {
    Rotated,
    Reissued,
    Reuse,
    Expired,
    Unknown,
}

/// A login that was live, and the generation (see [`Logins::invalidate`]) in which that was queried.
#[derive(Clone, Copy)]
struct Live {
    user: UserId,
    as_of: u64,
}

/// The table of logins. Clones share one cache.
#[derive(Clone)]
pub struct Logins {
    pool: FastPool,
    policy: LoginPolicy,
    live: Cache<LoginId, Live>,
    /// The generation since which query results about a user's logins are valid.
    invalidations: Cache<UserId, u64>,
    generation: Arc<AtomicU64>,
    invalidated: Arc<Notify>,
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logins").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Logins {
    /// Opens the tables in the primary database.
    #[must_use]
    pub fn new(pool: impl Into<FastPool>, policy: LoginPolicy) -> Self {
        Self {
            pool: pool.into(),
            policy,
            live: Cache::builder().max_capacity(MAX_CACHED_LOGINS).time_to_live(LIVE_TTL).build(),
            // Not bounded by number: a dropped invalidation would accept an ended login. The rate of ends bounds it.
            invalidations: Cache::builder().time_to_live(INVALIDATION_TTL).build(),
            generation: Arc::new(AtomicU64::new(0)),
            invalidated: Arc::default(),
        }
    }

    /// Returns the configured lifetimes.
    #[must_use]
    pub const fn policy(&self) -> LoginPolicy {
        self.policy
    }

    /// Starts a login after a password was verified. `epoch` is the credential's version when it was read
    /// ([`super::credentials::Credential::epoch`]). Returns `false`, and starts nothing, if the password was changed or all
    /// logins were ended meanwhile: the sign-in must then be rejected.
    ///
    /// # Errors
    /// Database errors.
    pub async fn start(
        &self,
        login: LoginId,
        user: UserId,
        token: &RefreshToken,
        epoch: i64,
        device: Option<&str>,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT login_start_checked($1, $2, $3, make_interval(secs => $4), make_interval(secs => $5), $6, $7)",
        )
        .bind(login.uuid())
        .bind(user.uuid())
        .bind(token.hash().as_bytes().as_slice())
        .bind(self.policy.idle.as_secs_f64())
        .bind(self.policy.total.as_secs_f64())
        .bind(epoch)
        .bind(device)
        .fetch_one(&self.pool)
        .await
    }

    /// Returns the user of a live login whose current or previous token this is.
    ///
    /// # Errors
    /// Database errors.
    pub async fn token_owner(&self, presented: &RefreshToken) -> Result<Option<UserId>, sqlx::Error> {
        let user: Option<Uuid> = sqlx::query_scalar(
            "SELECT l.user_id FROM refresh_tokens AS t JOIN logins AS l USING (login_id)
             WHERE t.token_hash = $1 AND $1 IN (l.current_hash, l.previous_hash) AND l.ended_at IS NULL",
        )
        .bind(presented.hash().as_bytes().as_slice())
        .fetch_optional(&self.pool)
        .await?;
        Ok(user.map(UserId::new))
    }

    /// Exchanges the presented refresh token for `fresh`; see [`Rotation`].
    ///
    /// # Errors
    /// Database errors: the outcome is then unknown, and the client may present the same token again.
    pub async fn rotate(
        &self,
        presented: &RefreshToken,
        fresh: &RefreshToken,
    ) -> Result<Rotation, sqlx::Error> {
        let (outcome, login, user): (Outcome, Option<Uuid>, Option<Uuid>) = sqlx::query_as(
            "SELECT outcome, login_id, user_id FROM login_rotate($1, $2, make_interval(secs => $3))",
        )
        .bind(presented.hash().as_bytes().as_slice())
        .bind(fresh.hash().as_bytes().as_slice())
        .bind(self.policy.idle.as_secs_f64())
        .fetch_one(&self.pool)
        .await?;
        let (Some(login), Some(user)) = (login.map(LoginId::new), user.map(UserId::new)) else {
            return Ok(Rotation::Unknown);
        };
        Ok(match outcome {
            Outcome::Rotated => Rotation::Rotated { login, user, reissued: false },
            Outcome::Reissued => Rotation::Rotated { login, user, reissued: true },
            Outcome::Reuse => {
                self.invalidate(user);
                audit_log::refresh_token_reused(login, user);
                Rotation::Reuse { login, user }
            }
            Outcome::Expired => Rotation::Expired { login, user },
            Outcome::Unknown => Rotation::Unknown,
        })
    }

    /// Ends one login and returns its user; `None` if it is unknown or had ended.
    ///
    /// # Errors
    /// Database errors.
    pub async fn end(&self, login: LoginId, reason: EndReason) -> Result<Option<UserId>, sqlx::Error> {
        let user: Option<Uuid> = sqlx::query_scalar("SELECT login_end($1, $2)")
            .bind(login.uuid())
            .bind(reason.as_str())
            .fetch_one(&self.pool)
            .await?;
        let user = user.map(UserId::new);
        if let Some(user) = user {
            self.invalidate(user);
        }
        Ok(user)
    }

    /// Ends one login of this user. Returns `false` if the user has no such live login.
    ///
    /// # Errors
    /// Database errors.
    pub async fn end_own(
        &self,
        user: UserId,
        login: LoginId,
        reason: EndReason,
    ) -> Result<bool, sqlx::Error> {
        let ended = sqlx::query(
            "UPDATE logins SET ended_at = clock_timestamp(), ended_reason = $3
                WHERE login_id = $1 AND user_id = $2 AND ended_at IS NULL
                    AND idle_until > clock_timestamp() AND ends_at > clock_timestamp()",
        )
        .bind(login.uuid())
        .bind(user.uuid())
        .bind(reason.as_str())
        .execute(&self.pool)
        .await?
        .rows_affected()
            > 0;
        if ended {
            self.invalidate(user);
        }
        Ok(ended)
    }

    /// Ends all logins of a user but `except`, and stops sign-ins in progress. Returns the ended logins.
    ///
    /// # Errors
    /// Database errors.
    pub async fn end_all(
        &self,
        user: UserId,
        reason: EndReason,
        except: Option<LoginId>,
    ) -> Result<Vec<LoginId>, sqlx::Error> {
        let ended: Vec<Uuid> = sqlx::query_scalar("SELECT * FROM logins_end_all($1, $2, $3)")
            .bind(user.uuid())
            .bind(reason.as_str())
            .bind(except.map(LoginId::uuid))
            .fetch_all(&self.pool)
            .await?;
        self.invalidate(user);
        Ok(ended.into_iter().map(LoginId::new).collect())
    }

    /// Returns the user of a login, if it is live. An end at this node takes effect at once, one at another node within
    /// two seconds.
    ///
    /// # Errors
    /// Database errors.
    pub async fn is_live(&self, login: LoginId) -> Result<Option<UserId>, sqlx::Error> {
        if let Some(known) = self.live.get(&login)
            && self.invalidations.get(&known.user).is_none_or(|generation| known.as_of >= generation)
        {
            return Ok(Some(known.user));
        }
        let as_of = self.generation.load(Ordering::SeqCst);
        let asked = Instant::now();
        let user: Option<Uuid> = sqlx::query_scalar(
            "SELECT user_id FROM logins WHERE login_id = $1 AND ended_at IS NULL
                AND idle_until > clock_timestamp() AND ends_at > clock_timestamp()",
        )
        .bind(login.uuid())
        .fetch_optional(&self.pool)
        .await?;
        let user = user.map(UserId::new);
        // Only live logins are cached: a new login must be accepted at once. A slow query's result is not cached either,
        // to bound its age.
        if let Some(user) = user
            && asked.elapsed() < LIVE_TTL
        {
            self.live.insert(login, Live { user, as_of });
        }
        Ok(user)
    }

    /// Invalidates this node's cache of a user's logins. Call it after another module's transaction has ended some.
    ///
    /// A query that began before may still insert its result: the result carries the generation in which the query began,
    /// and is not trusted afterwards.
    pub fn invalidate(&self, user: UserId) {
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.invalidations
            .entry(user)
            .and_upsert_with(|known| known.map_or(generation, |entry| generation.max(entry.into_value())));
        self.invalidated.notify_one();
    }

    /// Waits for an invalidation since the last call. For a single caller.
    pub async fn invalidated(&self) {
        self.invalidated.notified().await;
    }

    /// Returns those of `logins` that are no longer live.
    ///
    /// # Errors
    /// Database errors.
    pub async fn ended_among(&self, logins: &[LoginId]) -> Result<Vec<LoginId>, sqlx::Error> {
        let logins: Vec<Uuid> = logins.iter().map(|login| login.uuid()).collect();
        let ended: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM unnest($1::uuid[]) AS id
             WHERE NOT EXISTS (SELECT FROM logins WHERE login_id = id AND ended_at IS NULL
                 AND idle_until > clock_timestamp() AND ends_at > clock_timestamp())",
        )
        .bind(logins)
        .fetch_all(&self.pool)
        .await?;
        Ok(ended.into_iter().map(LoginId::new).collect())
    }

    /// Returns the live logins of a user, newest first.
    ///
    /// # Errors
    /// Database errors.
    pub async fn list(&self, user: UserId) -> Result<Vec<LoginRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT login_id, created_at, last_used_at, least(idle_until, ends_at) AS runs_out_at, device FROM logins
                WHERE user_id = $1 AND ended_at IS NULL
                    AND idle_until > clock_timestamp() AND ends_at > clock_timestamp()
                ORDER BY created_at DESC, login_id",
        )
        .bind(user.uuid())
        .fetch_all(&self.pool)
        .await
    }

    /// Deletes families that ended or expired more than `older_than` ago, with their tokens; returns how many.
    ///
    /// # Errors
    /// Database errors; earlier batches stay deleted.
    pub async fn purge_ended(&self, older_than: Duration) -> Result<u64, sqlx::Error> {
        let mut purged = 0;
        loop {
            let deleted = sqlx::query(
                "DELETE FROM logins WHERE login_id IN (
                    SELECT login_id FROM logins
                        WHERE coalesce(ended_at, least(idle_until, ends_at))
                            < clock_timestamp() - make_interval(secs => $1)
                        LIMIT $2 FOR UPDATE SKIP LOCKED)",
            )
            .bind(older_than.as_secs_f64())
            .bind(PURGE_BATCH)
            .execute(&self.pool)
            .await?
            .rows_affected();
            purged += deleted;
            if deleted < PURGE_BATCH.unsigned_abs() {
                return Ok(purged);
            }
        }
    }
}

/// Starts a login in an append's transaction.
#[must_use]
pub fn start_login(
    login: LoginId,
    user: UserId,
    token: &RefreshToken,
    policy: LoginPolicy,
) -> TransactionalWrite {
    TransactionalWrite::new(
        "login_start",
        [
            ("login_id", json!(login)),
            ("user_id", json!(user)),
            ("token_hash", json!(BASE64.encode(token.hash().as_bytes()))),
            ("idle_seconds", json!(policy.idle.as_secs())),
            ("total_seconds", json!(policy.total.as_secs())),
        ],
    )
}

/// Stores the kind of client of a login that the same append starts.
#[must_use]
pub fn set_device(login: LoginId, device: Option<&str>) -> TransactionalWrite {
    TransactionalWrite::new("login_device", [("login_id", json!(login)), ("device", json!(device))])
}

/// Ends every login of a user, except one, in an append's transaction.
#[must_use]
pub fn end_logins(user: UserId, reason: EndReason, except: Option<LoginId>) -> TransactionalWrite {
    TransactionalWrite::new(
        "logins_end",
        [("user_id", json!(user)), ("reason", json!(reason.as_str())), ("except", json!(except))],
    )
}

#[cfg(test)]
mod tests;
