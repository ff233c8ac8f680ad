//! Registration, sign-in, logins, access tokens, and tickets for sockets.

use std::sync::Arc;
use std::time::Duration;

use aggregates::claim::{Claim, ClaimCommand, ClaimError};
use aggregates::ids::{LoginId, UserId};
use aggregates::user::{Role, User, UserCommand};
use aggregates::values::{EmailAddress, Username};
use aggregates::{Personal, Rejection};
use chrono::{DateTime, Utc};
use projections::registry;
use projections::users::query::UserRow;
use serde_json::json;

use super::rate_limits::{RateLimits, ThrottledAction};
use super::{Actor, AppError, Core, RequestContext, accounts};
use crate::audit_log;
use crate::auth::lockout::LockoutOutcome;
use crate::auth::logins::{self, EndReason, LoginRow};
use crate::auth::passwords::{PasswordError, Verification};
use crate::auth::tickets::TicketGrant;
use crate::auth::{
    Credentials, Lockout, Logins, Password, Passwords, RefreshToken, Rotation, Ticket, Tickets, TokenKeys,
    credentials,
};
use event_store::ExecuteError;

/// A new account.
#[derive(Clone)]
pub struct Registration {
    /// E-mail address, as typed.
    pub email: String,
    /// User name, if requested.
    pub username: Option<String>,
    /// Password, in clear text.
    pub password: String,
    /// The kind of program it comes from; see [`crate::auth::device`].
    pub device: Option<String>,
}

/// Tokens of one login.
#[derive(Clone)]
pub struct Tokens {
    /// Access token: short-lived, for every request.
    pub access: String,
    /// Refresh token: valid once.
    pub refresh: String,
    /// Lifetime of the access token, in seconds.
    pub expires_in: u64,
}

/// The user and login of a request, and the expiry of its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authenticated {
    /// The user and login.
    pub actor: Actor,
    /// Expiry of the access token.
    pub ends_at: DateTime<Utc>,
}

/// Result of a sign-in or registration.
#[derive(Clone)]
pub struct SignedIn {
    /// The user.
    pub user: UserRow,
    /// Tokens of the new login.
    pub tokens: Tokens,
    /// Position of the command's last event, if there was a command.
    pub position: Option<i64>,
}

/// Registration, sign-in, logins, access tokens, and tickets for sockets.
pub struct SignInService {
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
    /// Tickets for sockets.
    pub tickets: Tickets,
    /// Signs and verifies access tokens.
    pub access_tokens: TokenKeys,
    /// Lifetime of an access token.
    pub access_lifetime: Duration,
    /// Limits refreshes per account.
    pub rate_limits: Arc<RateLimits>,
}

impl SignInService {
    /// Registers an account and signs in.
    ///
    /// # Errors
    /// `Invalid` address, name or password; `Conflict` if address or name is taken, in any spelling.
    pub async fn register(
        &self,
        request: &RequestContext,
        registration: Registration,
    ) -> Result<SignedIn, AppError> {
        let email = EmailAddress::parse(&registration.email)?;
        let username = registration.username.as_deref().map(Username::parse).transpose()?;
        let password = Password::new(registration.password.clone());
        password.check(Some(email.as_str()))?;
        let hash = self.passwords.hash(password).await?;

        let now = self.core.clock.now();
        let user = UserId::new(self.core.clock.id());
        let login = LoginId::new(self.core.clock.id());
        let refresh = RefreshToken::generate().map_err(AppError::internal)?;
        let email_claim = self.core.hasher.email_claim(&email.normalised());
        let username_claim =
            username.as_ref().map(|username| self.core.hasher.username_claim(&username.normalised()));
        let policy = self.logins.policy();

        let mut batch = self
            .core
            .batch(request, user)
            .command::<Claim>(&email_claim, ClaimCommand::Take { owner: user, at: now });
        if let Some(claim) = &username_claim {
            batch = batch.command::<Claim>(claim, ClaimCommand::Take { owner: user, at: now });
        }
        let batch = batch
            .command::<User>(
                user,
                UserCommand::Register {
                    user_id: user,
                    email: Personal::Known(email.clone()),
                    username: username.clone().map(Personal::Known),
                    at: now,
                },
            )
            .with_write(credentials::set_hash(user, &hash))
            .with_write(logins::start_login(login, user, &refresh, policy))
            .with_write(logins::set_device(login, registration.device.as_deref()))
            // Before there is a user, the key belongs to the address: two strangers may choose the same key.
            .with_key(request.key_of(&email_claim), json!({"user_id": user}));
        let outcome = match self.core.executor.run(batch).await {
            Err(ExecuteError::Rejected(Rejection::Claim(ClaimError::Taken))) => {
                let by_email = self.core.executor.state::<Claim>(&email_claim).await?.owner().is_some();
                return Err(if by_email { AppError::email_taken() } else { AppError::username_taken() });
            }
            outcome => outcome?,
        };
        self.core.catch_up(registry::ACCOUNT_MODELS, outcome.position).await;
        if outcome.replayed.is_some() {
            // The tokens of the first response are not stored: issue new ones, if the password is still valid.
            let signed_in =
                self.login(&registration.email, registration.password, registration.device).await?;
            return Ok(SignedIn { position: outcome.position, ..signed_in });
        }
        let tokens = self.tokens(user, login, &refresh, now)?;
        let row = UserRow {
            user_id: user.uuid(),
            email: Some(email.as_str().to_owned()),
            username: username.map(|username| username.as_str().to_owned()),
            role: Role::User.as_str().to_owned(),
            is_active: true,
            created_at: now,
            password_changed_at: None,
        };
        Ok(SignedIn { user: row, tokens, position: outcome.position })
    }

