//! Rejections of a user's commands.

use thiserror::Error;

/// A rejected command. It writes no events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UserError {
    /// The user is not registered.
    #[error("the user is not registered")]
    NotRegistered,
    /// The id belongs to a user with other data.
    #[error("the user is already registered")]
    AlreadyRegistered,
    /// The value to replace has changed in the meantime.
    #[error("the account has been changed meanwhile")]
    ChangedMeanwhile,
    /// The account is deactivated.
    #[error("the user is deactivated")]
    Deactivated,
}
