//! Public events of accounts.

use aggregates::ids::UserId;
use aggregates::user::UserEvent;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{KindSchema, PublicData, PublicEvent, schema};

macro_rules! about_a_user {
    ($($(#[$doc:meta])* $kind:ident = $name:literal),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Serialize, JsonSchema)]
        struct $kind {
            /// The user.
            user_id: Uuid,
            /// Time of the event (UTC).
            at: DateTime<Utc>,
        }

        impl PublicData for $kind {
            const NAME: &'static str = $name;
        }
    )+

        pub(super) fn schemas(into: &mut Vec<KindSchema>) {
            into.extend([$(schema::<$kind>()),+, schema::<RoleGranted>()]);
        }
    };
}

about_a_user! {
    /// An account was created.
    Registered = "user.registered",
    /// A password was changed.
    PasswordChanged = "user.password_changed",
    /// An e-mail address was changed.
    EmailChanged = "user.email_changed",
    /// A user name was changed or set.
    UsernameChanged = "user.username_changed",
    /// An account was deactivated.
    Deactivated = "user.deactivated",
}

/// A role was granted.
#[derive(Serialize, JsonSchema)]
struct RoleGranted {
    /// The user.
    user_id: Uuid,
    /// The new role: `user`, `auditor` or `admin`.
    role: &'static str,
    /// User id of the administrator who granted it; null if granted from the command line.
    by: Option<Uuid>,
    /// Time of the event (UTC).
    at: DateTime<Utc>,
}

impl PublicData for RoleGranted {
    const NAME: &'static str = "user.role_granted";
}

pub(super) fn public(event: &UserEvent) -> PublicEvent {
    match event {
        UserEvent::UserRegistered { user_id, at, .. } => {
            PublicEvent::new(Registered { user_id: user_id.uuid(), at: *at })
        }
        UserEvent::PasswordChanged { user_id, at } => {
            PublicEvent::new(PasswordChanged { user_id: user_id.uuid(), at: *at })
        }
        UserEvent::EmailChanged { user_id, at, .. } => {
            PublicEvent::new(EmailChanged { user_id: user_id.uuid(), at: *at })
        }
        UserEvent::UsernameChanged { user_id, at, .. } => {
            PublicEvent::new(UsernameChanged { user_id: user_id.uuid(), at: *at })
        }
        UserEvent::RoleGranted { user_id, role, by, at } => PublicEvent::new(RoleGranted {
            user_id: user_id.uuid(),
            role: role.as_str(),
            by: by.map(UserId::uuid),
            at: *at,
        }),
        UserEvent::UserDeactivated { user_id, at } => {
            PublicEvent::new(Deactivated { user_id: user_id.uuid(), at: *at })
        }
    }
}
