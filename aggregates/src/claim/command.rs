//! What can be done with a claim.

use chrono::{DateTime, Utc};

use crate::ids::UserId;

/// A wish concerning one claimed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimCommand {
    /// Take the value for a user.
    Take {
        /// For whom.
        owner: UserId,
        /// When.
        at: DateTime<Utc>,
    },
    /// Let the value go. Whoever does not hold it has nothing to let go of: then nothing happens.
    Release {
        /// Whose.
        owner: UserId,
        /// When.
        at: DateTime<Utc>,
    },
}
