//! Roles of users.

use serde::{Deserialize, Serialize};

/// What a user may do besides managing their own data. Each role includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// No further permissions.
    #[default]
    User,
    /// May read events in their public form.
    Auditor,
    /// May manage accounts.
    Admin,
}

impl Role {
    /// Every role, the lowest first.
    pub const ALL: &[Self] = &[Self::User, Self::Auditor, Self::Admin];

    /// Name in events and APIs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// Parses the name of a role.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.as_str() == name)
    }
}
