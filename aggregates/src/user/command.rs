//! What a user can be asked to do.

use chrono::{DateTime, Utc};

use crate::ids::UserId;
use crate::personal::Personal;
use crate::user::Role;
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
    /// Go by another address. The claim of the new one is taken, and the one of the old one released, in the same append.
    ChangeEmail {
        /// The address that is to be replaced: whoever has seen another one must look again, or a claim would be left over.
        from: Personal<EmailAddress>,
        /// The address from now on, as typed.
        to: Personal<EmailAddress>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Sign in under another name, or under one at last.
    ChangeUsername {
        /// The name that is to be replaced, as with an address.
        from: Option<Personal<Username>>,
        /// The name from now on.
        to: Personal<Username>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Settle what the person may do besides their own things.
    GrantRole {
        /// The role from now on.
        role: Role,
        /// The administrator who decides it; none: by command, at the server.
        by: Option<UserId>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Close the account for good.
    Deactivate {
        /// When.
        at: DateTime<Utc>,
    },
}
