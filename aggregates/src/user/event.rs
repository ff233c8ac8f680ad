//! What happened to a user.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::ids::UserId;
use crate::personal::Personal;
use crate::user::Role;
use crate::values::{EmailAddress, Username};

/// A fact about one user. Fields that this version does not know are refused, never dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum UserEvent {
    /// The account was made.
    UserRegistered {
        /// Whose.
        user_id: UserId,
        /// The address, as typed.
        email: Personal<EmailAddress>,
        /// The name to sign in with, where one was chosen.
        username: Option<Personal<Username>>,
        /// When.
        at: DateTime<Utc>,
    },
    /// The password was replaced.
    PasswordChanged {
        /// Whose.
        user_id: UserId,
        /// When.
        at: DateTime<Utc>,
    },
    /// Another address took the place of the one before.
    EmailChanged {
        /// Whose.
        user_id: UserId,
        /// The address from now on, as typed.
        email: Personal<EmailAddress>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Another name to sign in with took the place of the one before, if there was one.
    UsernameChanged {
        /// Whose.
        user_id: UserId,
        /// The name from now on.
        username: Personal<Username>,
        /// When.
        at: DateTime<Utc>,
    },
    /// What the person may do besides their own things was settled anew.
    RoleGranted {
        /// Whose.
        user_id: UserId,
        /// The role from now on.
        role: Role,
        /// The administrator who decided it; none: it was done by command, at the server.
        by: Option<UserId>,
        /// When.
        at: DateTime<Utc>,
    },
    /// The account was closed.
    UserDeactivated {
        /// Whose.
        user_id: UserId,
        /// When.
        at: DateTime<Utc>,
    },
}

impl UserEvent {
    /// Every event type of this aggregate with the version that this code writes.
    pub const TYPES: &[(&str, u32)] = &[
        ("user_registered", 1),
        ("password_changed", 1),
        ("email_changed", 1),
        ("username_changed", 1),
        ("role_granted", 1),
        ("user_deactivated", 1),
    ];

    /// The event's name in the log.
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

    /// When it happened.
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
