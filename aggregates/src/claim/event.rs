//! What happened to a claim.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::ids::UserId;

/// A fact about one claimed value. Fields that this version does not know are refused, never dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClaimEvent {
    /// A user holds the value from now on.
    ClaimTaken {
        /// Who.
        owner: UserId,
        /// When.
        at: DateTime<Utc>,
    },
    /// The value is free again.
    ClaimReleased {
        /// Who held it.
        owner: UserId,
        /// When.
        at: DateTime<Utc>,
    },
}

impl ClaimEvent {
    /// Every event type of this aggregate with the version that this code writes.
    pub const TYPES: &[(&str, u32)] = &[("claim_taken", 1), ("claim_released", 1)];

    /// The event's name in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ClaimTaken { .. } => "claim_taken",
            Self::ClaimReleased { .. } => "claim_released",
        }
    }

    /// When it happened.
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
