//! Accounts after registration: profile, password recovery, administration.

pub mod administration;
pub mod profile;
pub mod recovery;

use std::sync::Arc;

use aggregates::ids::UserId;
use aggregates::user::User;
use projections::users::query::UserRow;
use projections::{registry, users};

use super::rate_limits::RateLimits;
use super::{AppError, Core};
use crate::auth::{Credentials, Lockout, Logins, PasswordResets, Passwords};
use crate::mail::Outbox;

/// Profile, password recovery, administration.
pub struct AccountService {
    /// The log, the read models, time and ids.
    pub core: Core,
    /// Hashes and verifies passwords under a cap.
    pub passwords: Passwords,
    /// Stored password hashes.
    pub credentials: Credentials,
    /// Failed sign-ins.
    pub lockout: Lockout,
    /// Refresh-token families.
    pub logins: Logins,
    /// Tokens that replace a forgotten password.
    pub resets: PasswordResets,
    /// Mails to be sent; none without a mail server.
    pub outbox: Option<Outbox>,
    /// Limits changes of address and name.
    pub rate_limits: Arc<RateLimits>,
}

impl AccountService {
    /// Returns a user's profile; see `user`.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` while the read model lags; the database's.
    pub async fn user(&self, id: UserId) -> Result<UserRow, AppError> {
        user(&self.core, id).await
    }
}

/// Returns a user's profile. The read model may lag behind a registration of a moment ago, here or at another process:
/// that is waited for.
///
/// # Errors
/// `NotFound`; `Unavailable` while the read model lags; the database's.
pub(super) async fn user(core: &Core, user: UserId) -> Result<UserRow, AppError> {
    if let Some(row) = users::query::by_id(&core.pool, user.uuid()).await? {
        return Ok(row);
    }
    let head = core.reader.last_position().await.map_err(AppError::unavailable)?;
    core.catch_up(registry::ACCOUNT_MODELS, Some(head)).await;
    if let Some(row) = users::query::by_id(&core.pool, user.uuid()).await? {
        return Ok(row);
    }
    // A user in the log is not "not found" because a projection lags.
    match core.executor.state::<User>(&user.to_string()).await?.id() {
        Some(_) => Err(AppError::unavailable(anyhow::anyhow!("the read model of users lags behind the log"))),
        None => Err(AppError::not_found()),
    }
}
