//! Changes of a user's own account: password, e-mail address, user name, closing it.

use aggregates::Personal;
use aggregates::Rejection;
use aggregates::claim::{Claim, ClaimCommand, ClaimError};
use aggregates::user::{User, UserCommand};
use aggregates::values::{EmailAddress, Username};
use projections::registry;
use projections::users::query::UserRow;
use serde_json::json;

use super::AccountService;
use crate::app::rate_limits::ThrottledAction;
use crate::app::{Actor, AppError, RequestContext};
use crate::audit_log;
use crate::auth::lockout::{self, LockoutOutcome};
use crate::auth::logins::{self, EndReason};
use crate::auth::passwords::{PasswordError, Verification};
use crate::auth::{Lockout, Password, administrators, credentials, password_resets};
use crate::mail::{MailKind, outbox};
use event_store::{CommandBatch, CommandOutcome, ExecuteError};

impl AccountService {
    /// Replaces the password and ends every other login.
    ///
    /// # Errors
    /// `Forbidden` if the old password is wrong, `Invalid` if the new one breaks the rule.
    pub async fn change_password(
        &self,
        request: &RequestContext,
        actor: Actor,
        old: String,
        new: String,
    ) -> Result<Option<i64>, AppError> {
        let key = request.key_of(actor.user);
        // A repetition cannot present the old password: the first command has replaced it.
        if let Some(key) = &key
            && let Some(outcome) = self.core.executor.repeated(key).await?
        {
            return Ok(outcome.position);
        }
        let epoch = self.reauthenticate(actor, old).await?;
        let new = Password::new(new);
        let user = self.core.executor.state::<User>(&actor.user.to_string()).await?;
        new.check(known_email(&user).map(EmailAddress::as_str))?;
        let hash = self.passwords.hash(new).await?;
        let batch = self
            .core
            .batch(request, actor.user)
            .command::<User>(actor.user, UserCommand::ChangePassword { at: self.core.clock.now() })
            .with_write(credentials::require_unchanged(actor.user, epoch))
            .with_write(credentials::set_hash(actor.user, &hash))
            .with_write(password_resets::revoke_all(actor.user))
            .with_write(logins::end_logins(actor.user, EndReason::PasswordChanged, Some(actor.login)))
            .with_key(key, json!({"user_id": actor.user}));
        let batch = self.clear_lockout(batch, &user);
        let batch = self.with_mail(batch, actor.user, MailKind::PasswordChanged, false);
        let outcome = self.change_account(batch).await?;
        self.logins.invalidate(actor.user);
        audit_log::password_changed(actor.user);
        Ok(outcome.position)
    }

    /// Changes the e-mail address. Releases the old one and sends a notice to it.
    ///
    /// # Errors
    /// `Forbidden` if the password is wrong, `Invalid` address, `Conflict` if it is taken, `Throttled` after too many.
    pub async fn change_email(
        &self,
        request: &RequestContext,
        actor: Actor,
        email: &str,
        password: String,
    ) -> Result<(UserRow, Option<i64>), AppError> {
        let key = request.key_of(actor.user);
        if let Some(key) = &key
            && let Some(outcome) = self.core.executor.repeated(key).await?
        {
            return Ok((self.user(actor.user).await?, outcome.position));
        }
        let to = EmailAddress::parse(email)?;
        let epoch = self.reauthenticate(actor, password).await?;
        let user = self.core.executor.state::<User>(&actor.user.to_string()).await?;
        let from = known_email(&user).cloned().ok_or_else(AppError::not_found)?;
        if from == to {
            return Ok((self.user(actor.user).await?, None));
        }
        let at = self.core.clock.now();
        let claims = [&from, &to].map(|email| self.core.hasher.email_claim(&email.normalised()));
        if claims[0] != claims[1] {
            self.rate_limits.count_attempt_of(ThrottledAction::Claim, actor.user).await?;
        }
        let batch = self.core.batch(request, actor.user);
        let batch = exchange_claims(batch, actor, Some(&claims[0]), &claims[1], at)
            .command::<User>(
                actor.user,
                UserCommand::ChangeEmail { from: Personal::Known(from), to: Personal::Known(to.clone()), at },
            )
            .with_write(credentials::require_unchanged(actor.user, epoch))
            // Tokens that went to the old address.
            .with_write(password_resets::revoke_all(actor.user))
            .with_key(key, json!({"user_id": actor.user}));
        let batch = self.with_mail(batch, actor.user, MailKind::EmailChanged, true);
        let outcome =
            self.change_account(batch).await.map_err(|error| map_taken(error, AppError::email_taken))?;
        audit_log::email_changed(actor.user);
        let row = UserRow { email: Some(to.into_string()), ..self.user(actor.user).await? };
        Ok((row, outcome.position))
    }

