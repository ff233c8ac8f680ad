//! Logins: families of refresh tokens, one family per sign-in.
//!
//! The rules live in SQL functions (one statement each, so no lock is held while a client is slow); this is their
//! typed face, with a short cache in front of the question that every request asks: is this login still live?

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

use super::opaque::RefreshToken;
use crate::audit_log;

/// How long this node trusts that a login is live. A login ended on another node is refused here after this time.
const CACHE_TTL: Duration = Duration::from_secs(2);
/// Most logins remembered; more are asked for each time.
const CACHE_ENTRIES: u64 = 100_000;
/// How long an end is remembered: well over the life of any answer that was read before it.
const ENDS_TTL: Duration = Duration::from_secs(60);
/// Families deleted per statement by a purge: each brings some thousand tokens with it.
const PURGE_BATCH: i64 = 100;

/// How long a login lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginPolicy {
    /// Ends when its refresh token is not used for this long.
    pub idle: Duration,
    /// Ends this long after the sign-in, however much it is used.
    pub total: Duration,
}

impl Default for LoginPolicy {
    /// 7 days idle, 30 days in all.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self { idle: 7 * DAY, total: 30 * DAY }
    }
}

/// Why a login ends; stored with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Its owner signed out, or ended it from another login.
    SignedOut,
    /// The password was changed.
    PasswordChanged,
    /// The password was replaced by somebody who had forgotten it.
    PasswordReset,
    /// The account was closed.
    AccountClosed,
    /// An administrator has ended it.
    ByAdministrator,
}

impl EndReason {
    /// As it is stored.
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

/// What became of a presented refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The fresh token is now the good one.
    Rotated {
        /// The login it belongs to.
        login: LoginId,
        /// Whose login.
        user: UserId,
        /// The presented token had been exchanged before, but the answer seems to have been lost: what was given out
        /// then was never used and is dead now.
        again: bool,
    },
    /// Refused, and the whole login is ended: the token had been replaced and its successor used, so somebody has a
    /// copy.
    Reuse {
        /// The ended login.
        login: LoginId,
        /// Whose login.
        user: UserId,
    },
    /// Refused: the login has ended or run out.
    Expired {
        /// The login.
        login: LoginId,
        /// Whose login.
        user: UserId,
    },
    /// Refused: no such token was ever issued, or its login is long gone.
    Unknown,
}

/// A live login, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LoginRow {
    /// Its id.
    #[sqlx(try_from = "Uuid")]
    pub login_id: LoginId,
    /// The sign-in.
    pub created_at: DateTime<Utc>,
    /// The last sign-in or refresh.
    pub last_used_at: DateTime<Utc>,
    /// When it runs out if it is not used again.
    pub runs_out_at: DateTime<Utc>,
    /// The kind of program that signed in, where it is known; see [`super::device`].
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

/// A login known to be live, and the turn (see [`Logins::forget`]) at which that was asked.
#[derive(Clone, Copy)]
struct Live {
    user: UserId,
    as_of: u64,
}

/// The logins of everybody. Clones share one cache.
#[derive(Clone)]
pub struct Logins {
    pool: FastPool,
    policy: LoginPolicy,
    live: Cache<LoginId, Live>,
    /// The turn from which on answers about a user's logins may be believed.
    ends: Cache<UserId, u64>,
    turn: Arc<AtomicU64>,
    forgot: Arc<Notify>,
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logins").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Logins {
    /// Over the primary database.
    #[must_use]
    pub fn new(pool: impl Into<FastPool>, policy: LoginPolicy) -> Self {
        Self {
            pool: pool.into(),
            policy,
            live: Cache::builder().max_capacity(CACHE_ENTRIES).time_to_live(CACHE_TTL).build(),
            // Not bounded by number: a forgotten end would let a dead login in. Bounded by the rate of ends.
            ends: Cache::builder().time_to_live(ENDS_TTL).build(),
            turn: Arc::new(AtomicU64::new(0)),
            forgot: Arc::default(),
        }
    }

    /// How long logins last here.
    #[must_use]
    pub const fn policy(&self) -> LoginPolicy {
        self.policy
    }

    /// Starts a login after a password was found right. `epoch` is where the credential stood when it was read
    /// ([`super::credentials::Credential::epoch`]). `false`: the password was changed or all logins were ended
    /// meanwhile, nothing was started, and the sign-in must be refused.
    ///
    /// # Errors
    /// When the database cannot answer.
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

