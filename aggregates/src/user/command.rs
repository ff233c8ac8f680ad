//! What a user can be asked to do.

use chrono::{DateTime, Utc};

use crate::ids::UserId;
use crate::personal::Personal;
use crate::values::{EmailAddress, Username};

/// A wish concerning one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserCommand {
    /// Make the account.
    Register {
        /// The new user's id, which is the stream's.
        user_id: UserId,
        /// The address, as typed.
        email: Personal<EmailAddress>,
        /// The name to sign in with, where one was chosen.
        username: Option<Personal<Username>>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Note that the password was replaced; the new hash is written beside the log in the same append.
    ChangePassword {
        /// When.
        at: DateTime<Utc>,
    },
    /// Close the account for good.
    Deactivate {
        /// When.
        at: DateTime<Utc>,
    },
}
