//! Events of a user.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::ids::UserId;
use crate::personal::Personal;
use crate::user::Role;
use crate::values::{EmailAddress, Username};

/// An event of one user. Unknown fields are rejected, never dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum UserEvent {
    /// The account was created.
    UserRegistered {
        /// The user.
        user_id: UserId,
        /// The address, as typed.
        email: Personal<EmailAddress>,
        /// User name, if one was chosen.
        username: Option<Personal<Username>>,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// The password was replaced.
    PasswordChanged {
        /// The user.
        user_id: UserId,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// The e-mail address was changed.
    EmailChanged {
        /// The user.
        user_id: UserId,
        /// The new address, as typed.
        email: Personal<EmailAddress>,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// The user name was changed or set.
    UsernameChanged {
        /// The user.
        user_id: UserId,
        /// The new user name.
        username: Personal<Username>,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// A role was granted.
    RoleGranted {
        /// The user.
        user_id: UserId,
        /// The new role.
        role: Role,
        /// Administrator who granted it; `None` if granted from the command line.
        by: Option<UserId>,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
    /// The account was deactivated.
    UserDeactivated {
        /// The user.
        user_id: UserId,
        /// Time of the event (UTC).
        at: DateTime<Utc>,
    },
}

impl UserEvent {
    /// Name of every event of this aggregate, with the version that this code writes.
    pub const TYPES: &[(&str, u32)] = &[
        ("user_registered", 1),
        ("password_changed", 1),
        ("email_changed", 1),
        ("username_changed", 1),
        ("role_granted", 1),
        ("user_deactivated", 1),
    ];

    /// Name of the event in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UserRegistered { .. } => "user_registered",
            Self::PasswordChanged { .. } => "password_changed",
            Self::EmailChanged { .. } => "email_changed",
            Self::UsernameChanged { .. } => "username_changed",
            Self::RoleGranted { .. } => "role_granted",
            Self::UserDeactivated { .. } => "user_deactivated",
        }
    }

    /// Time of the event (UTC).
    #[must_use]
    pub const fn at(&self) -> DateTime<Utc> {
        match self {
            Self::UserRegistered { at, .. }
            | Self::PasswordChanged { at, .. }
            | Self::EmailChanged { at, .. }
            | Self::UsernameChanged { at, .. }
            | Self::RoleGranted { at, .. }
            | Self::UserDeactivated { at, .. } => *at,
        }
    }
}

impl DomainEvent for UserEvent {
    fn event_type(&self) -> String {
        self.name().to_owned()
    }

    fn event_version(&self) -> String {
        crate::versions::written(Self::TYPES, self.name())
    }
}