    /// Whose login this is the good token of, or the one before it.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn holder(&self, presented: &RefreshToken) -> Result<Option<UserId>, sqlx::Error> {
        let user: Option<Uuid> = sqlx::query_scalar(
            "SELECT l.user_id FROM refresh_tokens AS t JOIN logins AS l USING (login_id)
             WHERE t.token_hash = $1 AND $1 IN (l.current_hash, l.previous_hash) AND l.ended_at IS NULL",
        )
        .bind(presented.hash().as_bytes().as_slice())
        .fetch_optional(&self.pool)
        .await?;
        Ok(user.map(UserId::new))
    }

    /// Exchanges the presented refresh token for `fresh`. See [`Rotation`] for what may come of it.
    ///
    /// # Errors
    /// When the database cannot answer; whether the exchange took place is then unknown, and the client may present
    /// the same token again.
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
            Outcome::Rotated => Rotation::Rotated { login, user, again: false },
            Outcome::Reissued => Rotation::Rotated { login, user, again: true },
            Outcome::Reuse => {
                self.forget(user);
                audit_log::refresh_token_reused(login, user);
                Rotation::Reuse { login, user }
            }
            Outcome::Expired => Rotation::Expired { login, user },
            Outcome::Unknown => Rotation::Unknown,
        })
    }

    /// Ends one login. `None`: there was no such login, or it had ended before.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn end(&self, login: LoginId, reason: EndReason) -> Result<Option<UserId>, sqlx::Error> {
        let user: Option<Uuid> = sqlx::query_scalar("SELECT login_end($1, $2)")
            .bind(login.uuid())
            .bind(reason.as_str())
            .fetch_one(&self.pool)
            .await?;
        let user = user.map(UserId::new);
        if let Some(user) = user {
            self.forget(user);
        }
        Ok(user)
    }

    /// Ends one login of this person. `false`: there is no such login of theirs that is live.
    ///
    /// # Errors
    /// When the database cannot answer.
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
            self.forget(user);
        }
        Ok(ended)
    }

    /// Ends all logins of a person but `except`, and stops sign-ins that are under way. Gives the ended ones.
    ///
    /// # Errors
    /// When the database cannot answer.
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
        self.forget(user);
        Ok(ended.into_iter().map(LoginId::new).collect())
    }

    /// Whose login this is, if it is live. True to within two seconds for what other nodes end, at once for what this
    /// one ends.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn is_live(&self, login: LoginId) -> Result<Option<UserId>, sqlx::Error> {
        if let Some(known) = self.live.get(&login)
            && self.ends.get(&known.user).is_none_or(|turn| known.as_of >= turn)
        {
            return Ok(Some(known.user));
        }
        let as_of = self.turn.load(Ordering::SeqCst);
        let asked = Instant::now();
        let user: Option<Uuid> = sqlx::query_scalar(
            "SELECT user_id FROM logins WHERE login_id = $1 AND ended_at IS NULL
                AND idle_until > clock_timestamp() AND ends_at > clock_timestamp()",
        )
        .bind(login.uuid())
        .fetch_optional(&self.pool)
        .await?;
        let user = user.map(UserId::new);
        // Only live logins are remembered: a login that has just begun must be let in at once. A late answer is not
        // remembered either, so that its age stays bounded.
        if let Some(user) = user
            && asked.elapsed() < CACHE_TTL
        {
            self.live.insert(login, Live { user, as_of });
        }
        Ok(user)
    }

    /// Forgets what this node believes about a person's logins. To be called after a transaction other than this
    /// module's own has ended some of them.
    ///
    /// An answer that was asked for before this moment may still be on its way into the cache. It carries the turn at
    /// which it was asked, and is not believed afterwards.
    pub fn forget(&self, user: UserId) {
        let turn = self.turn.fetch_add(1, Ordering::SeqCst) + 1;
        self.ends
            .entry(user)
            .and_upsert_with(|known| known.map_or(turn, |entry| turn.max(entry.into_value())));
        self.forgot.notify_one();
    }

    /// Waits until something was forgotten since the last call. For one caller.
    pub async fn forgot(&self) {
        self.forgot.notified().await;
    }

    /// Those of `logins` that are not live any more.
    ///
    /// # Errors
    /// When the database cannot answer.
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

    /// The live logins of a person, the newest first.
    ///
    /// # Errors
    /// When the database cannot answer.
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

    /// Deletes the families that ended or ran out longer than `older_than` ago, with their tokens. Gives their number.
    ///
    /// # Errors
    /// When the database cannot answer; what was deleted until then stays deleted.
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
