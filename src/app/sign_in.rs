//! Registration, sign-in, logins, access tokens, and tickets for sockets.

use std::sync::Arc;
use std::time::Duration;

use aggregates::claim::{Claim, ClaimCommand, ClaimError};
use aggregates::ids::{LoginId, UserId};
use aggregates::user::{Role, User, UserCommand};
use aggregates::values::{EmailAddress, Username};
use aggregates::{Personal, Refusal};
use chrono::{DateTime, Utc};
use projections::models;
use projections::users::query::UserRow;
use serde_json::json;

use super::rate_limits::{RateLimits, ThrottledAction};
use super::{Actor, AppError, Core, RequestContext, accounts};
use crate::audit_log;
use crate::auth::lockout::Settled;
use crate::auth::logins::{self, EndReason, LoginRow};
use crate::auth::passwords::{PasswordError, Verdict};
use crate::auth::tickets::Redeemed;
use crate::auth::{
    Credentials, Lockout, Logins, Password, Passwords, RefreshToken, Rotation, Ticket, Tickets, TokenKeys,
    credentials,
};
use event_store::ExecuteError;

/// What a new account is made of.
#[derive(Clone)]
pub struct Registration {
    /// Address, as typed.
    pub email: String,
    /// Name to sign in with, where one is wished for.
    pub username: Option<String>,
    /// The password.
    pub password: String,
    /// The kind of program it comes from, see [`crate::auth::device`].
    pub device: Option<String>,
}

/// Tokens of one login.
#[derive(Clone)]
pub struct Tokens {
    /// Short-lived, for every request.
    pub access: String,
    /// For new tokens; good once.
    pub refresh: String,
    /// Seconds until the access token ends.
    pub expires_in: u64,
}

/// Who was let in, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authenticated {
    /// Who.
    pub actor: Actor,
    /// When the access token ends.
    pub ends_at: DateTime<Utc>,
}

