//! Conversations and what people write in them.

use aggregates::conversation::ConversationEvent;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{KindSchema, PublicData, PublicEvent, schema};

macro_rules! about_a_conversation {
    ($($(#[$doc:meta])* $kind:ident = $name:literal),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Serialize, JsonSchema)]
        struct $kind {
            /// The conversation.
            conversation_id: Uuid,
            /// Whose it is.
            owner: Uuid,
            /// When it happened.
            at: DateTime<Utc>,
        }

        impl PublicData for $kind {
            const NAME: &'static str = $name;
        }

        impl $kind {
            fn of(event: &ConversationEvent) -> PublicEvent {
                PublicEvent::new(Self {
                    conversation_id: event.conversation_id().uuid(),
                    owner: event.owner().uuid(),
                    at: event.at(),
                })
            }
        }
    )+

        pub(super) fn schemas(into: &mut Vec<KindSchema>) {
            into.extend([$(schema::<$kind>()),+, schema::<Sent>()]);
        }
    };
}

about_a_conversation! {
    /// A conversation was begun.
    Started = "conversation.started",
    /// It got a title.
    Renamed = "conversation.renamed",
    /// It was pinned.
    Pinned = "conversation.pinned",
    /// It was unpinned.
    Unpinned = "conversation.unpinned",
    /// It was put into the archive.
    Archived = "conversation.archived",
    /// It was taken out of the archive.
    Unarchived = "conversation.unarchived",
    /// Its owner has read it, up to some message.
    Read = "conversation.read",
    /// It was deleted.
    Deleted = "conversation.deleted",
}

/// A person wrote a message. Its text is read from the API or the log, by whoever may.
#[derive(Serialize, JsonSchema)]
struct Sent {
    /// The conversation.
    conversation_id: Uuid,
    /// The message.
    message_id: Uuid,
    /// Who wrote it.
    author: Uuid,
    /// When.
    at: DateTime<Utc>,
}

impl PublicData for Sent {
    const NAME: &'static str = "message.sent";
}

/// None: it is about a reply.
pub(super) fn public(event: &ConversationEvent) -> Option<PublicEvent> {
    Some(match event {
        ConversationEvent::ConversationStarted { .. } => Started::of(event),
        ConversationEvent::ConversationRenamed { .. } => Renamed::of(event),
        ConversationEvent::ConversationPinned { .. } => Pinned::of(event),
        ConversationEvent::ConversationUnpinned { .. } => Unpinned::of(event),
        ConversationEvent::ConversationArchived { .. } => Archived::of(event),
        ConversationEvent::ConversationUnarchived { .. } => Unarchived::of(event),
        ConversationEvent::ConversationRead { .. } => Read::of(event),
        ConversationEvent::ConversationDeleted { .. } => Deleted::of(event),
        ConversationEvent::MessageSent { conversation_id, message_id, author, at, .. } => {
            PublicEvent::new(Sent {
                conversation_id: conversation_id.uuid(),
                message_id: message_id.uuid(),
                author: author.uuid(),
                at: *at,
            })
        }
        ConversationEvent::ReplyRequested { .. }
        | ConversationEvent::ReplyBegun { .. }
        | ConversationEvent::ReplyAttemptFailed { .. }
        | ConversationEvent::ReplyCompleted { .. }
        | ConversationEvent::ReplyFailed { .. }
        | ConversationEvent::ReplyCancelled { .. } => return None,
    })
}