    /// Signs in with an address or a user name.
    ///
    /// The response and its timing do not reveal whether the account exists, is active, or the password was correct.
    ///
    /// # Errors
    /// `Invalid` identifier; `Throttled` while the account is locked; `Unauthenticated` for everything else.
    pub async fn login(
        &self,
        identifier: &str,
        password: String,
        device: Option<String>,
    ) -> Result<SignedIn, AppError> {
        let claim = if identifier.contains('@') {
            self.core.hasher.email_claim(&EmailAddress::parse(identifier)?.normalised())
        } else {
            self.core.hasher.username_claim(&Username::parse(identifier)?.normalised())
        };
        if let Some(wait) = self.lockout.locked_for(&claim).await? {
            return Err(locked(wait));
        }
        let owner = self.core.executor.state::<Claim>(&claim).await?.owner();
        let credential = match owner {
            Some(owner) => self.credentials.get(owner).await?,
            None => None,
        };
        let password = Password::new(password);
        let stored = credential.as_ref().map(|credential| credential.hash.clone());
        let verdict = match (self.passwords.verify(stored, password.clone()).await, owner) {
            (Err(PasswordError::StoredHash), Some(owner)) => {
                audit_log::stored_hash_unusable(owner);
                Verification::Wrong
            }
            (verdict, _) => verdict?,
        };
        let found = match (owner, credential, verdict) {
            (Some(user), Some(credential), Verification::Correct { needs_rehash })
                if self.core.executor.state::<User>(&user.to_string()).await?.is_active() =>
            {
                Some((user, credential, needs_rehash))
            }
            _ => None,
        };
        match self.lockout.record_attempt(&claim, found.is_some()).await? {
            LockoutOutcome::Counted => {}
            LockoutOutcome::Locked(duration) => audit_log::sign_ins_locked(&claim, duration),
            LockoutOutcome::Rejected(wait) => return Err(locked(wait)),
        }
        let Some((user, credential, needs_rehash)) = found else {
            metrics::counter!("verbatim_sign_ins_total", "outcome" => "rejected").increment(1);
            audit_log::sign_in_failed(&claim);
            return Err(AppError::wrong_credentials());
        };
        if needs_rehash {
            let fresh = self.passwords.hash(password).await?;
            self.credentials.upgrade(user, &credential.hash, &fresh).await?;
        }
        let tokens = self.start_login(user, credential.epoch, device.as_deref()).await?;
        metrics::counter!("verbatim_sign_ins_total", "outcome" => "accepted").increment(1);
        Ok(SignedIn { user: accounts::user(&self.core, user).await?, tokens, position: None })
    }

    /// Exchanges a refresh token for new tokens.
    ///
    /// # Errors
    /// `Unauthenticated` for a token that is not the current one of its login; `Throttled`; the database's.
    pub async fn refresh(&self, presented: &str) -> Result<SignedIn, AppError> {
        let presented = RefreshToken::parse(presented).ok_or_else(AppError::invalid_token)?;
        let fresh = RefreshToken::generate().map_err(AppError::internal)?;
        // Count only valid tokens: reuse must be detected even when the account has used up its refreshes.
        if let Some(user) = self.logins.token_owner(&presented).await? {
            self.rate_limits.count_attempt_of(ThrottledAction::RefreshOfAccount, user).await?;
        }
        match self.logins.rotate(&presented, &fresh).await? {
            Rotation::Rotated { login, user, reissued: _ } => {
                let tokens = self.tokens(user, login, &fresh, self.core.clock.now())?;
                Ok(SignedIn { user: accounts::user(&self.core, user).await?, tokens, position: None })
            }
            Rotation::Reuse { .. } | Rotation::Expired { .. } | Rotation::Unknown => {
                Err(AppError::invalid_token())
            }
        }
    }

