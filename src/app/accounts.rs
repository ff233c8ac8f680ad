//! Accounts: registration, sign-in, logins, the current user.

use aggregates::claim::{Claim, ClaimCommand, ClaimError};
use aggregates::ids::{LoginId, UserId};
use aggregates::user::{User, UserCommand};
use aggregates::values::{EmailAddress, Username};
use aggregates::{Personal, Refusal};
use chrono::{DateTime, Utc};
use projections::users::query::UserRow;
use projections::{models, users};
use serde_json::json;

use super::{Actor, App, AppError, Kind, RequestContext};
use crate::auth::logins::EndReason;
use crate::auth::passwords::Verdict;
use crate::auth::{Password, RefreshToken, Rotation};
use crate::log::{Beside, ExecuteError, Intent};

/// What a new account is made of.
#[derive(Clone)]
pub struct Registration {
    /// Address, as typed.
    pub email: String,
    /// Name to sign in with, where one is wished for.
    pub username: Option<String>,
    /// The password.
    pub password: String,
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

        let mut intent = Intent::new(user.uuid(), request.metadata(Some(user), &parts.clock))
            .then::<Claim>(&email_claim, ClaimCommand::Take { owner: user, at: now });
        if let Some(claim) = &username_claim {
            intent = intent.then::<Claim>(claim, ClaimCommand::Take { owner: user, at: now });
        }
        let intent = intent
            .then::<User>(
                user,
                UserCommand::Register {
                    user_id: user,
                    email: Personal::Known(email.clone()),
                    username: username.clone().map(Personal::Known),
                    at: now,
                },
            )
            .beside(Beside::Credential { user_id: user.uuid(), hash })
            .beside(Beside::LoginStart {
                login_id: login.uuid(),
                user_id: user.uuid(),
                token_hash: *refresh.hash().as_bytes(),
                idle_seconds: policy.idle.as_secs(),
                total_seconds: policy.total.as_secs(),
            })
            // Before there is a user, the key belongs to the address: two strangers may choose the same key.
            .keyed(request.key_of(&email_claim), json!({"user_id": user}));
        let outcome = match parts.executor.run(intent).await {
            Err(ExecuteError::Refused(Refusal::Claim(ClaimError::Taken))) => {
                let by_email = parts.executor.state::<Claim>(&email_claim).await?.owner().is_some();
                return Err(if by_email {
                    AppError::new(Kind::Conflict, "email_taken", "This e-mail address is registered already.")
                } else {
                    AppError::new(Kind::Conflict, "username_taken", "This user name is taken already.")
                });
            }
            outcome => outcome?,
        };
        self.catch_up(models::ACCOUNT_MODELS, outcome.position).await;
        if outcome.replayed.is_some() {
            // The first answer's tokens are not kept anywhere, so: new ones, if the password still signs in.
            let signed_in = self.login(&registration.email, registration.password).await?;
            return Ok(SignedIn { position: outcome.position, ..signed_in });
        }
        let tokens = self.tokens(user, login, &refresh, now)?;
        let row = UserRow {
            user_id: user.uuid(),
            email: Some(email.as_str().to_owned()),
            username: username.map(|username| username.as_str().to_owned()),
            is_active: true,
            created_at: now,
            password_changed_at: None,
        };
        Ok(SignedIn { user: row, tokens, position: outcome.position })
    }

    /// Signs in with an address or a user name.
    ///
    /// # Errors
    /// `Invalid` when the identifier is neither; `Unauthenticated` for everything that is wrong about the rest.
    pub async fn login(&self, identifier: &str, password: String) -> Result<SignedIn, AppError> {
        let parts = &self.parts;
        let claim = if identifier.contains('@') {
            parts.names.email_claim(&EmailAddress::parse(identifier)?.normalised())
        } else {
            parts.names.username_claim(&Username::parse(identifier)?.normalised())
        };
        let owner = parts.executor.state::<Claim>(&claim).await?.owner();
        let credential = match owner {
            Some(owner) => parts.credentials.get(owner).await?,
            None => None,
        };
        let password = Password::new(password);
        let stored = credential.as_ref().map(|credential| credential.hash.clone());
        let verdict = parts.passwords.verify(stored, password.clone()).await?;
        let (Some(user), Some(credential), Verdict::Right { needs_rehash }) = (owner, credential, verdict)
        else {
            metrics::counter!("verbatim_sign_ins_total", "outcome" => "refused").increment(1);
            return Err(AppError::wrong_credentials());
        };
        if !parts.executor.state::<User>(&user.to_string()).await?.is_active() {
            return Err(AppError::wrong_credentials());
        }
        if needs_rehash {
            let fresh = parts.passwords.hash(password).await?;
            parts.credentials.upgrade(user, &credential.hash, &fresh).await?;
        }
        let tokens = self.start_login(user, credential.epoch).await?;
        metrics::counter!("verbatim_sign_ins_total", "outcome" => "accepted").increment(1);
        Ok(SignedIn { user: self.user(user).await?, tokens, position: None })
    }

    /// Exchanges a refresh token for new tokens.
    ///
    /// # Errors
    /// `Unauthenticated` for every token that is not the login's current one.
    pub async fn refresh(&self, presented: &str) -> Result<SignedIn, AppError> {
        let parts = &self.parts;
        let presented = RefreshToken::parse(presented).ok_or_else(AppError::invalid_token)?;
        let fresh = RefreshToken::generate().map_err(AppError::internal)?;
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

    /// Replaces the password and ends every other login.
    ///
    /// # Errors
    /// `Forbidden` when the old one is wrong, `Invalid` when the new one breaks the rule.
    pub async fn change_password(
        &self,
        request: &RequestContext,
        actor: Actor,
        old: String,
        new: String,
    ) -> Result<Option<i64>, AppError> {
        let parts = &self.parts;
        let key = request.key_of(actor.user);
        // A repetition cannot prove the old password any more: the first one has replaced it.
        if let Some(key) = &key
            && let Some(outcome) = parts.executor.repeated(key).await?
        {
            return Ok(outcome.position);
        }
        let epoch = self.prove(actor, old).await?;
        let new = Password::new(new);
        let email = self.user(actor.user).await?.email;
        new.check(email.as_deref())?;
        let hash = parts.passwords.hash(new).await?;
        let user_id = actor.user.uuid();
        let intent = Intent::new(user_id, request.metadata(Some(actor.user), &parts.clock))
            .then::<User>(actor.user, UserCommand::ChangePassword { at: parts.clock.now() })
            .beside(Beside::CredentialSeen { user_id, epoch })
            .beside(Beside::Credential { user_id, hash })
            .beside(Beside::LoginsEnd {
                user_id,
                reason: EndReason::PasswordChanged.as_str(),
                except: Some(actor.login.uuid()),
            })
            .keyed(key, json!({"user_id": actor.user}));
        let outcome = parts.executor.run(intent).await?;
        parts.logins.forget(actor.user);
        self.catch_up(models::ACCOUNT_MODELS, outcome.position).await;
        Ok(outcome.position)
    }

    /// Closes the account and ends every login.
    ///
    /// # Errors
    /// `Forbidden` when the password is wrong.
    pub async fn deactivate(
        &self,
        request: &RequestContext,
        actor: Actor,
        password: String,
    ) -> Result<Option<i64>, AppError> {
        let parts = &self.parts;
        let epoch = self.prove(actor, password).await?;
        let user_id = actor.user.uuid();
        let intent = Intent::new(user_id, request.metadata(Some(actor.user), &parts.clock))
            .then::<User>(actor.user, UserCommand::Deactivate { at: parts.clock.now() })
            .beside(Beside::CredentialSeen { user_id, epoch })
            .beside(Beside::LoginsEnd { user_id, reason: EndReason::AccountClosed.as_str(), except: None })
            .keyed(request.key_of(actor.user), json!({"user_id": actor.user}));
        let outcome = parts.executor.run(intent).await?;
        parts.logins.forget(actor.user);
        self.catch_up(models::ACCOUNT_MODELS, outcome.position).await;
        Ok(outcome.position)
    }

    /// Who an access token speaks for, if its login is still live.
    ///
    /// # Errors
    /// `Unauthenticated`, one wording for every reason; the database's.
    pub async fn authenticate(&self, token: &str) -> Result<Actor, AppError> {
        Ok(self.admit(token).await?.actor)
    }

    /// A user's profile.
    ///
    /// # Errors
    /// `NotFound`, or the database's.
    pub async fn user(&self, user: UserId) -> Result<UserRow, AppError> {
        users::query::by_id(&self.parts.pool, user.uuid()).await?.ok_or_else(AppError::not_found)
    }

    /// Checks that it is really the account's owner who asks for something grave.
    /// Checks the password, and returns which one it was: what rests on it holds only while it is not changed.
    async fn prove(&self, actor: Actor, password: String) -> Result<i64, AppError> {
        let credential = self.parts.credentials.get(actor.user).await?;
        let epoch = credential.as_ref().map_or(0, |credential| credential.epoch);
        let stored = credential.map(|credential| credential.hash);
        match self.parts.passwords.verify(stored, Password::new(password)).await? {
            Verdict::Right { .. } => Ok(epoch),
            Verdict::Wrong => Err(AppError::wrong_password()),
        }
    }

    async fn start_login(&self, user: UserId, epoch: i64) -> Result<Tokens, AppError> {
        let parts = &self.parts;
        let login = LoginId::new(parts.clock.id());
        let refresh = RefreshToken::generate().map_err(AppError::internal)?;
        if !parts.logins.start(login, user, &refresh, epoch).await? {
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
