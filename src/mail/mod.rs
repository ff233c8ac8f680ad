//! Mail to users: an [`outbox`] outside the log holds mails to be sent, and a [`MailWorker`] sends them.
//!
//! The outbox stores mail intents, not rendered mails: the kind of a mail and its user. Text ([`templates`]), address and
//! token are made when the mail is sent, from the current state of the log. So the outbox holds no personal text, and an
//! erased user gets no mail.
//!
//! Delivery is at-least-once: if a worker dies, another one sends the mail after [`outbox::LEASE_TTL`]. Every attempt has
//! the same message id, by which mail programs recognise a duplicate.
//!
//! **To add a kind of mail** add a variant of [`MailKind`] and its arm in `MailWorker::render`; [`outbox::enqueue`] adds rows
//! in the append that causes the mail.

pub mod outbox;
mod smtp;
pub mod templates;
mod worker;

pub use outbox::Outbox;
pub use smtp::{SendError, SmtpMailer};
pub use worker::MailWorker;

/// Kind of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailKind {
    /// Carries a token that replaces a forgotten password.
    PasswordReset,
    /// Tells the user that the password was changed.
    PasswordChanged,
    /// Tells the user, at the old address, that the address was changed.
    EmailChanged,
}

impl MailKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::PasswordReset, Self::PasswordChanged, Self::EmailChanged];

    /// Returns the stored name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordReset => "password_reset",
            Self::PasswordChanged => "password_changed",
            Self::EmailChanged => "email_changed",
        }
    }

    /// Returns the kind with this stored name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}
