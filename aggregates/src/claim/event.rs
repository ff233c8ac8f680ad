//! Events of a claim.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::ids::UserId;

/// An event of one claimed value. Unknown fields are rejected, never dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClaimEvent {
    /// A user took the value.
    ClaimTaken {
        /// The new holder.
        owner: UserId,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// The value was released.
    ClaimReleased {
        /// The former holder.
        owner: UserId,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
}

impl ClaimEvent {
    /// Name of every event of this aggregate, with the version that this code writes.
    pub const TYPES: &[(&str, u32)] = &[("claim_taken", 1), ("claim_released", 1)];

    /// Name of the event in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ClaimTaken { .. } => "claim_taken",
            Self::ClaimReleased { .. } => "claim_released",
        }
    }

    /// Time of the event (UTC).
    #[must_use]
    pub const fn at(&self) -> DateTime<Utc> {
        match self {
            Self::ClaimTaken { at, .. } | Self::ClaimReleased { at, .. } => *at,
        }
    }
}

impl DomainEvent for ClaimEvent {
    fn event_type(&self) -> String {
        self.name().to_owned()
    }

    fn event_version(&self) -> String {
        crate::versions::written(Self::TYPES, self.name())
    }
}
