//! Sends the mails of the outbox.

use std::time::Duration;

use aggregates::claim::Claim;
use aggregates::ids::UserId;
use aggregates::user::User;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::MailKind;
use super::outbox::{MailRow, Outbox, Recipient};
use super::smtp::{SendError, SmtpMailer};
use super::templates::{self, MailBody};
use crate::audit_log;
use crate::auth::ResetToken;
use crate::auth::password_resets::{MAX_VALID_MAILS, PasswordResets};
use crate::clock::Clock;
use event_store::{ExecuteError, Executor};

/// Time between two polls of the outbox without a notification.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Most mails sent at once.
const MAX_CONCURRENT_MAILS: i32 = 4;
/// Attempts per mail.
const MAX_ATTEMPTS: i32 = 8;
/// Back-off before the second attempt; it doubles with each attempt.
const FIRST_BACKOFF: Duration = Duration::from_secs(10);
/// Longest back-off.
const MAX_BACKOFF: Duration = Duration::from_secs(600);

/// Sends the mails of the outbox. Any number of workers may share one.
#[derive(Clone)]
pub struct MailWorker {
    /// Mails to be sent.
    pub outbox: Outbox,
    /// Where it is given to.
    pub smtp: SmtpMailer,
    /// Stores the tokens that are sent.
    pub resets: PasswordResets,
    /// Reads the recipient's state.
    pub executor: Executor,
    /// Base of links, if configured.
    pub public_url: Option<String>,
    /// Dates the mails.
    pub clock: Clock,
}

/// Outcome of one attempt.
enum Delivery {
    /// Accepted by the server.
    Sent,
    /// Not needed: there is no recipient (any more).
    Skipped,
    /// Failed, to be tried again.
    Deferred(String),
    /// Could not be rendered: to be tried again, without counting this attempt.
    NotRendered(String),
    /// Failed for good.
    Failed(SendError),
}

