//! What a user can be asked to do.

use chrono::{DateTime, Utc};

use crate::ids::UserId;
use crate::personal::Personal;
use crate::user::Role;
use crate::values::{EmailAddress, Username};

/// A wish concerning one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserCommand {
    /// Creates the account.
    Register {
        /// Id of the new user and of the stream.
        user_id: UserId,
        /// The address, as typed.
        email: Personal<EmailAddress>,
        /// User name, if one was chosen.
        username: Option<Personal<Username>>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Records that the password was replaced. The new hash is written in the same append, outside the events.
    ChangePassword {
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Changes the e-mail address. The same append takes the claim of the new address and releases that of the old one.
    ChangeEmail {
        /// Address to replace. A command based on another address is rejected, or a claim would be left over.
        from: Personal<EmailAddress>,
        /// The new address, as typed.
        to: Personal<EmailAddress>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Changes or sets the user name.
    ChangeUsername {
        /// Name to replace, as with an address.
        from: Option<Personal<Username>>,
        /// The new user name.
        to: Personal<Username>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Grants a role.
    GrantRole {
        /// The new role.
        role: Role,
        /// Administrator who grants it; `None` if granted from the command line.
        by: Option<UserId>,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Deactivates the account permanently.
    Deactivate {
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
}
