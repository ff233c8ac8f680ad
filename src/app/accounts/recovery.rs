//! A forgotten password: a mail is asked for, and its token is exchanged for a new password.

use aggregates::Refusal;
use aggregates::user::{User, UserCommand, UserError};
use aggregates::values::EmailAddress;
use serde_json::json;

use super::AccountService;
use super::profile::known_email;
use crate::app::{AppError, RequestContext};
use crate::audit_log;
use crate::auth::logins::{self, EndReason};
use crate::auth::{Password, ResetToken, credentials, resets};
use crate::mail::MailKind;
use event_store::{CommandBatch, ExecuteError};

impl AccountService {
    /// Has a mail sent to this address, if it is that of an account. Whether it is, is looked up when the mail is made: what
    /// happens here is the same for every address.
    ///
    /// # Errors
    /// `Invalid` for what is no address; the database's.
    pub async fn forgot_password(&self, email: &str) -> Result<(), AppError> {
        let email = EmailAddress::parse(email)?;
        if let Some(outbox) = &self.outbox {
            let claim = self.core.names.email_claim(&email.normalised());
            outbox.ask_for_reset(self.core.clock.id(), &claim).await?;
        }
        Ok(())
    }

    /// Replaces the password of whoever the token was sent to, and ends every login. A lock after failed sign-ins ends too.
    ///
    /// # Errors
    /// `Unauthenticated` for a token that is not good, whatever the reason; `Invalid` when the password breaks the rule:
    /// the token may then be used again.
    pub async fn reset_password(
        &self,
        request: &RequestContext,
        token: &str,
        password: String,
    ) -> Result<Option<i64>, AppError> {
        let token = ResetToken::parse(token).ok_or_else(AppError::invalid_token)?;
        let (owner, good) = self.resets.find(&token).await?.ok_or_else(AppError::invalid_token)?;
        let key = request.key_of(owner);
        // A repetition finds its token spent.
        if let Some(key) = &key
            && let Some(outcome) = self.core.executor.repeated(key).await?
        {
            return Ok(outcome.position);
        }
        let user = self.core.executor.state::<User>(&owner.to_string()).await?;
        if !good || !user.is_active() {
            return Err(AppError::invalid_token());
        }
        let password = Password::new(password);
        password.check(known_email(&user).map(EmailAddress::as_str))?;
        let hash = self.passwords.hash(password).await?;
        let batch = CommandBatch::new(owner.uuid(), request.metadata(None, &self.core.clock))
            .command::<User>(owner, UserCommand::ChangePassword { at: self.core.clock.now() })
            .with_write(resets::use_token(owner, &token))
            .with_write(credentials::set_hash(owner, &hash))
            .with_write(logins::end_logins(owner, EndReason::PasswordReset, None))
            .with_key(key, json!({"user_id": owner}));
        let batch = self.cleared(batch, &user);
        let batch = self.with_mail(batch, owner, MailKind::PasswordChanged, false);
        let outcome = self.change_account(batch).await.map_err(|error| match error {
            // The account was closed meanwhile.
            ExecuteError::Rejected(Refusal::User(UserError::Deactivated)) => AppError::invalid_token(),
            error => error.into(),
        })?;
        self.logins.forget(owner);
        audit_log::password_reset(owner);
        Ok(outcome.position)
    }
}
