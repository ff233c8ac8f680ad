//! Accounts: registration, sign-in, logins, the current user. What is changed about an account stands in
//! [`super::profile`], what is done without its password in [`super::recovery`] and [`super::administration`].

use std::time::Duration;

use aggregates::claim::{Claim, ClaimCommand, ClaimError};
use aggregates::ids::{LoginId, UserId};
use aggregates::user::{Role, User, UserCommand};
use aggregates::values::{EmailAddress, Username};
use aggregates::{Personal, Refusal};
use chrono::{DateTime, Utc};
use projections::users::query::UserRow;
use projections::{models, users};
use serde_json::json;

use super::attempts::Attempt;
use super::{Actor, App, AppError, RequestContext};
use crate::audit_log;
use crate::auth::lockout::Settled;
use crate::auth::logins::{EndReason, LoginRow};
use crate::auth::passwords::{PasswordError, Verdict};
use crate::auth::{Lockout, Password, RefreshToken, Resets, Rotation};
use crate::mail::Outbox;
use event_store::{CommandBatch, ExecuteError, TransactionalWrite};

/// What accounts need besides credentials and logins.
#[derive(Clone)]
pub struct AccountParts {
    /// Failed sign-ins.
    pub lockout: Lockout,
    /// Tokens that replace a forgotten password.
    pub resets: Resets,
    /// Mails to be sent; none: there is no mail server.
    pub outbox: Option<Outbox>,
}

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

impl App {
    /// Makes an account and signs in.
    ///
    /// # Errors
    /// `Invalid` address, name or password; `Conflict` when address or name is taken, in whatever spelling.
    pub async fn register(
        &self,
        request: &RequestContext,
        registration: Registration,
    ) -> Result<SignedIn, AppError> {
        let parts = &self.parts;
        let email = EmailAddress::parse(&registration.email)?;
        let username = registration.username.as_deref().map(Username::parse).transpose()?;
        let password = Password::new(registration.password.clone());
        password.check(Some(email.as_str()))?;
        let hash = parts.passwords.hash(password).await?;

        let now = parts.clock.now();
        let user = UserId::new(parts.clock.id());
        let login = LoginId::new(parts.clock.id());
        let refresh = RefreshToken::generate().map_err(AppError::internal)?;
        let email_claim = parts.names.email_claim(&email.normalised());
        let username_claim =
            username.as_ref().map(|username| parts.names.username_claim(&username.normalised()));
        let policy = parts.logins.policy();

        let mut batch = CommandBatch::new(user.uuid(), request.metadata(Some(user), &parts.clock))
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
            .with_write(TransactionalWrite::Credential { user_id: user.uuid(), hash })
            .with_write(TransactionalWrite::LoginStart {
                login_id: login.uuid(),
                user_id: user.uuid(),
                token_hash: *refresh.hash().as_bytes(),
                idle_seconds: policy.idle.as_secs(),
                total_seconds: policy.total.as_secs(),
            })
            .with_write(TransactionalWrite::LoginDevice {
                login_id: login.uuid(),
                device: registration.device.clone(),
            })
            // Before there is a user, the key belongs to the address: two strangers may choose the same key.
            .with_key(request.key_of(&email_claim), json!({"user_id": user}));
        let outcome = match parts.executor.run(batch).await {
            Err(ExecuteError::Rejected(Refusal::Claim(ClaimError::Taken))) => {
                let by_email = parts.executor.state::<Claim>(&email_claim).await?.owner().is_some();
                return Err(if by_email { AppError::email_taken() } else { AppError::username_taken() });
            }
            outcome => outcome?,
        };
        self.catch_up(models::ACCOUNT_MODELS, outcome.position).await;
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
        let parts = &self.parts;
        let claim = if identifier.contains('@') {
            parts.names.email_claim(&EmailAddress::parse(identifier)?.normalised())
        } else {
            parts.names.username_claim(&Username::parse(identifier)?.normalised())
        };
        if let Some(wait) = parts.accounts.lockout.refused_for(&claim).await? {
            return Err(locked(wait));
        }
        let owner = parts.executor.state::<Claim>(&claim).await?.owner();
        let credential = match owner {
            Some(owner) => parts.credentials.get(owner).await?,
            None => None,
        };
        let password = Password::new(password);
        let stored = credential.as_ref().map(|credential| credential.hash.clone());
        let verdict = match (parts.passwords.verify(stored, password.clone()).await, owner) {
            (Err(PasswordError::StoredHash), Some(owner)) => {
                audit_log::stored_hash_unusable(owner);
                Verdict::Wrong
            }
            (verdict, _) => verdict?,
        };
        let found = match (owner, credential, verdict) {
            (Some(user), Some(credential), Verdict::Right { needs_rehash })
                if parts.executor.state::<User>(&user.to_string()).await?.is_active() =>
            {
                Some((user, credential, needs_rehash))
            }
            _ => None,
        };
        match parts.accounts.lockout.settle(&claim, found.is_some()).await? {
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
            let fresh = parts.passwords.hash(password).await?;
            parts.credentials.upgrade(user, &credential.hash, &fresh).await?;
        }
        let tokens = self.start_login(user, credential.epoch, device.as_deref()).await?;
        metrics::counter!("verbatim_sign_ins_total", "outcome" => "accepted").increment(1);
        Ok(SignedIn { user: self.user(user).await?, tokens, position: None })
    }