    /// Changes the user name. Releases the old one.
    ///
    /// # Errors
    /// `Invalid` name, `Conflict` if it is taken, `Throttled` after too many.
    pub async fn change_username(
        &self,
        request: &RequestContext,
        actor: Actor,
        username: &str,
    ) -> Result<(UserRow, Option<i64>), AppError> {
        let key = request.key_of(actor.user);
        // A repetition reveals nothing new, so it is not counted again.
        if let Some(key) = &key
            && let Some(outcome) = self.core.executor.repeated(key).await?
        {
            self.core.catch_up(registry::ACCOUNT_MODELS, outcome.position).await;
            return Ok((self.user(actor.user).await?, outcome.position));
        }
        let to = Username::parse(username)?;
        let user = self.core.executor.state::<User>(&actor.user.to_string()).await?;
        let from = user.username().cloned();
        let old = from.as_ref().and_then(|name| name.as_ref().known());
        let old = old.map(|name| self.core.hasher.username_claim(&name.normalised()));
        let new = self.core.hasher.username_claim(&to.normalised());
        if old.as_deref() != Some(new.as_str()) {
            self.rate_limits.count_attempt_of(ThrottledAction::Claim, actor.user).await?;
        }
        let at = self.core.clock.now();
        let batch = self.core.batch(request, actor.user);
        let batch = exchange_claims(batch, actor, old.as_deref(), &new, at)
            .command::<User>(
                actor.user,
                UserCommand::ChangeUsername { from, to: Personal::Known(to.clone()), at },
            )
            .with_key(key, json!({"user_id": actor.user}));
        let outcome =
            self.change_account(batch).await.map_err(|error| map_taken(error, AppError::username_taken))?;
        let row = self.user(actor.user).await?;
        // After a repetition the name may have been changed again.
        let username = if outcome.replayed.is_some() { row.username.clone() } else { Some(to.into_string()) };
        Ok((UserRow { username, ..row }, outcome.position))
    }

    /// Closes the account and ends every login.
    ///
    /// # Errors
    /// `Forbidden` if the password is wrong, `Conflict` for the last administrator.
    pub async fn deactivate(
        &self,
        request: &RequestContext,
        actor: Actor,
        password: String,
    ) -> Result<Option<i64>, AppError> {
        let epoch = self.reauthenticate(actor, password).await?;
        let batch = self
            .core
            .batch(request, actor.user)
            .command::<User>(actor.user, UserCommand::Deactivate { at: self.core.clock.now() })
            .with_write(credentials::require_unchanged(actor.user, epoch))
            .with_write(administrators::set(actor.user, false))
            .with_write(password_resets::revoke_all(actor.user))
            .with_write(logins::end_logins(actor.user, EndReason::AccountClosed, None))
            .with_key(request.key_of(actor.user), json!({"user_id": actor.user}));
        let outcome = self.change_account(batch).await?;
        self.logins.invalidate(actor.user);
        audit_log::account_closed(actor.user, actor.user);
        Ok(outcome.position)
    }

