//! What a person may do besides their own things.

use serde::{Deserialize, Serialize};

/// What a person may do besides their own things. Each role may do what those before it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Nothing.
    #[default]
    User,
    /// Read what happened: events in their public form.
    Auditor,
    /// Look after accounts.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: &[Self] = &[Self::User, Self::Auditor, Self::Admin];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.as_str() == name)
    }
}
