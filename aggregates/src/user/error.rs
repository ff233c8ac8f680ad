//! Why a user's command is refused.

use thiserror::Error;

/// A refusal; nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UserError {
    /// There is no such user.
    #[error("the user is not registered")]
    NotRegistered,
    /// The id belongs to a user with other data.
    #[error("the user is already registered")]
    AlreadyRegistered,
    /// What was to be replaced has been replaced by something else since.
    #[error("the account has been changed meanwhile")]
    ChangedMeanwhile,
    /// The account is closed.
    #[error("the user is deactivated")]
    Deactivated,
}
