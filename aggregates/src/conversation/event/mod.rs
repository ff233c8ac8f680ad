//! Events of a conversation: what every event carries, and the groups of events.
//!
//! A consumer matches [`EventBody`]: it names a group that it has no interest in once, and matches the events of the others
//! one by one. The compiler then points to every consumer of a group that gets another event.

mod branch;
mod item;
mod lifecycle;
mod message;
mod reply;
mod settings;
mod stored;

pub use branch::BranchEvent;
pub use item::ItemEvent;
pub use lifecycle::LifecycleEvent;
pub use message::MessageEvent;
pub use reply::ReplyEvent;
pub(super) use settings::Settings;
pub use settings::SettingsEvent;

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::Serialize;

use crate::ids::{ConversationId, MessageId, ReplyId, UserId};
use crate::versions;

/// An event of one conversation. It can be read alone: it names the conversation and its owner.
///
/// Stored as one flat JSON object (`stored.rs`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationEvent {
    /// Conversation the event belongs to.
    pub conversation_id: ConversationId,
    /// Owner of the conversation, who is also the author of its messages.
    pub owner: UserId,
    /// Time of the event (UTC).
    pub at: DateTime<Utc>,
    /// What happened.
    pub body: EventBody,
}

/// What happened in a conversation, by group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum EventBody {
    /// Start and end of the conversation.
    Lifecycle(LifecycleEvent),
    /// Title, pin and archive.
    Settings(SettingsEvent),
    /// The user's messages, feedback and read position.
    Message(MessageEvent),
    /// Progress of one reply.
    Reply {
        /// Message or item that asked for the reply.
        message_id: MessageId,
        /// The reply.
        reply_id: ReplyId,
        /// What happened to the reply.
        #[serde(flatten)]
        event: ReplyEvent,
    },
    /// Branches that begin or become active.
    Branch(BranchEvent),
    /// Tool calls, questions, widgets and notes.
    Item(ItemEvent),
}

/// Declares the names under which a group's events are stored, each with the version that this code writes.
macro_rules! event_types {
    ($group:ident { $($variant:ident = $name:literal, $version:literal);+ $(;)? }) => {
        impl $group {
            /// Name and written version of each event in the group.
            pub const TYPES: &[(&str, u32)] = &[$(($name, $version)),+];

            /// Name of the event in the log.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name),+
                }
            }
        }
    };
}
use event_types;

impl ConversationEvent {
    const GROUPS: &[&[(&str, u32)]] = &[
        LifecycleEvent::TYPES,
        SettingsEvent::TYPES,
        MessageEvent::TYPES,
        ReplyEvent::TYPES,
        BranchEvent::TYPES,
        ItemEvent::TYPES,
    ];

    /// Name of every event of this aggregate, with the version that this code writes.
    pub const TYPES: &[(&str, u32)] = &versions::concat::<{ versions::count(Self::GROUPS) }>(Self::GROUPS);

    /// Name of the event in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match &self.body {
            EventBody::Lifecycle(event) => event.name(),
            EventBody::Settings(event) => event.name(),
            EventBody::Message(event) => event.name(),
            EventBody::Reply { event, .. } => event.name(),
            EventBody::Branch(event) => event.name(),
            EventBody::Item(event) => event.name(),
        }
    }

    /// Returns the reply that the event asks for.
    #[must_use]
    pub fn requested_reply(&self) -> Option<ReplyId> {
        let EventBody::Reply { reply_id, event, .. } = &self.body else { return None };
        matches!(event, ReplyEvent::ReplyRequested { .. }).then_some(*reply_id)
    }

    /// Returns the reply that the event ends.
    #[must_use]
    pub fn ended_reply(&self) -> Option<ReplyId> {
        let EventBody::Reply { reply_id, event, .. } = &self.body else { return None };
        match event {
            ReplyEvent::ReplyCompleted { .. }
            | ReplyEvent::ReplyFailed { .. }
            | ReplyEvent::ReplyCancelled { .. } => Some(*reply_id),
            ReplyEvent::ReplyRequested { .. }
            | ReplyEvent::ReplyBegun { .. }
            | ReplyEvent::ReplyAttemptFailed { .. } => None,
        }
    }
}

impl DomainEvent for ConversationEvent {
    fn event_type(&self) -> String {
        self.name().to_owned()
    }

    fn event_version(&self) -> String {
        versions::written(Self::TYPES, self.name())
    }
}