/// Why a mail cannot be rendered now.
#[derive(Debug, thiserror::Error)]
enum RenderError {
    #[error("the log is unavailable")]
    Log(#[from] ExecuteError),
    #[error("the database is unavailable")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Random(#[from] crate::auth::opaque_token::RandomError),
}

impl MailWorker {
    /// Sends mails until `stop`. A mail being sent at that moment is sent again later.
    pub async fn run(self, stop: CancellationToken) {
        // Registered at zero, so that alerts see the first increase.
        for kind in MailKind::ALL {
            for outcome in ["sent", "deferred", "failed", "skipped"] {
                metrics::counter!("verbatim_mails_total", "kind" => kind.as_str(), "outcome" => outcome)
                    .increment(0);
            }
        }
        loop {
            let sent = tokio::select! {
                sent = self.send_due() => sent,
                () = stop.cancelled() => return,
            };
            match sent {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => tracing::warn!(%error, "failed to lease mails"),
            }
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = self.outbox.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Sends some of the due mails; returns how many were leased.
    async fn send_due(&self) -> Result<usize, sqlx::Error> {
        let leased = self.outbox.lease(MAX_CONCURRENT_MAILS).await?;
        join_all(leased.iter().map(|mail| self.handle(mail))).await;
        metrics::gauge!("verbatim_mails_waiting").set(self.outbox.waiting().await? as f64);
        Ok(leased.len())
    }

    async fn handle(&self, mail: &MailRow) {
        let delivery = match self.render(mail).await {
            Ok(Some((address, body))) => {
                let sent = self.smtp.send(mail.mail_id, &address, body, self.clock.now().into()).await;
                match sent {
                    Ok(()) => Delivery::Sent,
                    Err(error) if error.is_transient() && mail.attempts < MAX_ATTEMPTS => {
                        Delivery::Deferred(error.to_string())
                    }
                    Err(error) => Delivery::Failed(error),
                }
            }
            Ok(None) => Delivery::Skipped,
            // Not counted as an attempt: the server was not contacted.
            Err(error) => Delivery::NotRendered(error.to_string()),
        };
        let kind = MailKind::named(&mail.kind).map_or("unknown", MailKind::as_str);
        let outcome = match &delivery {
            Delivery::Sent => "sent",
            Delivery::Skipped => "skipped",
            Delivery::Deferred(_) | Delivery::NotRendered(_) => "deferred",
            Delivery::Failed(_) => "failed",
        };
        metrics::counter!("verbatim_mails_total", "kind" => kind, "outcome" => outcome).increment(1);
        let updated = match delivery {
            Delivery::Sent | Delivery::Skipped => self.outbox.remove(mail.mail_id).await,
            Delivery::Deferred(why) => {
                tracing::warn!(mail.id = %mail.mail_id, kind, attempt = mail.attempts, why, "failed to send mail, will retry");
                self.outbox.defer(mail.mail_id, backoff(mail.attempts)).await
            }
            Delivery::NotRendered(why) => {
                tracing::warn!(mail.id = %mail.mail_id, kind, why, "failed to render mail, will retry");
                self.outbox.defer_unattempted(mail.mail_id, backoff(mail.attempts)).await
            }
            Delivery::Failed(error) => {
                tracing::error!(mail.id = %mail.mail_id, kind, attempt = mail.attempts, %error, "failed to send mail, giving up");
                self.outbox.remove(mail.mail_id).await
            }
        };
        if let Err(error) = updated {
            // It is leased again when the lease expires: a duplicate at worst.
            tracing::warn!(%error, mail.id = %mail.mail_id, "failed to update the outbox");
        }
    }

    /// Returns address and text of a mail; `None` if there is no recipient.
    async fn render(&self, mail: &MailRow) -> Result<Option<(String, MailBody)>, RenderError> {
        let user = match mail.recipient() {
            Some(Recipient::User(user)) => Some(user),
            Some(Recipient::Claim(claim)) => self.executor.state::<Claim>(&claim).await?.owner(),
            None => None,
        };
        let (Some(user), Some(kind)) = (user, MailKind::named(&mail.kind)) else { return Ok(None) };
        match kind {
            MailKind::PasswordReset => self.password_reset(mail, user).await,
            MailKind::PasswordChanged => {
                Ok(self.address(mail, user).await?.map(|to| (to, templates::password_changed())))
            }
            MailKind::EmailChanged => {
                Ok(self.address(mail, user).await?.map(|to| (to, templates::email_changed())))
            }
        }
    }

    /// Renders a password reset with a new token.
    async fn password_reset(
        &self,
        mail: &MailRow,
        user: UserId,
    ) -> Result<Option<(String, MailBody)>, RenderError> {
        if !self.executor.state::<User>(&user.to_string()).await?.is_active() {
            return Ok(None);
        }
        if self.resets.valid_mails(user, mail.mail_id).await? >= MAX_VALID_MAILS {
            audit_log::reset_rate_limited(user);
            return Ok(None);
        }
        let token = ResetToken::generate()?;
        self.resets.store(&token, user, Some(mail.mail_id)).await?;
        // Read the address after storing the token: an account that changes its address or is closed meanwhile either
        // revokes the token or is seen here.
        let unchanged = match mail.recipient() {
            Some(Recipient::Claim(claim)) => {
                self.executor.state::<Claim>(&claim).await?.owner() == Some(user)
            }
            _ => true,
        };
        let address = if unchanged { self.address(mail, user).await? } else { None };
        let Some(address) = address else {
            self.resets.revoke_all(user).await?;
            return Ok(None);
        };
        audit_log::reset_issued(user, true);
        Ok(Some((address, templates::password_reset(&token, self.public_url.as_deref()))))
    }

    /// Returns the address of the recipient; `None` if the account is closed or the address erased. A notice to the old
    /// address is sent even if the account has been closed since.
    async fn address(&self, mail: &MailRow, user: UserId) -> Result<Option<String>, ExecuteError> {
        let id = user.to_string();
        let state = match mail.sequence {
            Some(sequence) => self.executor.state_at::<User>(&id, sequence).await?,
            None => self.executor.state::<User>(&id).await?,
        };
        Ok(state
            .email()
            .filter(|_| state.is_active())
            .and_then(|email| email.as_ref().known())
            .map(|email| email.as_str().to_owned()))
    }
}

/// Returns the back-off after so many attempts.
fn backoff(attempts: i32) -> Duration {
    let doubled = u32::try_from(attempts.clamp(1, 16) - 1).unwrap_or_default();
    (FIRST_BACKOFF * 2_u32.pow(doubled)).min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_attempts_fit_into_the_lifetime_of_a_token() {
        let backoffs: Vec<u64> = (1..MAX_ATTEMPTS).map(|attempts| backoff(attempts).as_secs()).collect();
        assert_eq!(backoffs, [10, 20, 40, 80, 160, 320, 600]);
        assert!(backoffs.iter().sum::<u64>() < crate::auth::password_resets::RESET_TOKEN_TTL.as_secs());
        assert_eq!(backoff(100).as_secs(), 600);
    }
}