    /// Ends the login of the request.
    ///
    /// # Errors
    /// The database's.
    pub async fn logout(&self, actor: Actor) -> Result<(), AppError> {
        self.logins.end(actor.login, EndReason::SignedOut).await?;
        Ok(())
    }

    /// Returns the live logins of the actor, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn logins(&self, actor: Actor) -> Result<Vec<LoginRow>, AppError> {
        Ok(self.logins.list(actor.user).await?)
    }

    /// Ends one login of the actor: its tokens become invalid and its connections are closed.
    ///
    /// # Errors
    /// `NotFound` for another user's login or one that is not live; the database's.
    pub async fn end_login(&self, actor: Actor, login: LoginId) -> Result<(), AppError> {
        if self.logins.end_own(actor.user, login, EndReason::SignedOut).await? {
            return Ok(());
        }
        Err(AppError::not_found())
    }

    /// Ends every login of the actor except that of the request.
    ///
    /// # Errors
    /// The database's.
    pub async fn end_other_logins(&self, actor: Actor) -> Result<(), AppError> {
        self.logins.end_all(actor.user, EndReason::SignedOut, Some(actor.login)).await?;
        Ok(())
    }

    /// Authenticates an access token, if its login is live.
    ///
    /// # Errors
    /// `Unauthenticated`, the same for every reason; the database's.
    pub async fn authenticate(&self, token: &str) -> Result<Authenticated, AppError> {
        let access = self.access_tokens.verify(token, self.core.clock.now()).map_err(|error| {
            tracing::debug!(?error, "access token rejected");
            AppError::invalid_token()
        })?;
        let actor = Actor { user: access.user, login: access.login };
        let ends_at = DateTime::from_timestamp(access.expires_at, 0).ok_or_else(AppError::invalid_token)?;
        if event_store::fault_injection::is_injected(crate::fault_injection::NO_LOGIN_CHECK) {
            return Ok(Authenticated { actor, ends_at });
        }
        self.require_live(Authenticated { actor, ends_at }).await
    }

    /// Issues a ticket for one socket.
    ///
    /// # Errors
    /// The database's.
    pub async fn ticket(&self, authenticated: Authenticated) -> Result<String, AppError> {
        let ticket = Ticket::generate().map_err(AppError::internal)?;
        let Authenticated { actor, ends_at } = authenticated;
        let grant = TicketGrant { user: actor.user, login: actor.login, token_ends_at: ends_at };
        self.tickets.store(&ticket, grant).await?;
        Ok(ticket.expose())
    }

    /// Authenticates a ticket, and uses it up in any case.
    ///
    /// # Errors
    /// `Unauthenticated`, the same for every reason; the database's.
    pub async fn authenticate_by_ticket(&self, ticket: &str) -> Result<Authenticated, AppError> {
        let ticket = Ticket::parse(ticket).ok_or_else(AppError::invalid_token)?;
        let redeemed = self.tickets.redeem(&ticket).await?.ok_or_else(AppError::invalid_token)?;
        let actor = Actor { user: redeemed.user, login: redeemed.login };
        let authenticated = Authenticated { actor, ends_at: redeemed.token_ends_at };
        if authenticated.ends_at <= self.core.clock.now() {
            return Err(AppError::invalid_token());
        }
        self.require_live(authenticated).await
    }

    async fn require_live(&self, authenticated: Authenticated) -> Result<Authenticated, AppError> {
        match self.logins.is_live(authenticated.actor.login).await? {
            Some(user) if user == authenticated.actor.user => Ok(authenticated),
            _ => Err(AppError::invalid_token()),
        }
    }

    async fn start_login(&self, user: UserId, epoch: i64, device: Option<&str>) -> Result<Tokens, AppError> {
        let login = LoginId::new(self.core.clock.id());
        let refresh = RefreshToken::generate().map_err(AppError::internal)?;
        if !self.logins.start(login, user, &refresh, epoch, device).await? {
            // The password was changed after it was verified.
            return Err(AppError::wrong_credentials());
        }
        self.tokens(user, login, &refresh, self.core.clock.now())
    }

    fn tokens(
        &self,
        user: UserId,
        login: LoginId,
        refresh: &RefreshToken,
        now: DateTime<Utc>,
    ) -> Result<Tokens, AppError> {
        let lifetime = self.access_lifetime;
        let access = self
            .access_tokens
            .issue(user, login, self.core.clock.id(), now, lifetime)
            .map_err(AppError::internal)?;
        Ok(Tokens { access, refresh: refresh.expose(), expires_in: lifetime.as_secs() })
    }
}

/// Counts and returns the rejection by a lock.
fn locked(wait: Duration) -> AppError {
    metrics::counter!("verbatim_sign_ins_total", "outcome" => "locked").increment(1);
    AppError::locked(wait)
}
