//! The events of all aggregates as one type, for readers of the whole log.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, DomainEvent};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::claim::{Claim, ClaimEvent};
use crate::conversation::{Conversation, ConversationEvent};
use crate::file::{File, FileEvent};
use crate::quiz::{Quiz, QuizEvent};
use crate::user::{User, UserEvent};

/// An event of any aggregate. Serialized like the aggregate's own event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// Event of a user.
    User(UserEvent),
    /// Event of a claim.
    Claim(ClaimEvent),
    /// Event of a conversation.
    Conversation(ConversationEvent),
    /// Event of a quiz.
    Quiz(QuizEvent),
    /// Event of a file.
    File(FileEvent),
}

/// Reason why a stored event cannot be decoded. Never quotes the payload, which may hold personal text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The aggregate type is unknown.
    #[error("the aggregate type `{0}` is not known")]
    UnknownAggregate(String),
    /// The aggregate has no such event type.
    #[error("the event type `{event_type}` is not known for the aggregate type `{aggregate_type}`")]
    UnknownEvent {
        /// The aggregate's type as stored.
        aggregate_type: String,
        /// The event's type as stored.
        event_type: String,
    },
    /// The payload does not match the event's fields.
    #[error("the payload of `{event_type}` has another shape than this version reads")]
    Malformed {
        /// The event's type as stored; empty if the payload has none.
        event_type: String,
    },
}

impl Event {
    /// Decodes a payload of the newest version. Older versions go through [`crate::upcasters`] first.
    ///
    /// # Errors
    /// Fails if the aggregate or event type is unknown, or the payload has missing, wrong or additional fields.
    pub fn decode(aggregate_type: &str, payload: Value) -> Result<Self, DecodeError> {
        match aggregate_type {
            User::TYPE => read(aggregate_type, UserEvent::TYPES, payload).map(Self::User),
            Claim::TYPE => read(aggregate_type, ClaimEvent::TYPES, payload).map(Self::Claim),
            Conversation::TYPE => {
                read(aggregate_type, ConversationEvent::TYPES, payload).map(Self::Conversation)
            }
            Quiz::TYPE => read(aggregate_type, QuizEvent::TYPES, payload).map(Self::Quiz),
            File::TYPE => read(aggregate_type, FileEvent::TYPES, payload).map(Self::File),
            _ => Err(DecodeError::UnknownAggregate(aggregate_type.to_owned())),
        }
    }

    /// Type of the aggregate that the event belongs to.
    #[must_use]
    pub const fn aggregate_type(&self) -> &'static str {
        match self {
            Self::User(_) => User::TYPE,
            Self::Claim(_) => Claim::TYPE,
            Self::Conversation(_) => Conversation::TYPE,
            Self::Quiz(_) => Quiz::TYPE,
            Self::File(_) => File::TYPE,
        }
    }

    /// Name of the event in the log.
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::User(event) => event.name(),
            Self::Claim(event) => event.name(),
            Self::Conversation(event) => event.name(),
            Self::Quiz(event) => event.name(),
            Self::File(event) => event.name(),
        }
    }

    /// Version of the event that this code writes.
    #[must_use]
    pub fn event_version(&self) -> String {
        match self {
            Self::User(event) => event.event_version(),
            Self::Claim(event) => event.event_version(),
            Self::Conversation(event) => event.event_version(),
            Self::Quiz(event) => event.event_version(),
            Self::File(event) => event.event_version(),
        }
    }

    /// Time of the event (UTC).
    #[must_use]
    pub const fn at(&self) -> DateTime<Utc> {
        match self {
            Self::User(event) => event.at(),
            Self::Claim(event) => event.at(),
            Self::Conversation(event) => event.at,
            Self::Quiz(event) => event.at(),
            Self::File(event) => event.at(),
        }
    }
}

impl From<UserEvent> for Event {
    fn from(event: UserEvent) -> Self {
        Self::User(event)
    }
}

impl From<ClaimEvent> for Event {
    fn from(event: ClaimEvent) -> Self {
        Self::Claim(event)
    }
}

impl From<ConversationEvent> for Event {
    fn from(event: ConversationEvent) -> Self {
        Self::Conversation(event)
    }
}

impl From<QuizEvent> for Event {
    fn from(event: QuizEvent) -> Self {
        Self::Quiz(event)
    }
}

impl From<FileEvent> for Event {
    fn from(event: FileEvent) -> Self {
        Self::File(event)
    }
}

fn read<E: DeserializeOwned>(
    aggregate_type: &str,
    types: &[(&str, u32)],
    payload: Value,
) -> Result<E, DecodeError> {
    let Some(event_type) = payload.get("type").and_then(Value::as_str).map(str::to_owned) else {
        return Err(DecodeError::Malformed { event_type: String::new() });
    };
    if !types.iter().any(|(name, _)| *name == event_type) {
        return Err(DecodeError::UnknownEvent { aggregate_type: aggregate_type.to_owned(), event_type });
    }
    // The decoder's own message may quote the payload, so it is dropped.
    serde_json::from_value(payload).map_err(|_| DecodeError::Malformed { event_type })
}
