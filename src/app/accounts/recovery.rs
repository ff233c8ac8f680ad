//! Password recovery: a mail is requested, and its token sets a new password.

use aggregates::Rejection;
use aggregates::user::{User, UserCommand, UserError};
use aggregates::values::EmailAddress;
use serde_json::json;

use super::AccountService;
use super::profile::known_email;
use crate::app::{AppError, RequestContext};
use crate::audit_log;
use crate::auth::logins::{self, EndReason};
use crate::auth::{Password, ResetToken, credentials, password_resets};
use crate::mail::MailKind;
use event_store::{CommandBatch, ExecuteError};

impl AccountService {
    /// Requests a reset mail for an address. The mail worker checks later whether it is registered, so that the work here is
    /// the same for every address.
    ///
    /// # Errors
    /// `Invalid` address; the database's.
    pub async fn forgot_password(&self, email: &str) -> Result<(), AppError> {
        let email = EmailAddress::parse(email)?;
        if let Some(outbox) = &self.outbox {
            let claim = self.core.hasher.email_claim(&email.normalised());
            outbox.add_reset(self.core.clock.id(), &claim).await?;
        }
        Ok(())
    }

    /// Sets a new password with a token, ends every login, and clears the lockout.
    ///
    /// # Errors
    /// `Unauthenticated` for an invalid token, whatever the reason; `Invalid` if the password breaks the rule: the token can
    /// then be used again.
    pub async fn reset_password(
        &self,
        request: &RequestContext,
        token: &str,
        password: String,
    ) -> Result<Option<i64>, AppError> {
        let token = ResetToken::parse(token).ok_or_else(AppError::invalid_token)?;
        let (owner, valid) = self.resets.find(&token).await?.ok_or_else(AppError::invalid_token)?;
        let key = request.key_of(owner);
        // The token of a repetition is already spent.
        if let Some(key) = &key
            && let Some(outcome) = self.core.executor.repeated(key).await?
        {
            return Ok(outcome.position);
        }
        let user = self.core.executor.state::<User>(&owner.to_string()).await?;
        if !valid || !user.is_active() {
            return Err(AppError::invalid_token());
        }
        let password = Password::new(password);
        password.check(known_email(&user).map(EmailAddress::as_str))?;
        let hash = self.passwords.hash(password).await?;
        let batch = CommandBatch::new(owner.uuid(), request.metadata(None, &self.core.clock))
            .command::<User>(owner, UserCommand::ChangePassword { at: self.core.clock.now() })
            .with_write(password_resets::use_token(owner, &token))
            .with_write(credentials::set_hash(owner, &hash))
            .with_write(logins::end_logins(owner, EndReason::PasswordReset, None))
            .with_key(key, json!({"user_id": owner}));
        let batch = self.clear_lockout(batch, &user);
        let batch = self.with_mail(batch, owner, MailKind::PasswordChanged, false);
        let outcome = self.change_account(batch).await.map_err(|error| match error {
            // The account was closed meanwhile.
            ExecuteError::Rejected(Rejection::User(UserError::Deactivated)) => AppError::invalid_token(),
            error => error.into(),
        })?;
        self.logins.invalidate(owner);
        audit_log::password_reset(owner);
        Ok(outcome.position)
    }
}
