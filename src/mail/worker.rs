//! Sends what the outbox holds.

use std::time::Duration;

use aggregates::claim::Claim;
use aggregates::ids::UserId;
use aggregates::user::User;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::MailKind;
use super::letters::{self, Letter};
use super::outbox::{Concerns, MailRow, Outbox};
use super::post::{Post, PostError};
use crate::audit_log;
use crate::auth::ResetToken;
use crate::auth::resets::{MAX_MAILS, Resets};
use crate::clock::Clock;
use event_store::{ExecuteError, Executor};

/// How often the outbox is looked into when nobody says that there is something.
const EVERY: Duration = Duration::from_secs(2);
/// How many mails are sent at a time.
const AT_ONCE: i32 = 4;
/// How often a mail is tried before it is given up.
const TRIES: i32 = 8;
/// The pause before the second try; each one after it is twice as long.
const PAUSE: Duration = Duration::from_secs(10);
/// But never longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Sends mails. Any number may work at one outbox.
#[derive(Clone)]
pub struct Mailer {
    /// What is to be sent.
    pub outbox: Outbox,
    /// Where it is given to.
    pub post: Post,
    /// Keeps the tokens that are sent.
    pub resets: Resets,
    /// Reads whom it goes to.
    pub executor: Executor,
    /// What links begin with.
    pub public_url: Option<String>,
    /// The date of mails.
    pub clock: Clock,
}

/// What became of a mail.
enum Sent {
    /// It was sent.
    Yes,
    /// There is nobody to send it to (any more), or nothing to be said.
    Needless,
    /// It is tried again.
    Later(String),
    /// The same, and this was no try: it could not even be written.
    Unwritten(String),
    /// It is given up.
    Never(PostError),
}

/// Why a mail cannot be written now.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("the log does not answer")]
    Log(#[from] ExecuteError),
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Random(#[from] crate::auth::opaque::RandomError),
}

impl Mailer {
    /// Sends until `stop`. What is being sent then is given up; somebody sends it again.
    pub async fn run(self, stop: CancellationToken) {
        // There from the start, so that an alert can see the first one rise.
        for kind in MailKind::ALL {
            for outcome in ["sent", "put_off", "given_up", "needless"] {
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
                Err(error) => tracing::warn!(%error, "mails cannot be read"),
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.outbox.wait() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Sends some of those that are due; returns how many were taken.
    async fn send_due(&self) -> Result<usize, sqlx::Error> {
        let taken = self.outbox.take(AT_ONCE).await?;
        join_all(taken.iter().map(|mail| self.handle(mail))).await;
        metrics::gauge!("verbatim_mails_waiting").set(self.outbox.waiting().await? as f64);
        Ok(taken.len())
    }

    async fn handle(&self, mail: &MailRow) {
        let sent = match self.write(mail).await {
            Ok(Some((address, letter))) => {
                let sent = self.post.send(mail.mail_id, &address, letter, self.clock.now().into()).await;
                match sent {
                    Ok(()) => Sent::Yes,
                    Err(error) if error.may_pass() && mail.attempts < TRIES => Sent::Later(error.to_string()),
                    Err(error) => Sent::Never(error),
                }
            }
            Ok(None) => Sent::Needless,
            // Not counted against the mail: nobody was asked to take it.
            Err(error) => Sent::Unwritten(error.to_string()),
        };
        let kind = MailKind::named(&mail.kind).map_or("unknown", MailKind::as_str);
        let outcome = match &sent {
            Sent::Yes => "sent",
            Sent::Needless => "needless",
            Sent::Later(_) | Sent::Unwritten(_) => "put_off",
            Sent::Never(_) => "given_up",
        };
        metrics::counter!("verbatim_mails_total", "kind" => kind, "outcome" => outcome).increment(1);
        let settled = match sent {
            Sent::Yes | Sent::Needless => self.outbox.done(mail.mail_id).await,
            Sent::Later(why) => {
                tracing::warn!(mail.id = %mail.mail_id, kind, attempt = mail.attempts, why, "a mail was put off");
                self.outbox.put_off(mail.mail_id, pause(mail.attempts)).await
            }
            Sent::Unwritten(why) => {
                tracing::warn!(mail.id = %mail.mail_id, kind, why, "a mail could not be written, and was put off");
                self.outbox.put_back(mail.mail_id, pause(mail.attempts)).await
            }
            Sent::Never(error) => {
                tracing::error!(mail.id = %mail.mail_id, kind, attempt = mail.attempts, %error, "a mail was given up");
                self.outbox.done(mail.mail_id).await
            }
        };
        if let Err(error) = settled {
            // It is taken again when its time is up: a second copy at worst.
            tracing::warn!(%error, mail.id = %mail.mail_id, "the outbox does not answer");
        }
    }

    /// The address and the text of a mail; none when there is nobody to be told.
    async fn write(&self, mail: &MailRow) -> Result<Option<(String, Letter)>, WriteError> {
        let user = match mail.concerns() {
            Some(Concerns::User(user)) => Some(user),
            Some(Concerns::Claim(claim)) => self.executor.state::<Claim>(&claim).await?.owner(),
            None => None,
        };
        let (Some(user), Some(kind)) = (user, MailKind::named(&mail.kind)) else { return Ok(None) };
        match kind {
            MailKind::PasswordReset => self.password_reset(mail, user).await,
            MailKind::PasswordChanged => {
                Ok(self.to(mail, user).await?.map(|to| (to, letters::password_changed())))
            }
            MailKind::EmailChanged => Ok(self.to(mail, user).await?.map(|to| (to, letters::email_changed()))),
        }
    }

    /// A token for somebody who has forgotten the password.
    async fn password_reset(
        &self,
        mail: &MailRow,
        user: UserId,
    ) -> Result<Option<(String, Letter)>, WriteError> {
        if !self.executor.state::<User>(&user.to_string()).await?.is_active() {
            return Ok(None);
        }
        if self.resets.mailed_lately(user, mail.mail_id).await? >= MAX_MAILS {
            audit_log::reset_held_back(user);
            return Ok(None);
        }
        let token = ResetToken::generate()?;
        self.resets.keep(&token, user, Some(mail.mail_id)).await?;
        // Looked up after the token was stored: an account that changes its address or is closed meanwhile voids the token,
        // or is seen here.
        let still = match mail.concerns() {
            Some(Concerns::Claim(claim)) => self.executor.state::<Claim>(&claim).await?.owner() == Some(user),
            _ => true,
        };
        let address = if still { self.to(mail, user).await? } else { None };
        let Some(address) = address else {
            self.resets.void(user).await?;
            return Ok(None);
        };
        audit_log::reset_issued(user, true);
        Ok(Some((address, letters::password_reset(&token, self.public_url.as_deref()))))
    }

    /// The address that the mail goes to. None: the account is closed, or the address was erased. What is said about a
    /// change at the old address is said also when the account has been closed since.
    async fn to(&self, mail: &MailRow, user: UserId) -> Result<Option<String>, ExecuteError> {
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

/// The pause after so many attempts.
fn pause(attempts: i32) -> Duration {
    let doubled = u32::try_from(attempts.clamp(1, 16) - 1).unwrap_or_default();
    (PAUSE * 2_u32.pow(doubled)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_all_tries_fit_into_the_life_of_a_token() {
        let pauses: Vec<u64> = (1..TRIES).map(|attempts| pause(attempts).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600]);
        assert!(pauses.iter().sum::<u64>() < crate::auth::resets::LIFETIME.as_secs());
        assert_eq!(pause(100).as_secs(), 600);
    }
}
