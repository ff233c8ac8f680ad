//! Commands of a claim.

use chrono::{DateTime, Utc};

use crate::ids::UserId;

/// A command for one claimed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimCommand {
    /// Takes the value for a user.
    Take {
        /// User who takes the value.
        owner: UserId,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
    /// Releases the value. No event if the user does not hold it.
    Release {
        /// Owner's user id.
        owner: UserId,
        /// Time of the command (UTC).
        at: DateTime<Utc>,
    },
}