    /// Exchanges a refresh token for new tokens.
    ///
    /// # Errors
    /// `Unauthenticated` for every token that is not the login's current one; `Throttled`; the database's.
    pub async fn refresh(&self, presented: &str) -> Result<SignedIn, AppError> {
        let parts = &self.parts;
        let presented = RefreshToken::parse(presented).ok_or_else(AppError::invalid_token)?;
        let fresh = RefreshToken::generate().map_err(AppError::internal)?;
        // Only what would be exchanged: a copy is noticed, and ends its login, however often the account was refreshed.
        if let Some(user) = parts.logins.holder(&presented).await? {
            self.count_attempt_of(Attempt::RefreshOfAccount, user).await?;
        }
        match parts.logins.rotate(&presented, &fresh).await? {
            Rotation::Rotated { login, user, again: _ } => {
                let tokens = self.tokens(user, login, &fresh, parts.clock.now())?;
                Ok(SignedIn { user: self.user(user).await?, tokens, position: None })
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
        self.parts.logins.end(actor.login, EndReason::SignedOut).await?;
        Ok(())
    }

    /// The live logins of the actor, the newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn logins(&self, actor: Actor) -> Result<Vec<LoginRow>, AppError> {
        Ok(self.parts.logins.list(actor.user).await?)
    }

    /// Ends one login of the actor: its tokens are worthless from now on, and what it has open is closed.
    ///
    /// # Errors
    /// `NotFound` for one that is somebody else's or not live; the database's.
    pub async fn end_login(&self, actor: Actor, login: LoginId) -> Result<(), AppError> {
        if self.parts.logins.end_own(actor.user, login, EndReason::SignedOut).await? {
            return Ok(());
        }
        Err(AppError::not_found())
    }

    /// Ends every login of the actor but the one that the request came with.
    ///
    /// # Errors
    /// The database's.
    pub async fn end_other_logins(&self, actor: Actor) -> Result<(), AppError> {
        self.parts.logins.end_all(actor.user, EndReason::SignedOut, Some(actor.login)).await?;
        Ok(())
    }

    /// Who an access token speaks for, if its login is still live.
    ///
    /// # Errors
    /// `Unauthenticated`, one wording for every reason; the database's.
    pub async fn authenticate(&self, token: &str) -> Result<Actor, AppError> {
        Ok(self.admit(token).await?.actor)
    }

    /// A user's profile. One who was registered a moment ago, by a command or at another process, may not be in the read
    /// model yet: that is waited for.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` when it was waited for in vain; the database's.
    pub async fn user(&self, user: UserId) -> Result<UserRow, AppError> {
        let parts = &self.parts;
        if let Some(row) = users::query::by_id(&parts.pool, user.uuid()).await? {
            return Ok(row);
        }
        let head = parts.reader.last_position().await.map_err(AppError::unavailable)?;
        self.catch_up(models::ACCOUNT_MODELS, Some(head)).await;
        if let Some(row) = users::query::by_id(&parts.pool, user.uuid()).await? {
            return Ok(row);
        }
        // Somebody whom the log knows is not "not there" because a projection stands still.
        match parts.executor.state::<User>(&user.to_string()).await?.id() {
            Some(_) => Err(AppError::unavailable(anyhow::anyhow!("the users are behind the log"))),
            None => Err(AppError::not_found()),
        }
    }

    async fn start_login(&self, user: UserId, epoch: i64, device: Option<&str>) -> Result<Tokens, AppError> {
        let parts = &self.parts;
        let login = LoginId::new(parts.clock.id());
        let refresh = RefreshToken::generate().map_err(AppError::internal)?;
        if !parts.logins.start(login, user, &refresh, epoch, device).await? {
            // The password was changed while we looked at the old one.
            return Err(AppError::wrong_credentials());
        }
        self.tokens(user, login, &refresh, parts.clock.now())
    }

    fn tokens(
        &self,
        user: UserId,
        login: LoginId,
        refresh: &RefreshToken,
        now: DateTime<Utc>,
    ) -> Result<Tokens, AppError> {
        let parts = &self.parts;
        let lifetime = parts.settings.access_lifetime;
        let access =
            parts.tokens.issue(user, login, parts.clock.id(), now, lifetime).map_err(AppError::internal)?;
        Ok(Tokens { access, refresh: refresh.expose(), expires_in: lifetime.as_secs() })
    }
}

/// The account takes no sign-ins for a while.
fn locked(wait: Duration) -> AppError {
    metrics::counter!("verbatim_sign_ins_total", "outcome" => "locked").increment(1);
    AppError::locked(wait)
}
