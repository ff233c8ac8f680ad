//! Accounts.

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
            /// When it happened.
            at: DateTime<Utc>,
        }

        impl PublicData for $kind {
            const NAME: &'static str = $name;
        }
    )+

        pub(super) fn schemas(into: &mut Vec<KindSchema>) {
            into.extend([$(schema::<$kind>()),+]);
        }
    };
}

about_a_user! {
    /// An account was made.
    Registered = "user.registered",
    /// A password was replaced.
    PasswordChanged = "user.password_changed",
    /// An account was closed.
    Deactivated = "user.deactivated",
}

pub(super) fn public(event: &UserEvent) -> PublicEvent {
    match event {
        UserEvent::UserRegistered { user_id, at, .. } => {
            PublicEvent::new(Registered { user_id: user_id.uuid(), at: *at })
        }
        UserEvent::PasswordChanged { user_id, at } => {
            PublicEvent::new(PasswordChanged { user_id: user_id.uuid(), at: *at })
        }
        UserEvent::UserDeactivated { user_id, at } => {
            PublicEvent::new(Deactivated { user_id: user_id.uuid(), at: *at })
        }
    }
}