    /// Verifies the password before a sensitive change and returns the credential's version, which the append compares.
    /// Failures are counted separately from sign-ins.
    async fn reauthenticate(&self, actor: Actor, password: String) -> Result<i64, AppError> {
        let account = Lockout::reauth_key(actor.user);
        if let Some(wait) = self.lockout.locked_for(&account).await? {
            return Err(AppError::locked(wait));
        }
        let credential = self.credentials.get(actor.user).await?;
        let epoch = credential.as_ref().map_or(0, |credential| credential.epoch);
        let stored = credential.map(|credential| credential.hash);
        let correct = match self.passwords.verify(stored, Password::new(password)).await {
            Err(PasswordError::StoredHash) => {
                audit_log::stored_hash_unusable(actor.user);
                false
            }
            verdict => matches!(verdict?, Verification::Correct { .. }),
        };
        match self.lockout.record_attempt(&account, correct).await? {
            LockoutOutcome::Counted => {}
            LockoutOutcome::Locked(duration) => audit_log::sign_ins_locked(&account, duration),
            LockoutOutcome::Rejected(wait) => return Err(AppError::locked(wait)),
        }
        if correct {
            return Ok(epoch);
        }
        audit_log::reauthentication_failed(actor.user);
        Err(AppError::wrong_password())
    }

    /// Runs a batch about an account, and waits until it shows.
    pub(super) async fn change_account(&self, batch: CommandBatch) -> Result<CommandOutcome, ExecuteError> {
        let outcome = self.core.executor.run(batch).await?;
        if let Some(outbox) = &self.outbox {
            outbox.notify();
        }
        self.core.catch_up(registry::ACCOUNT_MODELS, outcome.position).await;
        Ok(outcome)
    }

    /// Adds a mail to a batch, if a mail server is configured.
    pub(super) fn with_mail(
        &self,
        batch: CommandBatch,
        user: aggregates::ids::UserId,
        kind: MailKind,
        to_old_address: bool,
    ) -> CommandBatch {
        if self.outbox.is_none() {
            return batch;
        }
        let mail_id = self.core.clock.id();
        batch.with_write(outbox::enqueue(mail_id, kind, user, to_old_address))
    }

    /// Adds the removal of the user's failed sign-ins to a batch.
    pub(super) fn clear_lockout(&self, batch: CommandBatch, user: &User) -> CommandBatch {
        let hasher = &self.core.hasher;
        let email = known_email(user).map(|email| hasher.email_claim(&email.normalised()));
        let username = user.username().and_then(|name| name.as_ref().known());
        let username = username.map(|name| hasher.username_claim(&name.normalised()));
        let accounts = email.into_iter().chain(username);
        accounts.fold(batch, |batch, account| batch.with_write(lockout::reset_failures(&account)))
    }
}

/// Returns the user's address, unless it was erased.
pub(super) fn known_email(user: &User) -> Option<&EmailAddress> {
    user.email().and_then(|email| email.as_ref().known())
}

/// Adds taking the new claim and releasing the old one; nothing if they are equal.
fn exchange_claims(
    batch: CommandBatch,
    actor: Actor,
    old: Option<&str>,
    new: &str,
    at: chrono::DateTime<chrono::Utc>,
) -> CommandBatch {
    if old == Some(new) {
        return batch;
    }
    let batch = batch.command::<Claim>(new, ClaimCommand::Take { owner: actor.user, at });
    match old {
        Some(old) => batch.command::<Claim>(old, ClaimCommand::Release { owner: actor.user, at }),
        None => batch,
    }
}

/// Maps a taken claim to the error of what is claimed.
fn map_taken(error: ExecuteError, taken: fn() -> AppError) -> AppError {
    match error {
        ExecuteError::Rejected(Rejection::Claim(ClaimError::Taken)) => taken(),
        error => error.into(),
    }
}
