//! Mail to people: what is to be sent waits in an [`outbox`] beside the log, and a [`Mailer`] sends it.
//!
//! What waits is the kind of a mail and whom it concerns, nothing more. Its text ([`letters`]), the address and a token, if
//! it carries one, are made when it is sent, from the state that the log has then. So nothing that waits can be read by
//! anybody, and a person who is erased meanwhile gets nothing.
//!
//! A mail is sent at least once: one whose sender dies is sent by another after [`outbox::LEASE`]. Each has a message id
//! of its own, by which mail programs know the second copy for one.
//!
//! **Another kind of mail** is a variant of [`MailKind`] and its arm in `Mailer::write`; rows come from
//! [`outbox::enqueue`], in the append that is the mail's reason.

pub mod letters;
pub mod outbox;
mod post;
mod worker;

pub use outbox::Outbox;
pub use post::{Post, PostError};
pub use worker::Mailer;

/// What a mail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailKind {
    /// A token to replace a forgotten password with.
    PasswordReset,
    /// Word that the password was replaced.
    PasswordChanged,
    /// Word, at the old address, that the account goes by another.
    EmailChanged,
}

impl MailKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::PasswordReset, Self::PasswordChanged, Self::EmailChanged];

    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordReset => "password_reset",
            Self::PasswordChanged => "password_changed",
            Self::EmailChanged => "email_changed",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}