/// A user who has just signed in or registered.
#[derive(Clone)]
pub struct SignedIn {
    /// The user.
    pub user: UserRow,
    /// Tokens of the new login.
    pub tokens: Tokens,
    /// Position of the command's last event, where there was a command.
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
    /// Makes an account and signs in.
    ///
    /// # Errors
    /// `Invalid` address, name or password; `Conflict` when address or name is taken, in whatever spelling.
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
        let email_claim = self.core.names.email_claim(&email.normalised());
        let username_claim =
            username.as_ref().map(|username| self.core.names.username_claim(&username.normalised()));
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
            Err(ExecuteError::Rejected(Refusal::Claim(ClaimError::Taken))) => {
                let by_email = self.core.executor.state::<Claim>(&email_claim).await?.owner().is_some();
                return Err(if by_email { AppError::email_taken() } else { AppError::username_taken() });
            }
            outcome => outcome?,
        };
        self.core.catch_up(models::ACCOUNT_MODELS, outcome.position).await;
        if outcome.replayed.is_some() {
            // The first answer's tokens are not kept anywhere, so: new ones, if the password still signs in.
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

    /// Signs in with an address or a user name, from that kind of program.
    ///
    /// Whether there is such an account, whether it is open and whether the password is right is all the same to whoever
    /// asks: one answer, after the same work.
    ///
    /// # Errors
    /// `Invalid` when the identifier is neither; `Throttled` while the account is locked; `Unauthenticated` for everything
    /// that is wrong about the rest.
    pub async fn login(
        &self,
        identifier: &str,
        password: String,
        device: Option<String>,
    ) -> Result<SignedIn, AppError> {
        let claim = if identifier.contains('@') {
            self.core.names.email_claim(&EmailAddress::parse(identifier)?.normalised())
        } else {
            self.core.names.username_claim(&Username::parse(identifier)?.normalised())
        };
        if let Some(wait) = self.lockout.refused_for(&claim).await? {
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
                Verdict::Wrong
            }
            (verdict, _) => verdict?,
        };
        let found = match (owner, credential, verdict) {
            (Some(user), Some(credential), Verdict::Right { needs_rehash })
                if self.core.executor.state::<User>(&user.to_string()).await?.is_active() =>
            {
                Some((user, credential, needs_rehash))
            }
            _ => None,
        };
        match self.lockout.settle(&claim, found.is_some()).await? {
            Settled::Counted => {}
            Settled::Locks(lasts) => audit_log::sign_ins_locked(&claim, lasts),
            Settled::Refused(wait) => return Err(locked(wait)),
        }
        let Some((user, credential, needs_rehash)) = found else {
            metrics::counter!("verbatim_sign_ins_total", "outcome" => "refused").increment(1);
            audit_log::sign_in_refused(&claim);
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
    /// `Unauthenticated` for every token that is not the login's current one; `Throttled`; the database's.
    pub async fn refresh(&self, presented: &str) -> Result<SignedIn, AppError> {
        let presented = RefreshToken::parse(presented).ok_or_else(AppError::invalid_token)?;
        let fresh = RefreshToken::generate().map_err(AppError::internal)?;
        // Only what would be exchanged: a copy is noticed, and ends its login, however often the account was refreshed.
        if let Some(user) = self.logins.holder(&presented).await? {
            self.rate_limits.count_attempt_of(ThrottledAction::RefreshOfAccount, user).await?;
        }
        match self.logins.rotate(&presented, &fresh).await? {
            Rotation::Rotated { login, user, again: _ } => {
                let tokens = self.tokens(user, login, &fresh, self.core.clock.now())?;
                Ok(SignedIn { user: accounts::user(&self.core, user).await?, tokens, position: None })
            }
            Rotation::Reuse { .. } | Rotation::Expired { .. } | Rotation::Unknown => {
                Err(AppError::invalid_token())
            }
        }
    }

    /// Ends the login that the request came with.
    ///
    /// # Errors
    /// The database's.
    pub async fn logout(&self, actor: Actor) -> Result<(), AppError> {
        self.logins.end(actor.login, EndReason::SignedOut).await?;
        Ok(())
    }

    /// The live logins of the actor, the newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn logins(&self, actor: Actor) -> Result<Vec<LoginRow>, AppError> {
        Ok(self.logins.list(actor.user).await?)
    }

    /// Ends one login of the actor: its tokens are worthless from now on, and what it has open is closed.
    ///
    /// # Errors
    /// `NotFound` for one that is somebody else's or not live; the database's.
    pub async fn end_login(&self, actor: Actor, login: LoginId) -> Result<(), AppError> {
        if self.logins.end_own(actor.user, login, EndReason::SignedOut).await? {
            return Ok(());
        }
        Err(AppError::not_found())
    }

    /// Ends every login of the actor but the one that the request came with.
    ///
    /// # Errors
    /// The database's.
    pub async fn end_other_logins(&self, actor: Actor) -> Result<(), AppError> {
        self.logins.end_all(actor.user, EndReason::SignedOut, Some(actor.login)).await?;
        Ok(())
    }

    /// Who an access token speaks for, and until when, if its login is still live.
    ///
    /// # Errors
    /// `Unauthenticated`, one wording for every reason; the database's.
    pub async fn authenticate(&self, token: &str) -> Result<Authenticated, AppError> {
        let access = self.access_tokens.verify(token, self.core.clock.now()).map_err(|error| {
            tracing::debug!(?error, "access token refused");
            AppError::invalid_token()
        })?;
        let actor = Actor { user: access.user, login: access.login };
        let ends_at = DateTime::from_timestamp(access.expires_at, 0).ok_or_else(AppError::invalid_token)?;
        if event_store::fault_injection::is_injected(crate::fault_injection::NO_LOGIN_CHECK) {
            return Ok(Authenticated { actor, ends_at });
        }
        self.live(Authenticated { actor, ends_at }).await
    }

    /// Gives a ticket for one socket to somebody who was let in.
    ///
    /// # Errors
    /// The database's.
    pub async fn ticket(&self, authenticated: Authenticated) -> Result<String, AppError> {
        let ticket = Ticket::generate().map_err(AppError::internal)?;
        let Authenticated { actor, ends_at } = authenticated;
        let stands_for = Redeemed { user: actor.user, login: actor.login, token_ends_at: ends_at };
        self.tickets.keep(&ticket, stands_for).await?;
        Ok(ticket.expose())
    }

    /// Who a ticket speaks for. It is used up, whatever comes of it.
    ///
    /// # Errors
    /// `Unauthenticated`, one wording for every reason; the database's.
    pub async fn authenticate_by_ticket(&self, ticket: &str) -> Result<Authenticated, AppError> {
        let ticket = Ticket::parse(ticket).ok_or_else(AppError::invalid_token)?;
        let redeemed = self.tickets.redeem(&ticket).await?.ok_or_else(AppError::invalid_token)?;
        let actor = Actor { user: redeemed.user, login: redeemed.login };
        let authenticated = Authenticated { actor, ends_at: redeemed.token_ends_at };
        if authenticated.ends_at <= self.core.clock.now() {
            return Err(AppError::invalid_token());
        }
        self.live(authenticated).await
    }

    async fn live(&self, authenticated: Authenticated) -> Result<Authenticated, AppError> {
        match self.logins.is_live(authenticated.actor.login).await? {
            Some(user) if user == authenticated.actor.user => Ok(authenticated),
            _ => Err(AppError::invalid_token()),
        }
    }

    async fn start_login(&self, user: UserId, epoch: i64, device: Option<&str>) -> Result<Tokens, AppError> {
        let login = LoginId::new(self.core.clock.id());
        let refresh = RefreshToken::generate().map_err(AppError::internal)?;
        if !self.logins.start(login, user, &refresh, epoch, device).await? {
            // The password was changed while we looked at the old one.
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

/// The account takes no sign-ins for a while.
fn locked(wait: Duration) -> AppError {
    metrics::counter!("verbatim_sign_ins_total", "outcome" => "locked").increment(1);
    AppError::locked(wait)
}
