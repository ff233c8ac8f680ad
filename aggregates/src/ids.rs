//! Identifiers of the domain: one UUID newtype per kind, so that the compiler notices swapped ids.
//!
//! The use cases create new ids (time and randomness are inputs of the domain). Two kinds are *derived*
//! instead: the reply that a message asks for, and the message that holds its answer. A redelivered job or a
//! second node therefore computes the same ids, and no mapping has to be stored.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Namespace of [`ReplyId::of`]. Never change it: recorded replies would no longer be found from their messages.
const REPLY_OF_MESSAGE: Uuid = Uuid::from_u128(0x3f0c_2a5e_7b1d_4d0e_9c46_52a8_e1b7_9d31);
/// Namespace of [`MessageId::answering`]. Never change it, for the same reason.
const ANSWER_OF_REPLY: Uuid = Uuid::from_u128(0xb86d_41f7_05c2_4e9a_8a17_c90e_6f3d_2b54);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID.
            #[must_use]
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// Returns the UUID, for columns and wire formats.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.as_hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id! {
    /// A registered user.
    UserId
}
id! {
    /// A conversation. Some API surfaces call it thread or session.
    ConversationId
}
id! {
    /// A message by a user or a model.
    MessageId
}
id! {
    /// The reply to a message, from the request to its one end.
    ReplyId
}
id! {
    /// A quiz; the item that shows it in its conversation has the same id.
    QuizId
}
id! {
    /// A file uploaded by a user.
    FileId
}
id! {
    /// A login: the refresh-token family of one sign-in.
    LoginId
}

impl ReplyId {
    /// Derives the id of the reply that `message` asks for.
    #[must_use]
    pub fn of(message: MessageId) -> Self {
        Self(Uuid::new_v5(&REPLY_OF_MESSAGE, message.0.as_bytes()))
    }

    /// Derives the id of the `round`th regenerated reply to `message`; the first reply is round 0.
    #[must_use]
    pub fn again(message: MessageId, round: u32) -> Self {
        if round == 0 {
            return Self::of(message);
        }
        let mut name = [0; 20];
        name[..16].copy_from_slice(message.0.as_bytes());
        name[16..].copy_from_slice(&round.to_be_bytes());
        Self(Uuid::new_v5(&REPLY_OF_MESSAGE, &name))
    }
}

impl MessageId {
    /// Derives the id of the message that holds the answer of `reply`.
    #[must_use]
    pub fn answering(reply: ReplyId) -> Self {
        Self(Uuid::new_v5(&ANSWER_OF_REPLY, reply.0.as_bytes()))
    }

    /// Whether the id has the form of a derived one (UUID version 5). Users' messages may not have such ids, so that
    /// no user can occupy the id of a future answer.
    #[must_use]
    pub fn is_derived(self) -> bool {
        self.0.get_version_num() == 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_never_change() {
        let message = MessageId::new(Uuid::from_u128(1));
        let reply = ReplyId::of(message);
        assert_eq!(reply.to_string(), "6b996110-8bac-52f2-a218-e35f518f4bcf");
        assert_eq!(MessageId::answering(reply).to_string(), "51ea477c-eebf-5e83-a7c0-c173538c75ca");
    }

    #[test]
    fn derived_ids_differ_from_generated_ones() {
        let minted = MessageId::new(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001));
        assert!(!minted.is_derived());
        assert!(MessageId::answering(ReplyId::of(minted)).is_derived());
    }

    #[test]
    fn id_serializes_as_hyphenated_uuid() {
        let user = UserId::new(Uuid::from_u128(0xAB));
        assert_eq!(serde_json::to_string(&user).unwrap(), "\"00000000-0000-0000-0000-0000000000ab\"");
        assert_eq!(user.to_string().parse::<UserId>().unwrap(), user);
        assert!("not-an-id".parse::<UserId>().is_err());
    }
}
